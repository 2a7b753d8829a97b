"""How long work tells what it has done: plain values to a function that the caller passes in."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Step", "no_progress", "remark"]


@dataclass(frozen=True)
class Step:
    """So much of a task is done; or, of a total of 0, a remark.

    Attributes:
        task: what is being done, in words.
        done, total: how far it is, in `unit`.
        unit: what is counted, in the plural.
        note: the latest figure worth a look, or nothing.
    """

    task: str
    done: int
    total: int
    unit: str
    note: str = ""


Progress = Callable[[Step], None]


def no_progress(_: Step) -> None:
    """For callers who do not look."""


def remark(words: str) -> Step:
    """Something worth saying that is no progress."""
    return Step(words, 0, 0, "")
