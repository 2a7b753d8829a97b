"""Fitting one image to the black box's contract, by rules that the user names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from papagaio.errors import BadImages

__all__ = ["Colour", "Fit", "Resize", "fit_image"]

Resize = Literal["exact", "stretch", "crop", "pad"]
Colour = Literal["exact", "convert"]
Shape = tuple[int, int, int]

_RESIZERS: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "stretch": lambda image, size: image.resize(size, Image.Resampling.BICUBIC),
    "crop": lambda image, size: ImageOps.fit(image, size, Image.Resampling.BICUBIC),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.BICUBIC),
}


@dataclass(frozen=True)
class Fit:
    """How images become what the black box takes.

    Attributes:
        resize: `exact` refuses another size; `stretch` ignores the aspect ratio; `crop` fills and
            cuts what sticks out; `pad` shows the whole image on black. All three are bicubic.
        colour: `exact` refuses another number of channels; `convert` makes grey by ITU-R 601
            luma, and colour by repeating grey.
    """

    resize: Resize = "exact"
    colour: Colour = "exact"


def fit_image(pixels: NDArray[np.uint8], shape: Shape, fit: Fit, where: str) -> NDArray[np.uint8]:
    """Fit one image.

    Args:
        pixels: uint8 (H, W, C).
        shape: height, width and channels that the black box takes.
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
            "say --colour convert to convert such images"
        )
    if pixels.shape[:2] != (height, width) and fit.resize == "exact":
        found = f"{pixels.shape[0]} x {pixels.shape[1]}"
        rules = ", ".join(get_args(Resize)[1:])
        raise BadImages(
            f"{where}: {found} pixels where {height} x {width} are needed; "
            f"say --resize with one of {rules}"
        )
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = _RESIZERS[fit.resize](image, (width, height))
    return np.asarray(image).reshape(shape)
