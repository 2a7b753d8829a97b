"""Canaries: images whose answers are known, sent again among new ones.

They show a black box that returns answers in another order, adds noise, or changes its model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.responses import step_of

__all__ = ["Canaries", "Request", "canaries_of", "no_canaries", "requests_of", "tolerated"]

# Of all images that are sent, but at least two: a single one that differs is no reason to stop.
_SHARE, _LEAST = 0.01, 2
# More than low precision and other requests change a score.
_TOLERANCE = 0.01

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Canaries:
    """Images whose answers are known.

    Attributes:
        pixels: uint8 (M, H, W, C).
        scores: float32 (M, K), the answers.
        tolerance: how much a score may change when an image is sent again.
    """

    pixels: Pixels
    scores: Scores
    tolerance: float


@dataclass(frozen=True)
class Request:
    """A request before it is sent.

    Attributes:
        new: the rows of the images that it asks about.
        known: the rows of the canaries among them.
        is_known: bool, one for each image in the order in which it is sent.
    """

    new: Rows
    known: Rows
    is_known: NDArray[np.bool_]

    def pixels(self, images: Pixels, canaries: Canaries) -> Pixels:
        """What is sent, uint8 (N, H, W, C)."""
        # New images are copied once: canaries take the places of copies of the first image.
        rows = np.zeros(len(self.is_known), np.int64)
        rows[~self.is_known] = self.new
        sent = images[rows]
        sent[self.is_known] = canaries.pixels[self.known]
        return sent

    def changes(self, scores: Scores, canaries: Canaries) -> list[float]:
        """The largest change of a score of each canary, from the answers (float32, N x K)."""
        moved = np.abs(scores[self.is_known] - canaries.scores[self.known])
        return [float(change) for change in moved.max(1)]


def canaries_of(pixels: Pixels, answers: Scores, tolerance: float) -> Canaries:
    """Choose canaries from images with known answers.

    Args:
        pixels: uint8 (N, H, W, C).
        answers: float32 (N, K).
        tolerance: how much a score may change when an image is sent again.

    Returns:
        the half of the images about which the black box is least sure: another model answers those
        differently, and many models are sure of the same easy ones.
    """
    # Labels are all equally sure: without a shuffle, their canaries could be of one class.
    shuffled = np.random.default_rng(0).permutation(len(answers))
    by_certainty = shuffled[np.argsort(answers[shuffled].max(1), kind="stable")]
    least_sure = by_certainty[: math.ceil(len(answers) / 2)]
    return Canaries(pixels[least_sure], answers[least_sure], tolerance)


def tolerated(response: str, resolution: float) -> float:
    """How much a score of the same image may change: a step is no sign of another answer.

    Args:
        response: what answers show.
        resolution: the step of their scores, or 0 if they have none.
    """
    return _TOLERANCE + 1.01 * step_of(response, resolution)


def no_canaries(images: Pixels, classes: int) -> Canaries:
    """Canaries for images that are sent without any."""
    return Canaries(images[:0], np.empty((0, classes), np.float32), 0.0)


def requests_of(rows: Rows, batch: int, canaries: int) -> Iterator[Request]:
    """Divide images into requests, with canaries at random places.

    They begin with the first request: a model that changed since an interrupted run is found at
    once.

    Args:
        rows: the images to ask about.
        batch: the largest number of images in a request.
        canaries: the number of known images to choose from.
    """
    random = np.random.default_rng(0)
    sent = repeated = 0
    while len(rows):
        wanted = max(_LEAST, math.ceil(_SHARE * (sent + min(batch, len(rows)))))
        due = min(wanted - repeated, batch) if canaries else 0
        new, rows = rows[: batch - due], rows[batch - due :]
        is_known = random.permutation(len(new) + due) < due
        known = random.integers(0, max(canaries, 1), due)
        yield Request(new, known, is_known)
        sent += len(is_known)
        repeated += due
