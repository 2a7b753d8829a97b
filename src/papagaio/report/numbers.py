"""Numbers as they are read."""

from dataclasses import dataclass

from papagaio.scores import Figure

__all__ = ["Shown", "count", "duration", "money", "nats", "percent", "plural", "ratio", "share"]


@dataclass(frozen=True)
class Shown:
    """A figure as it is read: `98.9 %`, `98.1 to 99.4`, `n 590`."""

    value: str
    interval: str
    n: str


def count(number: int) -> str:
    """A whole number with its thousands marked."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """A number of things: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(value: float) -> str:
    """A share (1 is all) as a percentage."""
    return f"{100 * value:.1f} %"


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


def share(figure: Figure) -> Shown:
    """A share of images; its interval ends where shares end, at 0 and 100 %.

    Student's t interval over seeds knows no such end.
    """
    return _shown(figure, percent(figure.value), 100, 1, (0.0, 1.0))


def ratio(figure: Figure) -> Shown:
    """A share of another share, which may exceed 100 %."""
    return _shown(figure, percent(figure.value), 100, 1, (0.0, float("inf")))


def nats(figure: Figure) -> Shown:
    """A mean divergence, which is never negative."""
    return _shown(figure, f"{figure.value:.3f}", 1, 3, (0.0, float("inf")))


def _shown(figure: Figure, value: str, scale: int, digits: int, ends: tuple[float, float]) -> Shown:
    low, high = (scale * min(max(end, ends[0]), ends[1]) for end in (figure.low, figure.high))
    return Shown(value, f"{low:.{digits}f} to {high:.{digits}f}", f"n {figure.n:,}")
