"""Unanswered images: what a student is shown without any query, and never a test image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.images.duplicates import near_duplicates
from papagaio.images.imageset import ImageSet, digest_of_set
from papagaio.progress import Message, Progress

__all__ = ["Unanswered", "freeze_unanswered"]


@dataclass(frozen=True)
class Unanswered:
    """The transfer images and then those of the pool, without near-duplicates of test images.

    A smaller budget leaves a part of the transfer set unanswered.

    Attributes:
        file: an `.npy` file, uint8 (N, H, W, C).
        digests: uint8 (N, 32), of each image.
        transfer: int64, the rows that its first images have in the transfer set.
        near_duplicates: how many images were left out.
    """

    file: Path
    digests: NDArray[np.uint8]
    transfer: NDArray[np.int64]
    near_duplicates: int

    def first(self, budget: int) -> int:
        """The row of the file from which on its images are unanswered at a budget."""
        return int(np.searchsorted(self.transfer, budget))

    def digest(self, budget: int) -> str:
        """One digest of the images that are unanswered at a budget."""
        return digest_of_set(self.digests[self.first(budget) :])


def freeze_unanswered(
    transfer: ImageSet, pool: ImageSet | None, test: ImageSet, file: Path, progress: Progress
) -> Unanswered:
    """Write the images that students are shown without an answer.

    Args:
        transfer: the transfer set, of which the whole budget is asked.
        pool: other images, of the same shape; or None.
        test: the test set; images that are almost the same as one of its own are left out.
        file: where they are written.
        progress: told how many are left out.

    Raises:
        NoSpace: the disk is full.
    """
    sets = [transfer] if pool is None else [transfer, pool]
    seen = [near_duplicates(images, test, progress) for images in sets]
    kept = [np.delete(np.arange(len(one)), rows) for one, rows in zip(sets, seen, strict=True)]
    parts = [one.take(rows) for one, rows in zip(sets, kept, strict=True)]
    files.write_array(file, np.concatenate([part.pixels for part in parts]))
    left_out = sum(map(len, seen))
    if left_out:
        progress(Message(f"unanswered images: left out {left_out} near-duplicates of test images"))
    digests = np.concatenate([part.digests for part in parts])
    return Unanswered(file, digests, kept[0], left_out)
