"""Verdicts on claims, and how figures are written in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from papagaio.scores import Figure

__all__ = ["Judgement", "Verdict", "combined", "is_above", "shown", "signed", "undecided"]

Verdict = Literal["holds", "holds in part", "does not hold", "not decided here"]


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the text with the numbers that decide it."""

    verdict: Verdict
    text: str


def undecided(text: str) -> Judgement:
    """Return the judgement of a claim for which nothing was run."""
    return Judgement("not decided here", text)


def is_above(one: Figure, other: Figure) -> bool | None:
    """Return whether one figure is above another; None if their intervals overlap."""
    if one.low > other.high:
        return True
    return False if one.high < other.low else None


def combined(comparisons: Sequence[bool | None]) -> Verdict:
    """Return one verdict from several comparisons; None is an undecided one."""
    if all(comparisons):
        return "holds"
    if any(comparisons):
        return "holds in part"
    return "does not hold" if False in comparisons else "not decided here"


def shown(figure: Figure) -> str:
    """Format a share with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def signed(figure: Figure) -> str:
    """Format a difference with its interval."""
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"
