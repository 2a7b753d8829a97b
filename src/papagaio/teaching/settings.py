"""The settings of `papagaio teach`. Each is defined once, here; see `options`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from papagaio.options import Many, Option, OptionSet, Seed
from papagaio.vocabulary import Normalisation

__all__ = ["TeachSettings"]

_DATA, _NETWORK, _TRAINING = "Images", "Network", "Training"
_MACHINE, _OUTPUT = "Machine", "Output"

Share = Annotated[float, Field(ge=0, le=1)]
Width = Annotated[int, Field(ge=1)]


class TeachSettings(OptionSet):
    """All settings of `papagaio teach`."""

    data: Annotated[str, Option(_DATA, "IMAGES")]
    """Labelled images to learn from: a folder with a subfolder per class, a Parquet file or folder,
    an .npz file, or cifar10, cifar100, digits (NAME:test chooses the test part)."""

    test: Annotated[str | None, Option(_DATA, "IMAGES")] = None
    """Labelled images on which the classifier is measured at the end."""

    data_dir: Annotated[Path | None, Option(_DATA, "FOLDER", "download")] = None
    """The folder that holds cifar10/ and cifar100/ as Parquet files."""

    body: Annotated[str, Option(_NETWORK, "LIBRARY/NAME")] = "torchvision/mobilenet_v2"
    """The convolutional layers: torchvision/NAME (vgg16, mobilenet_v2, ...) or timm/NAME."""

    initial: Annotated[str, Option(_NETWORK, "library|random|FILE")] = "library"
    """Their initial weights: the library's ImageNet weights (downloaded), random, a safetensors
    file with the library's tensor names, or the .h5 file in which Keras publishes VGG16."""

    normalisation: Annotated[Normalisation, Option(_NETWORK)] = "torch"
    """Normalisation of pixels: torch divides by 255, subtracts ImageNet's mean and divides by its
    deviation; caffe subtracts the mean from 0..255 and puts blue first; tf maps to -1..1. Weights
    published by Keras need the form they were trained with: caffe for VGG16."""

    head: Annotated[Many[Width], Option(_NETWORK, "N,N,...|none")] = (128,)
    """Widths of the hidden dense layers on top."""

    pooling: Annotated[Literal["mean", "flatten"], Option(_NETWORK)] = "mean"
    """How the last feature maps become the dense layers' input."""

    dropout: Annotated[Share, Option(_NETWORK, "SHARE")] = 0.0
    """Dropout after each hidden dense layer."""

    side: Annotated[int | None, Option(_NETWORK, "PIXELS")] = Field(default=None, ge=1)
    """Resize images to this many pixels per side; by default they keep their size."""

    phases: Annotated[
        tuple[str, ...],
        Option(_TRAINING, "EPOCHS,RATE,LAYERS", repeated=True, also="phase"),
    ] = ("10,1e-3,all",)
    """One phase of the training; repeat it for several. LAYERS is how many of the last layers are
    trained, dense ones included, or all. The thesis: --phase 10,1e-3,2 --phase 7,1e-5,4."""

    batch: Annotated[int, Option(_TRAINING, "N")] = Field(default=32, ge=3)
    """Images per step."""

    flip: Annotated[Share, Option(_TRAINING, "SHARE")] = 0.0
    """Probability that an image is mirrored."""

    brighten: Annotated[Share, Option(_TRAINING, "SHARE")] = 0.0
    """Probability that an image's brightness is multiplied by 0.8 or 1.2."""

    seed: Annotated[Seed, Option(_TRAINING, "N")] = 0
    """Seed of weights, order and augmentation."""

    device: Annotated[str, Option(_MACHINE, "auto|cpu|cuda|mps")] = "auto"
    """Where the classifier is trained."""

    threads: Annotated[int | None, Option(_MACHINE, "N", "all cores")] = Field(default=None, ge=1)
    """CPU threads."""

    out: Annotated[Path, Option(_OUTPUT, "FOLDER")] = Path("runs/teacher")
    """The folder of the black box. The same command resumes an interrupted training."""
