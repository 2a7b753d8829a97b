"""How a model takes images: the scale of pixels, the order of colours and of axes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadSettings
from papagaio.vocabulary import ColourOrder, Layout

__all__ = ["SCALES", "PixelForm", "parsed_scale"]

# From bytes to what the model was trained on: (byte - mean) / deviation, per channel.
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
SCALES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..255": ((0.0,), (1.0,)),
    "0..1": ((0.0,), (255.0,)),
    "-1..1": ((127.5,), (127.5,)),
    "imagenet": _IMAGENET,
}


@dataclass(frozen=True)
class PixelForm:
    """What a model is given for bytes from 0 to 255, red first.

    Attributes:
        scale: a name in `SCALES`, or MEAN,.../DEVIATION,... in bytes, red first.
        order: of the colours.
        layout: of the axes.
        dtype: of the numbers; bytes are only ever given as they are.
    """

    scale: str = "0..255"
    order: ColourOrder = "rgb"
    layout: Layout = "nhwc"
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.scale} {self.order} {self.layout} {self.dtype}"

    def of(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """What the model is given for images (uint8, N x H x W x C, red first)."""
        pixels: NDArray[np.generic] = images
        if self.scale != "0..255":
            mean, deviation = (np.array(part, np.float32) for part in parsed_scale(self.scale))
            pixels = (images - mean) / deviation
        if self.order == "bgr":
            pixels = pixels[..., ::-1]
        if self.layout == "nchw":
            pixels = pixels.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pixels, self.dtype)


def parsed_scale(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The means and deviations that a scale stands for, one each or one per channel.

    Raises:
        BadSettings: it is neither a name in `SCALES` nor MEAN,.../DEVIATION,...
    """
    if text in SCALES:
        return SCALES[text]
    try:
        mean, deviation = (tuple(map(float, part.split(","))) for part in text.split("/"))
    except ValueError:
        mean, deviation = (), ()
    if not {len(mean), len(deviation)} <= {1, 3} or 0 in deviation:
        raise BadSettings(
            f"neither {', '.join(SCALES)} nor MEAN,.../DEVIATION,... in bytes, red first",
            field="scale",
            value=text,
        )
    return mean, deviation
