"""Where the initial weights of convolutional layers come from."""

from pathlib import Path

from papagaio.errors import BadSettings
from papagaio_thesis.options import Initial

__all__ = ["initial_weights"]


def initial_weights(body: str, initial: Initial, folder: Path | None) -> str:
    """Return what `build_headed` takes as initial weights.

    Args:
        body: the convolutional layers' architecture.
        initial: random, or those of ImageNet.
        folder: holds `NAME_imagenet.safetensors` for each body NAME; None downloads the weights.

    Raises:
        BadSettings: the file is missing.
    """
    if initial == "random":
        return "random"
    if folder is None:
        return "library"
    path = folder / f"{body.rpartition('/')[2]}_imagenet.safetensors"
    if not path.is_file():
        raise BadSettings(
            f"{path.name} is missing; put the ImageNet weights of {body} there, leave the folder "
            "out to download them, or use a stand-in teacher and students with random initial "
            "weights",
            field="weights_dir",
            value=folder,
        )
    return str(path)
