"""Whether the figures of a copy are only a lower bound of what its answers allow."""

from papagaio.controls import CONTROLS
from papagaio.findings.copies import copies, trainings
from papagaio.numbers import percent
from papagaio.result import Result, SummaryRow

__all__ = ["understated"]

# A student that learned the black box's answers about other images than a copy.
_OTHER_IMAGES = {one.kind for one in CONTROLS if one.side == "floor" and one.answers == "queried"}


def understated(result: Result, row: SummaryRow) -> str:
    """Why the figures of a copy are only a lower bound, as a clause; empty where nothing shows it.

    The same answers, or as many about other images, give more than this copy has.
    """
    if better := _better_from_noise(result, row):
        return (
            f"answers about noise give {percent(better)} of the decisions: other images are better"
        )
    if any(cell.undertrained for cell in trainings(result, row)):
        return "that copy is undertrained: a full training gives a better one"
    return ""


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
