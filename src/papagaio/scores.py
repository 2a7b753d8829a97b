"""What is measured of a copy, each figure with its n and its 95 % interval.

Pure functions over arrays. `student` and `black_box` are probabilities, float32 (N, K), of the same
N images in the same order; `labels` are the true classes, int64 (N,).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from scipy import stats

__all__ = [
    "Figure",
    "accuracy",
    "accuracy_per_class",
    "calibration_error",
    "cross_entropy",
    "fidelity",
    "fidelity_where_wrong",
    "is_better_than_majority",
    "kl_divergence",
    "majority",
    "mean_over_seeds",
    "names_almost_one_class",
    "over_seeds",
    "rate",
    "relative_accuracy",
    "score_student",
]

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]

_CONFIDENCE = 0.95
_BINS = 15
# A black box that works names the classes about as often as they occur.
_RARELY_NAMED = 0.1
# Probabilities below this count as this in a logarithm: a copy's one sure mistake must not turn
# the mean of ten thousand images into infinity.
_SMALLEST = 1e-12


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Figure:
    """A figure, its 95 % interval, and the number of images (or seeds) it rests on."""

    value: float
    low: float
    high: float
    n: int


def score_student(
    student: Probabilities, black_box: Probabilities, labels: Labels
) -> dict[str, Figure]:
    """Every score of a copy on the test set, by name.

    A score without images to measure it on (fidelity where the black box is wrong, if it never is)
    is left out.
    """
    scores = {
        "accuracy": accuracy(student, labels),
        "relative_accuracy": relative_accuracy(student, black_box, labels),
        "fidelity": fidelity(student, black_box),
        "fidelity_where_wrong": fidelity_where_wrong(student, black_box, labels),
        "kl": kl_divergence(student, black_box),
        "cross_entropy": cross_entropy(student, labels),
        "calibration_error": calibration_error(student, labels),
    }
    return {name: score for name, score in scores.items() if score is not None}


def accuracy(student: Probabilities, labels: Labels) -> Figure:
    """Share of images whose true class is named; Wilson interval."""
    return rate(student.argmax(1) == labels)


def fidelity(student: Probabilities, black_box: Probabilities) -> Figure:
    """Share of images on which both name the same class; Wilson interval."""
    return rate(student.argmax(1) == black_box.argmax(1))


def fidelity_where_wrong(
    student: Probabilities, black_box: Probabilities, labels: Labels
) -> Figure | None:
    """Fidelity on the images that the black box gets wrong; None where there are none.

    A classifier that is not a copy would rarely share the black box's mistakes.
    """
    wrong = black_box.argmax(1) != labels
    return fidelity(student[wrong], black_box[wrong]) if wrong.any() else None


def relative_accuracy(
    student: Probabilities, black_box: Probabilities, labels: Labels
) -> Figure | None:
    """The student's accuracy divided by the black box's.

    The interval is the delta method's for a ratio of paired means. An image that only the student
    gets right and one that only the black box does are added to its spread (as Bonett and Price,
    J. Educ. Behav. Stat. 2012, do for a difference): without them, two that are right on the same
    images would have an interval without width.

    Returns:
        None where the black box is not better than the most frequent class: a ratio to a black box
        that is no better than guessing means nothing.
    """
    right, reference = student.argmax(1) == labels, black_box.argmax(1) == labels
    if not is_better_than_majority(rate(reference), labels):
        return None
    ratio = right.mean() / reference.mean()
    one, other = np.append(right, [1, 0]), np.append(reference, [0, 1])
    spread = (one - one.mean() / other.mean() * other) / other.mean()
    reach = _reach(spread)
    return Figure(float(ratio), float(ratio) - reach, float(ratio) + reach, len(labels))


def majority(labels: Labels) -> Figure:
    """The share of the most frequent class, which always naming it would get right."""
    return rate(labels == np.bincount(labels).argmax())


def is_better_than_majority(accuracy: Figure, labels: Labels) -> bool:
    """Whether the whole interval of an accuracy lies above the share of the most frequent class."""
    return accuracy.low > majority(labels).value


def names_almost_one_class(black_box: Probabilities, labels: Labels) -> bool:
    """Whether all classes but one are named less than a tenth as often as they occur."""
    named = black_box.argmax(1)
    favourite = np.bincount(named).argmax()
    return bool((named != favourite).mean() < _RARELY_NAMED * (labels != favourite).mean())


def kl_divergence(student: Probabilities, black_box: Probabilities) -> Figure:
    """Mean Kullback-Leibler divergence of the student from the black box, in nats."""
    answers = black_box.astype(np.float64)
    ratio = _log(answers) - _log(student)
    return _mean((answers * ratio).sum(1))


def cross_entropy(student: Probabilities, labels: Labels) -> Figure:
    """Mean negative log-probability of the true class, in nats."""
    return _mean(-_log(student)[np.arange(len(labels)), labels])


def calibration_error(student: Probabilities, labels: Labels) -> Figure:
    """Expected calibration error over 15 equal bins of confidence (Guo et al., ICML 2017, eq. 3).

    The interval is the percentiles of 200 bootstrap draws, widened where need be to hold the
    value: the error of a resample is on average larger than that of the sample.
    """
    confidence = student.max(1).astype(np.float64)
    gap = (student.argmax(1) == labels) - confidence
    bin_of = np.minimum((confidence * _BINS).astype(int), _BINS - 1)

    def error(rows: NDArray[np.int64]) -> float:
        sums = np.bincount(bin_of[rows], gap[rows], _BINS)
        return float(np.abs(sums).sum() / len(rows))

    draws = np.random.default_rng(0).integers(0, len(gap), (200, len(gap)))
    low, high = np.percentile([error(rows) for rows in draws], (2.5, 97.5))
    value = error(np.arange(len(gap)))
    return Figure(value, min(float(low), value), max(float(high), value), len(gap))


def accuracy_per_class(student: Probabilities, labels: Labels) -> list[Figure | None]:
    """Accuracy on the images of each true class; None for a class without images."""
    right = student.argmax(1) == labels
    return [
        rate(right[labels == c]) if (labels == c).any() else None for c in range(student.shape[1])
    ]


def rate(hits: NDArray[np.bool_]) -> Figure:
    """The share of hits, with Wilson's interval (Wilson, JASA 1927)."""
    n = len(hits)
    result = stats.binomtest(int(hits.sum()), n)
    interval = result.proportion_ci(_CONFIDENCE, method="wilson")
    return Figure(float(hits.mean()), float(interval.low), float(interval.high), n)


