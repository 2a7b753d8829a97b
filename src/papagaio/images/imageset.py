"""`ImageSet`: images of one size, ready for the black box."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages

__all__ = [
    "ClassOrder",
    "ImageSet",
    "SourceNotes",
    "as_keys",
    "check_labels",
    "digest_images",
    "digest_of_set",
]

ClassOrder = Literal["number", "name", "file"]

# Digesting anything else needs a new tag, so that old ledgers cannot be misread.
_TAG = b"papagaio-image-1"


@dataclass(frozen=True)
class SourceNotes:
    """What reading a source showed, for the run and the report to tell.

    Attributes:
        entries: the number of images in the source, read or not.
        skipped: how many files of each suffix are not images; `._` counts AppleDouble files.
        class_order: class folders are numbered by their own `number`, by the order of their
            `name`, or by a `file`; None for sources other than class folders.
        broken: names of the images that could not be read.
        repeated: how many images that were read repeat an earlier one pixel by pixel, and were
            replaced by others.
        rotated: how many images that were read carry an EXIF rotation.
    """

    entries: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    class_order: ClassOrder | None = None
    broken: tuple[str, ...] = ()
    repeated: int = 0
    rotated: int = 0


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, each with its digest.

    Attributes:
        name: what the set is called in files and reports.
        pixels: uint8 (N, H, W, C), C 1 or 3; memory-mapped if the images were read from files.
        digests: uint8 (N, 32), SHA-256 of each image's shape and pixels.
        notes: what reading the source showed.
        labels: int64 (N,), the true classes, or None.
        classes: the names of the classes, or None.
    """

    name: str
    pixels: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    notes: SourceNotes
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
        notes = SourceNotes(len(pixels))
        return cls(name, pixels, digest_images(pixels), notes, labels, names)

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
    def required_labels(self) -> NDArray[np.int64]:
        """The labels (int64, N), for callers that need them.

        Raises:
            BadImages: the set has none.
        """
        if self.labels is None:
            raise BadImages(
                f"{self.name}: no labels; the true class of each image is needed here "
                "(a sub-folder per class, a column of integers, or an array `labels`)"
            )
        return self.labels

    def take(self, rows: NDArray[np.integer]) -> Self:
        """The images of these rows, in this order; a view if the rows are the first ones."""
        first = np.array_equal(rows, np.arange(len(rows)))
        at: slice | NDArray[np.integer] = slice(len(rows)) if first else rows
        return replace(
            self,
            pixels=self.pixels[at],
            digests=self.digests[at],
            labels=None if self.labels is None else self.labels[at],
        )

    def distinct(self) -> NDArray[np.int64]:
        """Rows (int64) of each image's first occurrence: the same image twice is one query."""
        _, first = np.unique(as_keys(self.digests), return_index=True)
        return np.sort(first).astype(np.int64)


def check_labels(images: ImageSet, classes: int, *, field: str | None = None) -> None:
    """Refuse a set with a label outside of 0 to `classes` - 1.

    Args:
        images: labelled images.
        classes: the number of classes.
        field: the setting that states this number, if one does.

    Raises:
        BadImages: it has one, or no labels at all.
    """
    labels = images.required_labels
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise BadImages(
            f"{images.name}: label {labels[row]} of image {row} is out of range; "
            f"the black box has {classes} classes, counted from 0",
            field=field,
        )


def digest_images(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SHA-256 of each image (uint8, N x H x W x C), as uint8 (N, 32).

    The shape is digested too, so that equal bytes in another shape count as another image.
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
