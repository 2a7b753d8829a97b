"""The strongest copy of an audit, and what makes its figures mean nothing."""

from papagaio.findings.copies import copies, rivals, strength
from papagaio.findings.references import highest
from papagaio.numbers import count, percent, plural
from papagaio.result import Result, SummaryRow

__all__ = ["at_the_floor", "black_box_fault", "compared_copies", "strongest_copy"]


def strongest_copy(result: Result) -> SummaryRow | None:
    """The most faithful copy of those with the largest budget that the first response allows.

    None where no copy has been trained.
    """
    return max(compared_copies(result), key=strength, default=None)


def compared_copies(result: Result) -> list[SummaryRow]:
    """The copies that the strongest was chosen from."""
    every = copies(result)
    if not every:
        return []
    first = max(every, key=lambda row: row.budget)
    return rivals(result, first.response, first.budget)


def black_box_fault(result: Result) -> str:
    """Why no fidelity to this black box means anything, as a clause; empty where it works."""
    box, of = result.black_box, plural(result.test.images, "test image")
    reasons = []
    if not box.better_than_majority:
        reasons.append(
            f"is right on {percent(box.accuracy.value)} of {of}, no better than always naming the"
            f" most frequent class ({percent(result.references.majority.value)})"
        )
    if box.almost_one_class:
        most = box.most_named
        reasons.append(f"names \u201c{most.name}\u201d on {count(most.images)} of {of}")
    return f"the black box {', and '.join(reasons)}" if reasons else ""


def at_the_floor(result: Result) -> bool:
    """Whether the strongest copy is no higher than the upper end of its floor's interval."""
    copy, floor = strongest_copy(result), highest(result, "floor")
    if copy is None or copy.fidelity is None or floor is None or floor.fidelity is None:
        return False
    return copy.fidelity.value <= floor.fidelity.high
