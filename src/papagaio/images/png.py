"""Pixels -> the bytes of a PNG file."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["png"]


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of one image (uint8, H x W x C, with C 1 or 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
