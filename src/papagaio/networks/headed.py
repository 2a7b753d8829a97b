"""A library's convolutions under dense layers of one's own, for the images and classes at hand."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
import torch
import torchvision.models
from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import NORMALISATIONS, Classifier, Normalisation
from papagaio.weights import load_weights

__all__ = ["Design", "Head", "build_headed", "fitting_weights"]


@dataclass(frozen=True)
class Head:
    """The dense layers.

    Attributes:
        pooling: `mean` over the plane of the last convolution, or `flatten` it.
        widths: of the hidden layers, each with a ReLU; none joins features to classes directly.
        dropout: the share of each hidden layer's outputs that is dropped in training.
    """

    pooling: Literal["mean", "flatten"] = "mean"
    widths: tuple[int, ...] = (128,)
    dropout: float = 0.0


@dataclass(frozen=True)
class Design:
    """A network: whose convolutions, what dense layers, and what it makes of an image first.

    Attributes:
        body: `torchvision/NAME`, of an architecture with convolutions called `features`, or
            `timm/NAME`.
        head: the dense layers.
        side: images are enlarged (or made smaller) to so many pixels a side; 0 leaves them.
        form: of colour normalisation: `torch` subtracts ImageNet's mean and divides by its
            deviation, `caffe` subtracts the mean and puts blue first, `tf` maps to -1 to 1.
    """

    body: str
    head: Head = Head()
    side: int = 0
    form: Normalisation = "torch"


def build_headed(
    design: Design, initial: str, shape: tuple[int, int, int], classes: int, *, seed: int
) -> Classifier:
    """Build a network.

    Args:
        design: what it is.
        initial: the convolutions' weights: `random`, `library` (downloaded ImageNet weights), or
            the path of a safetensors file with the library's names. Dense layers start at random,
            unless the file has all of them in the same shapes.
        shape: height, width and channels of the images; grey ones are repeated to three channels.
        classes: how many logits it gives.
        seed: of random weights.

    Raises:
        BadSettings: there is no such body, or the weights do not fit it.
    """
    height, width, _ = shape
    side = (design.side, design.side) if design.side else (height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _body(design.body, pretrained=initial == "library")
        features = _features_of(body, (3, *side), design)
        size = features if design.head.pooling == "flatten" else features[:1]
        classifier = _classifier(torch.Size(size).numel(), design.head, classes)
    links: list[tuple[str, nn.Module]] = [("features", body), ("classifier", classifier)]
    pool = nn.AdaptiveAvgPool2d(1) if design.head.pooling == "mean" else nn.Identity()
    links[1:1] = [("pool", pool), ("flatten", nn.Flatten())]
    if side != (height, width):
        links.insert(0, ("enlarge", nn.Upsample(side, mode="bilinear", align_corners=False)))
    if design.form == "caffe":
        links.insert(0, ("blue_first", _BlueFirst()))
    network = nn.Sequential(OrderedDict(links))
    if initial not in ("random", "library"):
        _start_from(network, Path(initial))
    return Classifier(network, NORMALISATIONS[design.form])


class _BlueFirst(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flip(1)


def _body(name: str, *, pretrained: bool) -> nn.Module:
    library, _, rest = name.partition("/")
    try:
        if library == "timm":
            body: nn.Module = timm.create_model(
                rest, pretrained=pretrained, num_classes=0, global_pool=""
            )
            return body
        if library == "torchvision":
            weights = "DEFAULT" if pretrained else None
            # The thesis's weights are the first that were published, not the latest.
            if rest == "mobilenet_v2" and pretrained:
                weights = "IMAGENET1K_V1"
            features: nn.Module = torchvision.models.get_model(rest, weights=weights).features
            return features
    except OSError as error:
        raise BadSettings(
            f"{name}: its weights could not be fetched ({error}); where there is no internet, give "
            "a safetensors file (--initial FILE, or --weights-dir)"
        ) from error
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise BadSettings(
            f"{name}: its convolutions are not to be had ({error}); name one of torchvision that "
            "calls them features, as torchvision/vgg16, or one of timm"
        ) from error
    raise BadSettings(f"{name}: write torchvision/NAME or timm/NAME")


def _features_of(body: nn.Module, shape: tuple[int, ...], design: Design) -> torch.Size:
    # Shown and not computed: libraries' bodies have no common way to say what they give.
    training = body.training
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise BadSettings(f"{design.body} does not take images of {shape} ({error})") from error
    body.train(training)
    if features.ndim != 4 or (shape[1] == shape[2] and features.shape[2] != features.shape[3]):
        # Square images make square planes, unless channels come last.
        raise BadSettings(f"{design.body} gives no planes of features; choose a convolutional one")
    found: torch.Size = features.shape[1:]
    return found


def _classifier(width: int, head: Head, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide in head.widths:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        layers += [nn.Dropout(head.dropout)] if head.dropout else []
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, classes))


def fitting_weights(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file that a network has, by name and shape.

    Raises:
        BadSettings: there is no such file.
    """
    own, state = network.state_dict(), load_weights(path)
    # A whole student's names have a word in front, a library's own lack one.
    state = {name.removeprefix("network."): tensor for name, tensor in state.items()}
    state |= {f"features.{name}": t for name, t in state.items() if f"features.{name}" in own}
    return {n: t for n, t in state.items() if n in own and t.shape == own[n].shape}


def _start_from(network: nn.Module, path: Path) -> None:
    own, fitting = network.state_dict(), fitting_weights(network, path)
    missing = [n for n in own if n.startswith("features.") and n not in fitting]
    if missing:
        raise BadSettings(
            f"{path} does not fit this network: {missing[0]} is missing or of another shape "
            f"({len(missing)} tensors in all)"
        )
    dense = [n for n in own if n.startswith("classifier.")]
    if any(n not in fitting for n in dense):
        # Half of another task's dense layers would be neither one thing nor the other.
        fitting = {n: t for n, t in fitting.items() if n not in dense}
    network.load_state_dict(fitting, strict=False)
