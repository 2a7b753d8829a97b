"""Students: the networks that become copies, built by name with their initial weights."""

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import IMAGENET, Classifier, channel_statistics
from papagaio.networks.initial import start_from
from papagaio.networks.own import SMALL_SIDE, residual_cnn, small_cnn
from papagaio.weights import load_weights

__all__ = ["OWN", "build_student", "check_student", "default_student", "own_names"]

Shape = tuple[int, int, int]

# What a saved classifier has in addition to its network.
_CARRIED = ("mean", "deviation", "spread")

# Each is built from the images it will learn from and the number of classes. Third parties add
# theirs, with the same signature, as entry points of the group `papagaio.students`.
OWN: dict[str, Callable[[NDArray[np.uint8], int], nn.Module]] = {
    "small-cnn": small_cnn,
    "residual-cnn": residual_cnn,
}


def default_student(shape: Shape) -> str:
    """Return the default student for images of this height, width and channels."""
    return "small-cnn" if min(shape[:2]) < SMALL_SIDE else "residual-cnn"


def own_names() -> list[str]:
    """Return the names without a library prefix: Papagaio's own, and entry points."""
    return [*OWN, *(point.name for point in entry_points(group="papagaio.students"))]


def build_student(
    name: str, initial: str, images: NDArray[np.uint8], classes: int, *, seed: int
) -> Classifier:
    """Build a student.

    Args:
        name: one of `own_names()`, `timm/NAME` or `torchvision/NAME`.
        initial: its initial weights: `random`, `library` (pre-trained, downloaded), or the path of
            a safetensors file. If the file is for another number of classes, the last layer stays
            random.
        images: uint8 (N, H, W, C), what it will learn from; their size is its input size. They
            decide its colour normalisation if weights are random; it is ImageNet's for a library's
            weights, and the saved one for a student's file.
        classes: how many logits it has.
        seed: the seed of random weights.

    Raises:
        BadSettings: the name is unknown (similar names are suggested), or the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(name, images, classes, pretrained=initial == "library")
    colours = channel_statistics(images)
    if initial != "random" and images.shape[3] == 3:
        colours = IMAGENET
    student = Classifier(network, colours)
    if initial not in ("random", "library"):
        path = Path(initial)
        state = load_weights(path)
        last_layer = list(network.state_dict())[-1].rpartition(".")[0]
        start_from(network, path, state, may_differ=f"{last_layer}.")
        student.load_state_dict({n: state[n] for n in _CARRIED if n in state}, strict=False)
    return student


def check_student(name: str, initial: str, shape: Shape, classes: int) -> None:
    """Check, before the first query, that a student can be built and takes the images.

    Raises:
        BadSettings: it cannot be built, or does not turn such images into one logit per class.
    """
    student = build_student(name, initial, np.zeros((2, *shape), np.uint8), classes, seed=0)
    images = torch.zeros(2, shape[2], *shape[:2], dtype=torch.uint8)
    try:
        with torch.no_grad():
            # In training mode: some networks return something else than logits there.
            logits = student.train()(images)
    except Exception as error:  # whatever the library's code raises
        raise BadSettings(
            f"it does not take images of {shape[0]} x {shape[1]} ({error}); choose another",
            field="students",
            value=name,
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        raise BadSettings(
            f"it does not return logits of {classes} classes; choose another",
            field="students",
            value=name,
        )


def _network(name: str, images: NDArray[np.uint8], classes: int, *, pretrained: bool) -> nn.Module:
    shape = images.shape[1], images.shape[2], images.shape[3]
    library, slash, rest = name.partition("/")
    if slash and library in ("timm", "torchvision"):
        # Two seconds of imports, which Papagaio's own students do not need.
        from papagaio.networks.library import (  # noqa: PLC0415
            build_timm,
            build_torchvision,
            library_names,
        )

        if name not in library_names():
            raise BadSettings(f"no such network; {_hint(name)}", field="students", value=name)
        build = build_timm if library == "timm" else build_torchvision
        return build(rest, shape, classes, pretrained=pretrained)
    if name not in own_names():
        raise BadSettings(f"no such network; {_hint(name)}", field="students", value=name)
    if pretrained:
        raise BadSettings(
            f"student {name} has no pre-trained weights; choose random or a safetensors file",
            field="initial",
            value="library",
        )
    if name in OWN:
        return OWN[name](images, classes)
    (point,) = entry_points(group="papagaio.students", name=name)
    network: nn.Module = point.load()(images, classes)
    return network


def _hint(name: str) -> str:
    from papagaio.networks.library import library_names  # noqa: PLC0415  # as above

    known = [*own_names(), *library_names()]
    by_last_part: dict[str, list[str]] = {}
    for one in known:
        by_last_part.setdefault(one.rpartition("/")[2], []).append(one)
    near: Iterable[str] = difflib.get_close_matches(name.rpartition("/")[2], by_last_part, 3)
    similar = [one for part in near for one in by_last_part[part]]
    if not similar:
        return f"Papagaio's own are {', '.join(own_names())}"
    return f"similar names: {', '.join(similar[:4])}"
