"""Acquisition: which images to ask about next, judged by what copies answer about them.

Methods of active learning (Settles, "Active Learning Literature Survey", 2009; for copies: Pal et
al., "ActiveThief", AAAI 2020). Copies answer at no query.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from papagaio.vocabulary import Selection

__all__ = ["ACQUISITION"]

_Logits = NDArray[np.float32]
_Rows = NDArray[np.int64]


def _uncertain(candidates: _Logits, answered: _Logits, count: int) -> _Rows:  # noqa: ARG001
    """Those with the smallest margin between the two highest probabilities."""
    scores = np.exp(candidates - candidates.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    second, first = np.sort(scores, 1)[:, -2:].T
    return np.argsort(first - second, kind="stable")[:count]


def _balanced(candidates: _Logits, answered: _Logits, count: int) -> _Rows:
    """As many of each class, answered images included, as copies can tell; in the order given."""
    classes = candidates.shape[1]
    have = np.bincount(answered.argmax(1), minlength=classes)
    named = candidates.argmax(1)
    # How many images of its class come before each candidate.
    rank = np.empty(len(named), np.int64)
    for one in range(classes):
        (rows,) = np.nonzero(named == one)
        rank[rows] = have[one] + np.arange(len(rows))
    return np.argsort(rank, kind="stable")[:count]


def _diverse(candidates: _Logits, answered: _Logits, count: int) -> _Rows:
    """Each as far as possible from all before it, in the space of logits.

    The greedy k-center of Sener and Savarese, "Active Learning for Convolutional Neural Networks: A
    Core-Set Approach", ICLR 2018, algorithm 1.
    """
    distance = np.full(len(candidates), np.inf, np.float32)
    for known in answered:
        distance = np.minimum(distance, ((candidates - known) ** 2).sum(1))
    chosen = np.empty(count, np.int64)
    for number in range(count):
        chosen[number] = distance.argmax()
        nearest = ((candidates - candidates[chosen[number]]) ** 2).sum(1)
        distance = np.minimum(distance, nearest)
        distance[chosen[number]] = -1  # never again, even where all are alike
    return chosen


# From centred logits of candidates (N, K) and of answered images (M, K), and a number: so many
# different rows of the candidates. `random` needs none: images are drawn in random order anyway.
ACQUISITION: dict[Selection, Callable[[_Logits, _Logits, int], _Rows]] = {
    "uncertain": _uncertain,
    "balanced": _balanced,
    "diverse": _diverse,
}
