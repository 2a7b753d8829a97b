"""Progress: plain values passed to a function that the caller provides."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Message", "Progress", "Step", "no_progress", "tracked"]

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """How far a task has come.

    Attributes:
        task: what is being done, in words.
        done, total: how much of it is done, in `unit`; `total` is at least 1.
        unit: what is counted, in the plural.
        note: the latest figure, or empty.
    """

    task: str
    done: int
    total: int
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Message:
    """Something to tell the user that is not a step of a task."""

    text: str


Progress = Callable[[Step | Message], None]


def no_progress(_: Step | Message) -> None:
    """Ignore all progress."""


def tracked(
    items: Iterable[T], total: int, task: str, unit: str, progress: Progress
) -> Iterator[T]:
    """Yield the items, and report a step before the first and after each of them."""
    progress(Step(task, 0, total, unit))
    for done, item in enumerate(items, 1):
        yield item
        progress(Step(task, done, total, unit))
