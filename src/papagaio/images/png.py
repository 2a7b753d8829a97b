"""Pixels -> the bytes of a PNG file."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["png", "shrunk"]

# A page of dozens of images stays small.
_SIDE = 64


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of one image (uint8, H x W x C, with C 1 or 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image (uint8, H x W x C, with C 1 or 3) at most 64 pixels high and wide."""
    scale = _SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX))
    return small.reshape(height, width, pixels.shape[2])
