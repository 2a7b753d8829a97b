"""Differences of two copies on the same images, with 95 % intervals.

Pure functions over arrays. A copy is measured by `hits`, float64 (S, N): for each of S trainings
and N images 1 where it is right, else 0; and by `of`, float64 (N,), of the same images: the score
is the mean of the hits divided by the mean of `of`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from papagaio.scores import Figure, over_seeds

__all__ = ["Measured", "mcnemar", "paired_difference", "unpaired_difference"]

_DRAWS = 4000
# One image on which only the first copy is right, and one on which only the second is.
_ADDED = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], np.float64)


@dataclass(frozen=True)
class Measured:
    """A copy on N images; see the module. For a share of all images, `of` is 1 everywhere."""

    hits: NDArray[np.float64]
    of: NDArray[np.float64]

    @property
    def per_training(self) -> list[float]:
        """The score of each training."""
        return [float(row.mean() / self.of.mean()) for row in self.hits]


def paired_difference(first: Measured, second: Measured) -> Figure:
    """The second score minus the first, on the same images in the same order.

    The interval over images is the percentile bootstrap's over pairs. Two images are added before
    (Bonett and Price, J. Educ. Behav. Stat. 2012): without them, copies that never differ would
    have an interval without width. With several trainings, Student's t over them is added in
    quadrature, as in `scores.mean_over_seeds`.
    """
    pairs = np.stack([first.hits.mean(0), first.of, second.hits.mean(0), second.of], 1)
    value = _difference(pairs.mean(0))
    # Few pairs are different, so that draws of counts are much cheaper than draws of images.
    kinds, counts = np.unique(np.concatenate([pairs, _ADDED]), axis=0, return_counts=True)
    total = counts.sum()
    draws = np.random.default_rng(0).multinomial(total, counts / total, _DRAWS)
    low, high = np.percentile(_difference((draws @ kinds).T), (2.5, 97.5))
    seeds = np.hypot(_over_trainings(first), _over_trainings(second))
    below = np.hypot(max(value - low, 0), seeds)
    above = np.hypot(max(high - value, 0), seeds)
    return Figure(value, value - float(below), value + float(above), len(pairs))


def unpaired_difference(first: Figure, second: Figure) -> Figure:
    """The second figure minus the first, where it is not known how they vary together.

    The interval is that of Zou and Donner (Stat. Med. 2008): distances to the ends in quadrature.
    """
    value = second.value - first.value
    below = np.hypot(second.value - second.low, first.high - first.value)
    above = np.hypot(second.high - second.value, first.value - first.low)
    return Figure(value, value - float(below), value + float(above), min(first.n, second.n))


def mcnemar(first: Measured, second: Measured) -> float | None:
    """The exact McNemar test's p that two single trainings are right equally often.

    Returns:
        None with several trainings: it says nothing about them.
    """
    if len(first.hits) > 1 or len(second.hits) > 1:
        return None
    one, other = first.hits[0] > 0, second.hits[0] > 0
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0


def _difference(means: NDArray[np.float64]) -> float:
    """The difference of two ratios, of the rows (4, ...) of `pairs`."""
    first, of_first, second, of_second = means
    return second / of_second - first / of_first  # type: ignore[no-any-return]


def _over_trainings(measured: Measured) -> float:
    scores = over_seeds(measured.per_training)
    return scores.high - scores.value
