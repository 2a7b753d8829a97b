"""Whether the figures of a copy are only a lower bound of what its answers allow."""

from typing import NamedTuple

from papagaio.controls import CONTROLS
from papagaio.findings.copies import copies, trainings
from papagaio.numbers import percent
from papagaio.result import Result, SummaryRow

__all__ = ["Understated", "understated"]

# A student that learned the black box's answers about other images than a copy.
_OTHER_IMAGES = {one.kind for one in CONTROLS if one.side == "floor" and one.answers == "queried"}


class Understated(NamedTuple):
    """Why the figures of a copy are only a lower bound, and what a repetition needs instead."""

    reason: str
    remedy: str


def understated(result: Result, row: SummaryRow) -> Understated | None:
    """Why the figures of a copy are only a lower bound; None where nothing shows it.

    The same answers, or as many about other images, give more than this copy has.
    """
    if better := _better_from_noise(result, row):
        return Understated(
            "as many answers about random images give a copy that decides like the model on"
            f" {percent(better)} of the test images: the transfer images were a bad choice",
            "other transfer images, nearer to those of your service",
        )
    if any(cell.undertrained for cell in trainings(result, row)):
        reason = "that copy is undertrained: a full training gives a better one"
        return Understated(reason, "a longer training")
    return None


def _better_from_noise(result: Result, row: SummaryRow) -> float | None:
    """The fidelity of a student that learned answers about noise, if above a copy's interval."""
    # It has the whole budget: a copy from fewer answers may well be worse.
    if row.budget < max(one.budget for one in copies(result)):
        return None
    students = [one.fidelity for one in result.summary if one.kind in _OTHER_IMAGES]
    above = [
        one.value for one in students if one and row.fidelity and one.value > row.fidelity.high
    ]
    return max(above, default=None)
