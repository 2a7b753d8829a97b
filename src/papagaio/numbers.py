"""Numbers as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isclose
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imports SciPy, which is slow
    from papagaio.scores import Figure

__all__ = [
    "Shown",
    "about",
    "count",
    "duration",
    "listing",
    "money",
    "nats",
    "percent",
    "plural",
    "ratio",
    "share",
    "with_interval",
]

_Range = tuple[float, float]
_PERCENT: _Range = (0.0, 100.0)
_POSITIVE: _Range = (0.0, inf)
_LISTED = 5


@dataclass(frozen=True)
class Shown:
    """A figure as text: `98.9 %`, `98.1 to 99.4`, `n 590`."""

    value: str
    interval: str
    n: str


def count(number: int) -> str:
    """A whole number with thousands separators."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """A number of things: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def listing(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def percent(value: float) -> str:
    """A share (1 is all) as a percentage; 100 % and 0 % are exactly that."""
    (text,) = _decimals([100 * value], 1, _PERCENT)
    return f"{text} %"


def money(price: float) -> str:
    """A price, to the hundredth unless it is smaller."""
    return f"{price:,.2f}" if price == 0 or price >= 0.01 else f"{price:.2g}"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def about(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"


def share(figure: "Figure") -> Shown:
    """A share of images; its interval is cut at 0 and 100 %, which Student's t may exceed."""
    return _shown(figure, percent(figure.value), _interval(figure, 100, 1, _PERCENT))


def with_interval(figure: "Figure") -> str:
    """A share of images and its interval: `98.9 % (98.1 to 99.4)`."""
    shown = share(figure)
    return f"{shown.value} ({shown.interval})"


def ratio(figure: "Figure") -> Shown:
    """A share divided by another, which may exceed 100 %."""
    return _shown(figure, percent(figure.value), _interval(figure, 100, 1, _POSITIVE))


def nats(figure: "Figure") -> Shown:
    """A mean divergence, which is never negative."""
    return _shown(figure, f"{figure.value:.3f}", _interval(figure, 1, 3, _POSITIVE))


def _shown(figure: "Figure", value: str, interval: str) -> Shown:
    return Shown(value, interval, f"n {figure.n:,}")


def _interval(figure: "Figure", scale: float, digits: int, ends: _Range) -> str:
    cut = [min(max(scale * end, ends[0]), ends[1]) for end in (figure.low, figure.high)]
    return " to ".join(_decimals(cut, digits, ends))


def _decimals(numbers: Sequence[float], digits: int, ends: _Range) -> list[str]:
    """Numbers with `digits` decimals, or as many more as keep them from being rounded to an end."""
    inside = [
        number for number in numbers if not any(isclose(number, end, abs_tol=1e-9) for end in ends)
    ]
    while any(round(number, digits) in ends for number in inside):
        digits += 1
    return [f"{number:.{digits if number in inside else 0}f}" for number in numbers]
