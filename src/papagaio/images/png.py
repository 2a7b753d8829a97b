"""Pixels -> an image of Pillow's, a smaller one, the bytes of a PNG file."""

import io
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["pillow", "png", "thumbnail"]

# A page of dozens of images stays small.
_SIDE = 64


def pillow(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image (uint8, H x W x C, with C 1 or 3) as Pillow has it."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of one image (uint8, H x W x C, with C 1 or 3)."""
    buffer = io.BytesIO()
    pillow(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """A PNG file in base64 of an image (uint8, H x W x C), at most 64 pixels high and wide."""
    scale = _SIDE / max(pixels.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        small = pillow(pixels).resize((width, height), Image.Resampling.BOX)
        pixels = np.asarray(small).reshape(height, width, -1)
    return b64encode(png(pixels)).decode()
