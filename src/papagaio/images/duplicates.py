"""Near-duplicates between two sets: difference hashes, confirmed on the pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from papagaio.images.imageset import ImageSet

__all__ = ["near_duplicates"]

# 8 x 8 signs of differences between neighbours (Krawetz, "Kind of Like That", 2013).
_HASH_SIDE = 8
_MOST_BITS_APART = 10
# Mean difference of two near-duplicates in luma, of 255 levels. With these two limits 99 % of
# CIFAR-10 images saved as JPEG of quality 75 are found again (96 % at 50), and of 2.4 million pairs
# of a CIFAR-10 and a CIFAR-100 image none is taken for a duplicate.
_MOST_LEVELS_APART = 8.0
_ROWS_AT_ONCE = 256
_PAIRS_AT_ONCE = 1000


def near_duplicates(one: ImageSet, other: ImageSet) -> NDArray[np.int64]:
    """Rows (int64) of `one` that stand, the same or nearly so, in `other` (of the same shape)."""
    hashes, others = difference_hashes(one.pixels), difference_hashes(other.pixels)
    found = [np.empty(0, np.int64)]
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        apart = np.bitwise_count(hashes[start : start + _ROWS_AT_ONCE, None] ^ others[None])
        rows, columns = np.nonzero(apart <= _MOST_BITS_APART)
        for part in range(0, len(rows), _PAIRS_AT_ONCE):
            pairs = slice(part, part + _PAIRS_AT_ONCE)
            ours = rows[pairs] + start
            levels = np.abs(_luma(one.pixels[ours]) - _luma(other.pixels[columns[pairs]]))
            found.append(ours[levels.mean((1, 2)) <= _MOST_LEVELS_APART])
    return np.unique(np.concatenate(found))


def difference_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64-bit difference hash of each image (uint8, N x H x W x C), as uint64 (N,)."""
    hashes = np.empty(len(pixels), np.uint64)
    for row, image in enumerate(pixels):
        grey = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("L")
        small = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX))
        hashes[row] = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)[0]
    return hashes


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness (N, H, W), by ITU-R 601: compression blurs colour far more than one sees."""
    if pixels.shape[3] == 1:
        return pixels[..., 0].astype(np.float32)
    return np.asarray(pixels @ np.array((0.299, 0.587, 0.114), np.float32), np.float32)
