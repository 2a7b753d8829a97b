"""A learning curve: copies at a few budgets -> figures at other budgets, each with a band.

The logit of a share is a line over the logarithm of the budget whose slope drifts and returns to
what is usual (an Ornstein-Uhlenbeck process). So the curve passes smoothly through the figures, a
steep rise is not expected to go on for ever, and the band widens with the distance. What is usual
was found on the studies in docs/learning-curve.md; a single point therefore gives a curve too, with
a wide band.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from papagaio.scores import Figure

__all__ = ["FARTHEST", "LearningCurve", "Needed", "Point", "fit_curve"]

# A curve is told up to this multiple of its largest budget.
FARTHEST = 10

# The slope of the logit, per e-fold of the budget: its mean and deviation before any figure is
# seen, and the e-folds over which it forgets what it was.
_SLOPE, _SLOPE_DEVIATION, _MEMORY = 0.6, 0.7, 2.0
# The deviation of the first logit before any figure is seen: nothing is known of it.
_LEVEL_DEVIATION = 10.0
# The deviation of a measured logit over seeds.
_SEEDS = 0.1
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
        value: where the curve itself reaches it, or `at_most`; None beyond the farthest budget.
        high: where the band's lower end reaches it, or a smaller measured budget whose copies reach
            it; None beyond the farthest budget.
        at_most: whether `value` is a measured budget whose copies reach it: fewer answers may do.
    """

    low: int
    value: int | None
    high: int | None
    at_most: bool


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

        The band is for a figure measured like the points, on as many images; `n` is the number of
        points.

        Raises:
            ValueError: the budget is below the smallest one or beyond the farthest.
        """
        if not self.smallest <= budget <= self.farthest:
            raise ValueError(f"the curve is told from {self.smallest} to {self.farthest} answers")
        middle, low, high = (float(each[0]) for each in self._band(np.array([budget])))
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
        enough = self._measured_enough(goal)
        # Noise may put the curve below copies that were measured.
        if enough is not None:
            high = min(high or enough, enough)
            if value is None or value >= enough:
                return Needed(min(low or enough, enough), enough, high, at_most=True)
        return None if low is None else Needed(low, value, high, at_most=False)

    def _measured_enough(self, goal: float) -> int | None:
        """The smallest measured budget at which copies reach a goal in the mean, or None."""
        for budget in dict.fromkeys(point.budget for point in self.points):
            figures = [point.figure.value for point in self.points if point.budget == budget]
            if float(np.mean(figures)) >= goal:
                return budget
        return None

    def _band(self, budgets: NDArray[np.number]) -> tuple[_Array, _Array, _Array]:
        """Shares at budgets: the curve, and the lower and upper ends of its band."""
        at = np.log([point.budget for point in self.points]) - np.log(self.smallest)
        asked = np.log(budgets) - np.log(self.smallest)
        logits, worth = _logits([point.figure for point in self.points])
        noise = np.diag(_noise(logits, worth))
        gain = np.linalg.solve(_covariance(at, at) + noise, _covariance(at, asked)).T
        middle = _SLOPE * asked + gain @ (logits - _SLOPE * at)
        variance = np.diag(_covariance(asked, asked)) - (gain * _covariance(asked, at)).sum(1)
        usual = np.asarray(np.median(worth))
        reach = _REACH * np.sqrt(np.maximum(variance, 0) + _noise(middle, usual))
        low, high = (_shown(logit, usual) for logit in (middle - reach, middle + reach))
        return _shown(middle, usual), low, high


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
    forgotten = 2 * np.minimum(a, b) / _MEMORY - 1 - np.exp(-abs(a - b) / _MEMORY)
    forgotten += np.exp(-a / _MEMORY) + np.exp(-b / _MEMORY)
    return _LEVEL_DEVIATION**2 + (_SLOPE_DEVIATION * _MEMORY) ** 2 * np.asarray(forgotten)


def _logits(figures: Sequence[Figure]) -> tuple[_Array, _Array]:
    """Logits of shares, and the number of images that each interval is worth.

    Two hits and two misses are added to the images (Agresti and Coull, The American Statistician,
    1998), so that the logits are finite at 0 and 1 too.
    """
    value, low, high = (
        np.clip([getattr(figure, end) for figure in figures], _LEAST, 1 - _LEAST)
        for end in ("value", "low", "high")
    )
    centre, deviation = (low + high) / 2, np.maximum(high - low, _LEAST) / (2 * _REACH)
    worth = np.maximum(centre * (1 - centre) / deviation**2, 1)
    share = (value * worth + 2) / (worth + 4)
    return np.log(share / (1 - share)), worth


def _shown(logits: _Array, worth: _Array) -> _Array:
    """The shares that have these logits, without the hits and misses that were added."""
    return np.clip((expit(logits) * (worth + 4) - 2) / worth, 0, 1)


def _noise(logits: _Array, worth: _Array) -> _Array:
    """The variance of measured logits: over images, binomial, and over seeds."""
    share = expit(logits)
    return _SEEDS**2 + 1 / ((worth + 4) * share * (1 - share))


def _first(budgets: _Array, shares: _Array, goal: float) -> int | None:
    """The first budget at which a curve reaches a goal."""
    reached = shares >= goal
    return int(np.ceil(budgets[reached.argmax()])) if reached.any() else None