def mean_over_seeds(scores: Sequence[Figure]) -> Figure:
    """The mean of one score over several seeds, and its interval.

    Two things make it uncertain: the seeds, by Student's t over them, and the images, by the mean
    distance from the scores to the ends of their own intervals. The two are independent and are
    added in quadrature. One seed says nothing about seeds: its own interval is returned.
    """
    if len(scores) == 1:
        return scores[0]
    values = np.array([score.value for score in scores])
    mean = float(values.mean())
    seeds = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    below = np.hypot(seeds, np.mean([score.value - score.low for score in scores]))
    above = np.hypot(seeds, np.mean([score.high - score.value for score in scores]))
    return Figure(mean, mean - float(below), mean + float(above), len(values))


def over_seeds(values: Sequence[float]) -> Figure:
    """The mean of figures without an interval, one per seed, with Student's t interval."""
    return mean_over_seeds([Figure(value, value, value, 1) for value in values])


def _mean(values: NDArray[np.float64]) -> Figure:
    value, reach = float(values.mean()), _reach(values)
    return Figure(value, value - reach, value + reach, len(values))


def _reach(terms: NDArray[np.float64]) -> float:
    """How far the normal interval of a mean of independent terms reaches on each side."""
    n = len(terms)
    return float(stats.norm.ppf((1 + _CONFIDENCE) / 2) * np.std(terms, ddof=min(1, n - 1)) / n**0.5)


def _log(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
