"""The gauge of the verdict: where the copy's interval lies between the borders of the levels."""

from dataclasses import dataclass
from itertools import pairwise

from papagaio.numbers import percent
from papagaio.verdict import Standing
from papagaio.vocabulary import LEVELS

__all__ = ["Gauge", "Segment", "gauge"]


@dataclass(frozen=True)
class Segment:
    """A level, as wide as every other: its name, and where it lies, in words."""

    level: str
    where: str


@dataclass(frozen=True)
class Gauge:
    """Positions in per cent of its width.

    Attributes:
        segments: the levels, the lowest first.
        left, width: of the copy's interval.
        at: of the copy's figure.
    """

    segments: tuple[Segment, ...]
    left: float
    width: float
    at: float


def gauge(standing: Standing) -> Gauge:
    """The gauge of a figure; each level takes a quarter of its width."""
    begins = (standing.floor.value, *standing.borders)
    ends = (*begins, max(1.0, begins[-1]))
    low, at, high = (
        _place(value, ends)
        for value in (standing.figure.low, standing.figure.value, standing.figure.high)
    )
    where = [f"below {percent(begins[1])}", *(f"from {percent(border)}" for border in begins[1:])]
    segments = tuple(Segment(*pair) for pair in zip(LEVELS, where, strict=True))
    return Gauge(segments, low, max(high - low, 1.0), at)


def _place(value: float, ends: tuple[float, ...]) -> float:
    quarter = 100 / (len(ends) - 1)
    for index, (low, high) in enumerate(pairwise(ends)):
        if value < high:
            part = (value - low) / (high - low) if high > low else 0.0
            return quarter * (index + max(part, 0.0))
    return 100.0
