"""Whether the figures of a copy are only a lower bound of what its answers allow."""

from typing import NamedTuple

from papagaio.controls import CONTROLS
from papagaio.findings.copies import copies, trainings
from papagaio.numbers import percent
from papagaio.responses import is_derivable
from papagaio.result import Result, SummaryRow

__all__ = ["Understated", "understated"]

# A student that learned the black box's answers about other images than a copy.
_OTHER_IMAGES = {one.kind for one in CONTROLS if one.side == "floor" and one.answers == "queried"}


class Understated(NamedTuple):
    """Why the figures of a copy are only a lower bound, and what a repetition needs instead."""

    reason: str
    remedy: str
    better: SummaryRow | None
    """A student that learned as many answers about other images, where that is the reason."""


def understated(result: Result, row: SummaryRow, shown: str | None = None) -> Understated | None:
    """Why the figures of a copy are only a lower bound; None where nothing shows it.

    The same answers, or as many about other images, give more than this copy has.

    Args:
        result: with all trainings.
        row: the copy.
        shown: the response that a copier is shown; None for all that the black box shows.
    """
    if better := _better_from_noise(result, row, shown):
        return Understated(
            "as many answers about random images give a copy that decides like the model on"
            f" {percent(better[0])} of the test images: the transfer images were a bad choice",
            "other transfer images, nearer to those of your service",
            better[1],
        )
    if any(cell.undertrained for cell in trainings(result, row)):
        reason = "that copy is undertrained: a full training gives a better one"
        return Understated(reason, "a longer training", None)
    return None


def _better_from_noise(
    result: Result, row: SummaryRow, shown: str | None
) -> tuple[float, SummaryRow] | None:
    """The best student that learned answers about noise, and its fidelity, if above a copy's."""
    # It has the whole budget: a copy from fewer answers may well be worse.
    if row.budget < max(one.budget for one in copies(result)):
        return None
    # Over images only: an interval over two seeds is so wide that nothing lies above it.
    of_seeds = [one.scores.fidelity.high for one in trainings(result, row) if one.scores.fidelity]
    above = [
        (one.fidelity.value, one)
        for one in result.summary
        if one.kind in _OTHER_IMAGES and one.fidelity and of_seeds
        if shown is None or is_derivable(one.response, shown)
        if one.fidelity.value > sum(of_seeds) / len(of_seeds)
    ]
    return max(above, key=lambda one: one[0], default=None)
