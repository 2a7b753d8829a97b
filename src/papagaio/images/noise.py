"""Noise: images whose bytes are random, the same ones every time."""

import numpy as np

from papagaio.images.decode import Picture
from papagaio.images.fit import Shape
from papagaio.images.imageset import SourceNotes
from papagaio.images.source import Source

__all__ = ["noise"]


def noise(count: int, shape: Shape) -> Source:
    """Images of uniformly random bytes; more of them begin with the same ones.

    Args:
        count: how many.
        shape: height, width and channels.
    """

    def read(row: int) -> Picture:
        return Picture(np.random.default_rng((0, row)).integers(0, 256, shape, np.uint8))

    return Source(
        "noise",
        read=read,
        where=lambda row: f"noise, image {row}",
        notes=SourceNotes(count),
        stamp=lambda row: f"noise {shape} {row}",
    )
