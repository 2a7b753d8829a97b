"""A learning curve: copies at a few budgets -> figures at other budgets, each with a band.

The logit of a share is taken as a line over the logarithm of the budget whose slope drifts: the
drift is an integrated Wiener process, the model behind smoothing splines (Wahba, J. R. Statist.
Soc. B, 1978). Between budgets the curve is a smooth line through the figures; beyond them the band
widens with the distance. What is expected of a slope and of its drift was fitted to the studies in
docs/learning-curve.md, and so a single point gives a curve too, with a wide band.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.scores import Figure

__all__ = ["FARTHEST", "LearningCurve", "Needed", "Point", "fit_curve"]

# A curve is told up to this multiple of its largest budget.
FARTHEST = 10

# Per e-fold of the budget, in units of the logit: a slope's mean and deviation before any figure
# is seen, and the variance by which it drifts.
_SLOPE, _SLOPE_DEVIATION, _DRIFT = 0.7, 0.4, 0.15
# The deviation of the first logit before any figure is seen: nothing is known of it.
_LEVEL_DEVIATION = 10.0
# The normal quantile of a 95 % interval.
_REACH = 1.96
# Shares and intervals are kept this far from 0 and 1, where a logit is infinite.
_LEAST = 1e-6
_STEPS = 1000

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A measured figure at a budget: a share, such as fidelity. Values above 1 count as 1."""

    budget: int
    figure: Figure


@dataclass(frozen=True)
class Needed:
    """How many answers reach a goal.

    Attributes:
        low: the fewest, where the band's upper end reaches it.
        value: where the curve itself reaches it; None beyond the farthest budget.
        high: where the band's lower end reaches it; None beyond the farthest budget.
    """

    low: int
    value: int | None
    high: int | None


@dataclass(frozen=True)
class LearningCurve:
    """A curve through measured points, sorted by budget."""

    points: tuple[Point, ...]

    @property
    def smallest(self) -> int:
        """The smallest measured budget, where the curve begins."""
        return self.points[0].budget

    @property
    def measured(self) -> int:
        """The largest measured budget; what is beyond it is extrapolated."""
        return self.points[-1].budget

    @property
    def farthest(self) -> int:
        """The largest budget at which the curve is told: ten times the data."""
        return FARTHEST * self.measured

    def at(self, budget: int) -> Figure:
        """The figure that copies from this many answers are expected to show, and its 95 % band.

        `n` is the number of points behind it.

        Raises:
            ValueError: the budget is below the smallest one or beyond the farthest.
        """
        if not self.smallest <= budget <= self.farthest:
            raise ValueError(f"the curve is told from {self.smallest} to {self.farthest} answers")
        middle, low, high = (float(_share(each[0])) for each in self._band(np.array([budget])))
        return Figure(middle, low, high, len(self.points))

    def needed(self, goal: float) -> Needed | None:
        """How many answers reach a goal, with a band.

        Returns:
            None if not even the band's upper end reaches it by the farthest budget.

        Raises:
            ValueError: the goal is not between 0 and 1.
        """
        if not 0 < goal < 1:
            raise ValueError("a goal is between 0 and 1")
        budgets = np.geomspace(self.smallest, self.farthest, _STEPS)
        value, high, low = (_first(budgets, each, goal) for each in self._band(budgets))
        return None if low is None else Needed(low, value, high)

    def _band(self, budgets: NDArray[np.number]) -> tuple[_Array, _Array, _Array]:
        """Logits at budgets: the curve, and the lower and upper ends of its band."""
        at = np.log([point.budget for point in self.points]) - np.log(self.smallest)
        asked = np.log(budgets) - np.log(self.smallest)
        logits, noise = _logits([point.figure for point in self.points])
        gain = np.linalg.solve(_covariance(at, at) + np.diag(noise), _covariance(at, asked)).T
        middle = _SLOPE * asked + gain @ (logits - _SLOPE * at)
        variance = np.diag(_covariance(asked, asked)) - (gain * _covariance(asked, at)).sum(1)
        reach = _REACH * np.sqrt(np.maximum(variance, 0))
        return middle, middle - reach, middle + reach


def fit_curve(points: Sequence[Point]) -> LearningCurve | None:
    """The learning curve of measured points.

    Args:
        points: copies that differ in their budget only; a budget may occur several times.

    Returns:
        None without points.
    """
    ordered = sorted(points, key=lambda point: point.budget)
    return LearningCurve(tuple(ordered)) if ordered else None


def _covariance(one: _Array, other: _Array) -> _Array:
    """Of the logits at two lists of logarithms of budgets, before any figure is seen."""
    a, b = one[:, None], other[None, :]
    near, far = np.minimum(a, b), np.maximum(a, b)
    drift = near**2 * (3 * far - near) / 6
    return np.asarray(_LEVEL_DEVIATION**2 + _SLOPE_DEVIATION**2 * a * b + _DRIFT * drift)


def _logits(figures: Sequence[Figure]) -> tuple[_Array, _Array]:
    """Logits of shares and their variances, both finite at 0 and 1 too.

    An interval is worth a number of images; two hits and two misses are added to these (Agresti and
    Coull, The American Statistician, 1998).
    """
    value, low, high = (
        np.clip([getattr(figure, end) for figure in figures], _LEAST, 1 - _LEAST)
        for end in ("value", "low", "high")
    )
    centre, deviation = (low + high) / 2, np.maximum(high - low, _LEAST) / (2 * _REACH)
    worth = centre * (1 - centre) / deviation**2
    share = (value * worth + 2) / (worth + 4)
    return np.log(share / (1 - share)), 1 / ((worth + 4) * share * (1 - share))


def _share(logits: _Array) -> _Array:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _first(budgets: _Array, logits: _Array, goal: float) -> int | None:
    """The first budget at which a curve of logits reaches a goal."""
    reached = _share(logits) >= goal
    return int(np.ceil(budgets[reached.argmax()])) if reached.any() else None
