"""Near-duplicates between two sets: difference hashes, confirmed on the pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from papagaio.images.imageset import ImageSet
from papagaio.images.png import pillow
from papagaio.progress import Progress, Step, no_progress

__all__ = ["near_duplicates"]

# 8 x 8 signs of differences between neighbours (Krawetz, "Kind of Like That", 2013).
_HASH_SIDE = 8
_MOST_BITS_APART = 10
# Root mean square difference of two near-duplicates in luma, of 255 levels, and the share of an
# image that must differ from its background for that limit. In a drawing on an empty ground the
# background agrees whatever is drawn, so the limit falls with the square root of the share. With
# these limits 99 % of CIFAR-10 images saved as JPEG of quality 75 are found again (96 % at 50).
# No pair is found in 2.4 million of a CIFAR-10 and a CIFAR-100 image, nor between two parts of the
# handwritten digits or two draws of letters, at 8 x 8 and 28 x 28 pixels.
_MOST_LEVELS_APART = 10.5
_SHARE_OF_FULL_LIMIT = 0.5
_ROWS_AT_ONCE = 256
_PAIRS_AT_ONCE = 1000


def near_duplicates(
    one: ImageSet, other: ImageSet, progress: Progress = no_progress
) -> NDArray[np.int64]:
    """Rows (int64) of `one` whose image is, exactly or nearly, in `other` (of the same shape)."""
    hashes, others = _hashes(one, progress), _hashes(other, progress)
    task = f"comparing {one.name} with {other.name}"
    twins = [np.empty(0, np.int64)]
    for start in range(0, len(hashes), _ROWS_AT_ONCE):
        apart = np.bitwise_count(hashes[start : start + _ROWS_AT_ONCE, None] ^ others[None])
        rows, columns = np.nonzero(apart <= _MOST_BITS_APART)
        for part in range(0, len(rows), _PAIRS_AT_ONCE):
            pairs = slice(part, part + _PAIRS_AT_ONCE)
            ours = rows[pairs] + start
            is_near = _near(_luma(one.pixels[ours]), _luma(other.pixels[columns[pairs]]))
            twins.append(ours[is_near])
        progress(Step(task, min(start + _ROWS_AT_ONCE, len(hashes)), len(hashes), "images"))
    return np.unique(np.concatenate(twins))


def _hashes(images: ImageSet, progress: Progress) -> NDArray[np.uint64]:
    hashes = [np.empty(0, np.uint64)]
    for start in range(0, len(images), _ROWS_AT_ONCE):
        hashes.append(difference_hashes(images.pixels[start : start + _ROWS_AT_ONCE]))
        done = min(start + _ROWS_AT_ONCE, len(images))
        progress(Step(f"hashing {images.name}", done, len(images), "images"))
    return np.concatenate(hashes)


def difference_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The 64-bit difference hash of each image (uint8, N x H x W x C), as uint64 (N,)."""
    hashes = np.empty(len(pixels), np.uint64)
    for row, image in enumerate(pixels):
        grey = pillow(image).convert("L")
        small = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX))
        hashes[row] = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)[0]
    return hashes


def _near(luma: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pairs of images (N, H, W) are near-duplicates."""
    apart = np.sqrt(np.square(luma - other).mean((1, 2)))
    is_near = np.asarray(apart <= _MOST_LEVELS_APART)
    share = np.maximum(_share_drawn(luma[is_near]), _share_drawn(other[is_near]))
    limit = _MOST_LEVELS_APART * np.sqrt(np.minimum(1, share / _SHARE_OF_FULL_LIMIT))
    is_near[is_near] = apart[is_near] <= limit
    return is_near


def _share_drawn(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share of each image (N, H, W) that is not background: 1 for a flat image.

    It is the participation ratio of the distances to the median: 0.64 for normal noise, and k / n
    if k of n pixels have one level and the others another.
    """
    flat = luma.reshape(len(luma), luma.shape[1] * luma.shape[2])
    distance = np.abs(flat - np.median(flat, 1, keepdims=True))
    squares = np.square(distance).sum(1) * flat.shape[1]
    share = np.square(distance.sum(1)) / np.maximum(squares, np.finfo(np.float32).tiny)
    return np.asarray(np.where(squares == 0, 1, share), np.float32)


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness (N, H, W), by ITU-R 601: compression blurs colour more than the eye sees."""
    if pixels.shape[3] == 1:
        return pixels[..., 0].astype(np.float32)
    return np.asarray(pixels @ np.array((0.299, 0.587, 0.114), np.float32), np.float32)
