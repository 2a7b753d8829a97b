"""`ImageSet`: the one form in which images travel through the package."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages

__all__ = ["ImageSet", "as_keys", "check_labels", "digest_images", "digest_of_set"]

# A change of what is digested takes a new tag, so that old ledgers cannot be misread.
_TAG = b"papagaio-image-1"


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, each with its digest.

    Attributes:
        name: what the set is called in files and reports.
        pixels: uint8 (N, H, W, C), C 1 or 3; memory-mapped where the set came from a disk.
        digests: uint8 (N, 32), SHA-256 of each image's shape and pixels.
        labels: int64 (N,), the true classes, or None.
        classes: the names of the classes, or None.
    """

    name: str
    pixels: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64] | None = None,
        classes: Iterable[str] | None = None,
    ) -> Self:
        """The set of `pixels` (uint8, N x H x W x C) and, where known, their true classes."""
        names = None if classes is None else tuple(classes)
        return cls(name, pixels, digest_images(pixels), labels, names)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, channels = self.pixels.shape
        return height, width, channels

    @property
    def digest(self) -> str:
        """One hexadecimal digest of the whole set, order included."""
        return digest_of_set(self.digests)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The labels (int64, N), where they cannot be done without.

        Raises:
            BadImages: the set has none.
        """
        if self.labels is None:
            raise BadImages(
                f"{self.name}: no labels; the true class of each image is needed here "
                "(a sub-folder a class, a column of integers, or an array `labels`)"
            )
        return self.labels

    def distinct(self) -> NDArray[np.int64]:
        """Rows (int64) of each image's first occurrence: the same image twice is one query."""
        _, first = np.unique(as_keys(self.digests), return_index=True)
        return np.sort(first).astype(np.int64)


def check_labels(images: ImageSet, classes: int) -> None:
    """Refuse a set with a label outside of 0 to `classes` - 1.

    Raises:
        BadImages: it has one, or no labels at all.
    """
    outside = (images.truth < 0) | (images.truth >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise BadImages(
            f"{images.name}: label {images.truth[row]} of image {row} is out of range; "
            f"the black box has {classes} classes, counted from 0 (an audit takes --classes)"
        )


def digest_images(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SHA-256 of each image (uint8, N x H x W x C), as uint8 (N, 32).

    The shape is part of what is digested, so that equal bytes of another shape are another image.
    """
    start = hashlib.sha256(_TAG + repr(pixels.shape[1:]).encode())
    digests = np.empty((len(pixels), 32), np.uint8)
    for row, image in enumerate(pixels):
        one = start.copy()
        one.update(image.tobytes())
        digests[row] = np.frombuffer(one.digest(), np.uint8)
    return digests


def digest_of_set(digests: NDArray[np.uint8]) -> str:
    """One hexadecimal digest for an ordered list of image digests (uint8, N x 32)."""
    return hashlib.sha256(digests.tobytes()).hexdigest()


def as_keys(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Digests (uint8, N x 32) as one value each (bytes, N) that can be sorted and compared."""
    return np.ascontiguousarray(digests).view("S32").ravel()
