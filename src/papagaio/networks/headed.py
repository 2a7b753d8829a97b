"""A library's convolutional layers with new dense layers, for the images and classes at hand."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
import torch
import torchvision.models
from torch import Tensor, nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import NORMALISATIONS, Classifier
from papagaio.networks.initial import start_from
from papagaio.networks.keras_vgg16 import read_keras_vgg16
from papagaio.vocabulary import Normalisation
from papagaio.weights import load_weights

__all__ = ["Architecture", "Head", "build_headed"]


@dataclass(frozen=True)
class Head:
    """The dense layers.

    Attributes:
        pooling: `mean` over the last convolution's plane, or `flatten` it.
        widths: the widths of the hidden layers, each followed by a ReLU; empty for a single
            dense layer.
        dropout: the share of each hidden layer's outputs that training drops.
    """

    pooling: Literal["mean", "flatten"] = "mean"
    widths: tuple[int, ...] = (128,)
    dropout: float = 0.0


@dataclass(frozen=True)
class Architecture:
    """A network: convolutional layers, dense layers, and how an image becomes its input.

    Attributes:
        body: the convolutional layers: `torchvision/NAME`, for a network there that calls them
            `features`, or `timm/NAME`.
        head: the dense layers.
        side: images are resized to this many pixels per side; None keeps their size.
        normalisation: of colours: `torch` subtracts ImageNet's mean and divides by its standard
            deviation, `caffe` subtracts the mean and puts blue first, `tf` maps to -1 to 1.
    """

    body: str
    head: Head = Head()
    side: int | None = None
    normalisation: Normalisation = "torch"


def build_headed(
    architecture: Architecture,
    initial: str,
    shape: tuple[int, int, int],
    classes: int,
    *,
    seed: int,
) -> Classifier:
    """Build a network.

    Args:
        architecture: what to build.
        initial: the convolutional layers' weights: `random`, `library` (downloaded ImageNet
            weights), or the path of a safetensors file with the library's names, or of the `.h5`
            file in which Keras publishes VGG16. Dense layers start at random, unless the file has
            all of them in the same shapes.
        shape: height, width and channels of the images; grey is repeated to three channels.
        classes: how many logits it has.
        seed: the seed of random weights.

    Raises:
        BadSettings: the body is unknown, cannot be fetched or does not take such images, or the
            file's weights do not fit it.
    """
    height, width, _ = shape
    side = (architecture.side, architecture.side) if architecture.side else (height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _body(architecture.body, pretrained=initial == "library")
        features = _features_of(body, (3, *side), architecture.body)
        size = features if architecture.head.pooling == "flatten" else features[:1]
        classifier = _classifier(torch.Size(size).numel(), architecture.head, classes)
    links: list[tuple[str, nn.Module]] = [("features", body), ("classifier", classifier)]
    pool = nn.AdaptiveAvgPool2d(1) if architecture.head.pooling == "mean" else nn.Identity()
    links[1:1] = [("pool", pool), ("flatten", nn.Flatten())]
    if side != (height, width):
        links.insert(0, ("enlarge", nn.Upsample(side, mode="bilinear", align_corners=False)))
    if architecture.normalisation == "caffe":
        links.insert(0, ("blue_first", _BlueFirst()))
    network = nn.Sequential(OrderedDict(links))
    if initial not in ("random", "library"):
        path = Path(initial)
        # Some of another task's dense layers would be worse than none.
        state = read_keras_vgg16(path) if path.suffix == ".h5" else load_weights(path)
        start_from(network, path, state, may_differ="classifier.")
    return Classifier(network, NORMALISATIONS[architecture.normalisation])


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
            # The thesis's weights are the first version that was published, not the latest.
            if rest == "mobilenet_v2" and pretrained:
                weights = "IMAGENET1K_V1"
            features: nn.Module = torchvision.models.get_model(rest, weights=weights).features
            return features
    except OSError as error:
        raise BadSettings(
            f"{name}: its weights could not be fetched ({error}); without internet access, give "
            "a safetensors file instead",
            field="initial",
        ) from error
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise BadSettings(
            f"{name}: cannot load its convolutional layers ({error}); choose a torchvision network "
            "that calls them features, such as torchvision/vgg16, or a timm network",
            field="body",
        ) from error
    raise BadSettings(f"{name}: write torchvision/NAME or timm/NAME", field="body")


def _features_of(body: nn.Module, shape: tuple[int, ...], name: str) -> torch.Size:
    # Found by running it: the libraries have no common way to ask for the shape.
    training = body.training
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise BadSettings(
            f"{name} does not take images of {shape} ({error})", field="body"
        ) from error
    body.train(training)
    if features.ndim != 4 or (shape[1] == shape[2] and features.shape[2] != features.shape[3]):
        # Square images make square planes, unless channels come last.
        raise BadSettings(
            f"{name} has no planes of features; choose a convolutional network", field="body"
        )
    planes: torch.Size = features.shape[1:]
    return planes


def _classifier(width: int, head: Head, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide in head.widths:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        layers += [nn.Dropout(head.dropout)] if head.dropout else []
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, classes))
