"""Near-duplicates between two sets: difference hashes, confirmed on the pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from papagaio.images.imageset import ImageSet

__all__ = ["near_duplicates"]

# 8 x 8 signs of differences between neighbours (Krawetz, "Kind of Like That", 2013).
_HASH_SIDE = 8
_MOST_BITS_APART = 6
# Mean difference of two near-duplicates, in grey levels of 255: re-compression stays below it.
_MOST_LEVELS_APART = 6.0
_ROWS_AT_ONCE = 256


def near_duplicates(one: ImageSet, other: ImageSet) -> NDArray[np.int64]:
    """Rows (int64) of `one` that stand, the same or nearly so, in `other` (of the same shape)."""
    hashes, others = difference_hashes(one.pixels), difference_hashes(other.pixels)
    found: list[int] = []
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        apart = np.bitwise_count(hashes[start : start + _ROWS_AT_ONCE, None] ^ others[None])
        pairs = np.argwhere(apart <= _MOST_BITS_APART) + np.array((start, 0))
        found.extend(
            row
            for row, column in pairs
            if _levels_apart(one, row, other, column) <= _MOST_LEVELS_APART
        )
    return np.unique(np.array(found, np.int64))


def difference_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64-bit difference hash of each image (uint8, N x H x W x C), as uint64 (N,)."""
    hashes = np.empty(len(pixels), np.uint64)
    for row, image in enumerate(pixels):
        grey = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("L")
        small = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX))
        hashes[row] = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)[0]
    return hashes


def _levels_apart(one: ImageSet, row: int, other: ImageSet, column: int) -> float:
    difference = one.pixels[row].astype(np.int16) - other.pixels[column]
    return float(np.abs(difference).mean())
