"""Where the initial weights of convolutional layers come from."""

import hashlib
from functools import cache
from pathlib import Path

from papagaio.errors import BadSettings
from papagaio.networks.keras_vgg16 import KERAS_VGG16
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.options import Initial

__all__ = ["digest_of_initial", "initial_weights", "initial_words", "starts_from_keras"]


def initial_weights(body: str, initial: Initial, folder: Path | None) -> str:
    """Return what `build_headed` takes as initial weights.

    Args:
        body: the convolutional layers' architecture.
        initial: random, or those of ImageNet.
        folder: holds `NAME_imagenet.safetensors` for each body NAME, or for VGG16 the file that
            Keras publishes; None downloads torchvision's weights.

    Raises:
        BadSettings: the file is missing.
    """
    if initial == "random":
        return "random"
    if folder is None:
        return "library"
    path = folder / f"{body.rpartition('/')[2]}_imagenet.safetensors"
    if path.is_file():
        return str(path)
    is_vgg16 = body == BODIES["VGG16"]
    if is_vgg16 and (folder / KERAS_VGG16).is_file():
        return str(folder / KERAS_VGG16)
    raise BadSettings(
        f"{path.name} is missing{f', and so is {KERAS_VGG16}' if is_vgg16 else ''}; put the "
        f"ImageNet weights of {body} there, leave the folder out to download them, or use random "
        "initial weights",
        field="weights_dir",
        value=folder,
    )


def starts_from_keras(folder: Path | None) -> bool:
    """Return whether VGG16's ImageNet weights are read from the file that Keras publishes."""
    if folder is None or not (folder / KERAS_VGG16).is_file():
        return False
    return initial_weights(BODIES["VGG16"], "imagenet", folder).endswith(KERAS_VGG16)


def initial_words(weights: str) -> str:
    """Return initial weights, in the form that `build_headed` takes, as a reader is told them."""
    if weights == "random":
        return "random weights"
    if weights == "library":
        return "torchvision's ImageNet weights"
    return f"{Path(weights).name} (SHA-256 {digest_of_initial(weights)[:12]})"


@cache
def digest_of_initial(weights: str) -> str:
    """Return a digest of the file, or the word that names the weights."""
    path = Path(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else weights
