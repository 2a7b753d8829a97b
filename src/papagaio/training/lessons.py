"""Lessons: what a training shows in each step, and what is to be learned from it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from papagaio.training.feed import Feed
from papagaio.training.step import Batch

__all__ = ["Lesson", "Lessons", "StoredLessons"]


class Lesson(NamedTuple):
    """One step's batch, and the class (int64, N) that is right for each of its images."""

    batch: Batch
    named: Tensor


class Lessons(Protocol):
    """Gives the lessons of a training; the training loop asks for one per step."""

    def __len__(self) -> int:
        """The number of images that an epoch shows."""
        ...

    def __call__(self, rows: Tensor, strength: float) -> Lesson:
        """Return the lesson on these images (int64, N) at this strength of augmentation."""
        ...


@dataclass(frozen=True)
class StoredLessons:
    """Images with the answers that are stored for them, whatever view of an image is shown.

    Attributes:
        feed: what the network sees of each image.
        targets: float32, N rows, from `losses.targets_of`.
        named: int64 (N,), the class that each answer names.
        labels: int64 (N,), the true classes, for a recipe with `alpha`; or None.
    """

    feed: Feed
    targets: Tensor
    named: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.named)

    def __call__(self, rows: Tensor, strength: float) -> Lesson:
        """Return views of these images with their answers."""
        labels = None if self.labels is None else self.labels[rows]
        return Lesson(
            Batch(self.feed(rows, strength), self.targets[rows], labels), self.named[rows]
        )
