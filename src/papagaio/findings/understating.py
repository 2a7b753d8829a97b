"""Whether the figures of a copy are only a lower bound of what its answers allow."""

from math import nan
from statistics import fmean
from typing import Literal, NamedTuple

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
    above = [
        (one.fidelity.value, one)
        for one in result.summary
        if one.kind in _OTHER_IMAGES and one.fidelity and row.fidelity
        if shown is None or is_derivable(one.response, shown)
        if one.fidelity.value > row.fidelity.high
        or _over_images(result, one, "low") > _over_images(result, row, "high")
    ]
    return max(above, key=lambda one: one[0], default=None)


def _over_images(result: Result, row: SummaryRow, end: Literal["low", "high"]) -> float:
    """An end of the fidelity's interval over images only: nothing is above it over two seeds."""
    figures = [cell.scores.fidelity for cell in trainings(result, row)]
    ends = [getattr(figure, end) for figure in figures if figure]
    return fmean(ends) if ends else nan
