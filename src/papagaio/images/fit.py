"""Fitting one image to the input shape of the black box, by rules that the user names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from papagaio.errors import BadImages
from papagaio.images.decode import Picture
from papagaio.images.png import pillow
from papagaio.vocabulary import Colour, Exif, Resize

__all__ = ["Fit", "Shape", "fit_image", "oriented"]

Shape = tuple[int, int, int]

_RESIZERS: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "stretch": lambda image, size: image.resize(size, Image.Resampling.BICUBIC),
    "crop": lambda image, size: ImageOps.fit(image, size, Image.Resampling.BICUBIC),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.BICUBIC),
}


# What the values 2 to 8 of the EXIF orientation ask for, as `PIL.ImageOps.exif_transpose`.
_ORIENTERS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@dataclass(frozen=True)
class Fit:
    """How images are fitted to the black box's input.

    Attributes:
        resize: `exact` refuses another size; `stretch` ignores the aspect ratio; `crop` scales the
            image to cover the frame and cuts off the rest; `pad` scales it to fit inside the frame,
            on black. All three are bicubic.
        colour: `exact` refuses another number of channels; `convert` computes grey as ITU-R 601
            luma, and colour by repeating grey.
        exif: `ignore` takes the pixels as stored, as torchvision's `ImageFolder` does; `rotate`
            applies the EXIF orientation.
    """

    resize: Resize = "exact"
    colour: Colour = "exact"
    exif: Exif = "ignore"


def oriented(picture: Picture, fit: Fit) -> NDArray[np.uint8]:
    """The pixels (uint8, H x W x C) of a picture, turned upright if the rules say so."""
    if fit.exif == "ignore" or picture.orientation == 1:
        return picture.pixels
    return np.ascontiguousarray(_ORIENTERS[picture.orientation](picture.pixels))


def fit_image(pixels: NDArray[np.uint8], shape: Shape, fit: Fit, where: str) -> NDArray[np.uint8]:
    """Fit one image to the size and the channels of the black box's input.

    Args:
        pixels: uint8 (H, W, C).
        shape: height, width and channels of the black box's input.
        fit: the rules.
        where: names the image in an error.

    Returns:
        uint8 of `shape`.

    Raises:
        BadImages: the image has another shape and the rule for that is `exact`.
    """
    if pixels.shape == shape:
        return pixels
    height, width, channels = shape
    if pixels.shape[2] != channels and fit.colour == "exact":
        raise BadImages(
            f"{where}: {pixels.shape[2]} channels where {channels} are needed; "
            "choose convert to convert such images",
            field="colour",
        )
    if pixels.shape[:2] != (height, width) and fit.resize == "exact":
        raise BadImages(
            f"{where}: {pixels.shape[0]} x {pixels.shape[1]} pixels where {height} x {width} are "
            f"needed; choose one of {', '.join(get_args(Resize)[1:])} to resize such images",
            field="resize",
        )
    image = pillow(pixels).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = _RESIZERS[fit.resize](image, (width, height))
    return np.asarray(image).reshape(shape)
