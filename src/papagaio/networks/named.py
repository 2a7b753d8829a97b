"""A student's name -> the network, with its initial weights."""

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
from papagaio.networks.own import SMALL_SIDE, residual_cnn, small_cnn
from papagaio.weights import load_weights

__all__ = ["OWN", "build_student", "check_student", "default_student", "own_names"]

Shape = tuple[int, int, int]

# What a saved student has besides its network.
_CARRIED = ("mean", "deviation", "spread")

# Each is built from the images it will learn from and the number of classes. Third parties add
# theirs, of the same form, as entry points of the group `papagaio.students`.
OWN: dict[str, Callable[[NDArray[np.uint8], int], nn.Module]] = {
    "small-cnn": small_cnn,
    "residual-cnn": residual_cnn,
}


def default_student(shape: Shape) -> str:
    """The student of our own for images of this height, width and channels."""
    return "small-cnn" if min(shape[:2]) < SMALL_SIDE else "residual-cnn"


def own_names() -> list[str]:
    """The names that need no library in front: our own, and third parties' entry points."""
    return [*OWN, *(point.name for point in entry_points(group="papagaio.students"))]


def build_student(
    name: str, initial: str, images: NDArray[np.uint8], classes: int, *, seed: int
) -> Classifier:
    """Build a student.

    Args:
        name: one of `own_names()`, `timm/NAME` or `torchvision/NAME`.
        initial: its initial weights: `random`, `library` (the library's own pre-trained ones,
            which it downloads), or the path of a safetensors file. Where the file was made for
            another number of classes, the last layer stays random.
        images: uint8 (N, H, W, C), what it will learn from; they give its input size. Its colour
            normalisation is theirs for random weights, ImageNet's for a library's, and a student's
            own where its file is the start.
        classes: how many logits it gives.
        seed: of random weights.

    Raises:
        BadSettings: no such student (near names are suggested), or weights that do not fit it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(name, images, classes, pretrained=initial == "library")
    colours = channel_statistics(images)
    if initial != "random" and images.shape[3] == 3:
        colours = IMAGENET
    student = Classifier(network, colours)
    if initial not in ("random", "library"):
        state = load_weights(Path(initial))
        _start_from(network, state, initial)
        student.load_state_dict({n: state[n] for n in _CARRIED if n in state}, strict=False)
    return student


def check_student(name: str, initial: str, shape: Shape, classes: int) -> None:
    """Find out before anything is spent whether a student can be built.

    Raises:
        BadSettings: it cannot, and why.
    """
    student = build_student(name, initial, np.zeros((2, *shape), np.uint8), classes, seed=0)
    images = torch.zeros(2, shape[2], *shape[:2], dtype=torch.uint8)
    try:
        with torch.no_grad():
            # As in training: some networks give something else than logits there.
            logits = student.train()(images)
    except Exception as error:  # whatever the library's code raises
        raise BadSettings(
            f"student {name} does not take images of {shape[0]} x {shape[1]} ({error}); "
            "choose another"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        raise BadSettings(f"student {name} gives no logits for {classes} classes; choose another")


def _network(name: str, images: NDArray[np.uint8], classes: int, *, pretrained: bool) -> nn.Module:
    shape = images.shape[1], images.shape[2], images.shape[3]
    library, slash, rest = name.partition("/")
    if slash and library in ("timm", "torchvision"):
        # Two seconds of imports, which students of our own can do without.
        from papagaio.networks.library import (  # noqa: PLC0415
            build_timm,
            build_torchvision,
            library_names,
        )

        if name not in library_names():
            raise BadSettings(f"student {name}: no such architecture; {_hint(name)}")
        build = build_timm if library == "timm" else build_torchvision
        return build(rest, shape, classes, pretrained=pretrained)
    if name not in own_names():
        raise BadSettings(f"student {name}: no such architecture; {_hint(name)}")
    if pretrained:
        raise BadSettings(
            f"student {name} has no weights of its own; say --initial random or a file"
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
    found = [one for part in near for one in by_last_part[part]]
    return f"near it: {', '.join(found[:4])}" if found else f"our own are {', '.join(own_names())}"


def _start_from(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    own = network.state_dict()
    # Saved students carry their normalisation along.
    state = {name.removeprefix("network."): tensor for name, tensor in state.items()}
    fitting = {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}
    left_random = [n for n in own if n not in fitting]
    last_layer = list(own)[-1].rpartition(".")[0]
    if any(n.rpartition(".")[0] != last_layer for n in left_random):
        raise BadSettings(
            f"{where} does not fit this student: {len(left_random)} of its {len(own)} tensors are "
            f"missing or of another shape ({left_random[0]}, ...)"
        )
    network.load_state_dict(fitting, strict=False)
