"""The result in one sentence, and the conclusion."""

from papagaio.report.copies import copies, rivals, strength
from papagaio.report.numbers import count, money, percent, plural, share
from papagaio.report.references import highest
from papagaio.report.series import series
from papagaio.result import Result, SummaryRow

__all__ = ["at_the_floor", "black_box_fault", "conclusion", "headline", "headline_row"]

_BOXS = "black box\u2019s"


def headline_row(result: Result) -> SummaryRow | None:
    """The copy that the headline is about; None where there is none.

    It is the most faithful of those with the largest budget that the first response allows.
    """
    return max(_rivals(result), key=strength, default=None)


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
    """Whether the headline's copy is no higher than the upper end of its floor's interval."""
    copy, floor = headline_row(result), highest(result, "floor")
    if copy is None or copy.fidelity is None or floor is None or floor.fidelity is None:
        return False
    return copy.fidelity.value <= floor.fidelity.high


def headline(result: Result) -> str:
    """The result in one sentence of plain text."""
    row = headline_row(result)
    if row is None:
        return "No copy has been trained yet."
    parts = [part for part in (_same(result, row), _right(result, row)) if part]
    figures = " and ".join(parts) or "could not be scored"
    compared = len(_rivals(result))
    copy = "a copy" if compared == 1 else f"the most faithful of {compared} copies"
    fault = black_box_fault(result)
    return (
        f"From {plural(row.budget, 'answer')} about {result.transfer.name}, {copy} {figures}"
        f"{fault and f', which means little: {fault}'}{_cost(result, row)}."
    )


def conclusion(result: Result) -> str:
    """What the numbers say about how well the model can be copied, in plain text."""
    row = headline_row(result)
    if row is None or row.fidelity is None:
        return "There is no conclusion before a copy has been trained and scored."
    if fault := black_box_fault(result):
        return f"This audit allows no conclusion: {fault}."
    reproduced = f"{percent(row.fidelity.value)} of the {_BOXS} decisions"
    floor = highest(result, "floor")
    if floor and at_the_floor(result):
        return (
            "This audit does not show that the model can be copied, and does not prove that it is"
            f" safe: the copy reproduces {reproduced}, no more than the floor ({floor.name}) may"
            " reach."
        )
    return (
        f"Somebody with {plural(row.budget, 'answer')} can reproduce {reproduced}"
        f"{_against(result)}{_earlier(result, row)}."
    )


def _rivals(result: Result) -> list[SummaryRow]:
    every = copies(result)
    if not every:
        return []
    first = max(every, key=lambda row: row.budget)
    return rivals(result, first.response, first.budget)


def _same(result: Result, row: SummaryRow) -> str:
    if row.fidelity is None:
        return ""
    return (
        f"names the same class as {result.black_box.name} on {percent(row.fidelity.value)}"
        f" of {plural(result.test.images, 'test image')}"
        f" (95 % interval {share(row.fidelity).interval}, {plural(row.seeds, 'seed')})"
    )


def _right(result: Result, row: SummaryRow) -> str:
    if row.accuracy is None:
        return ""
    right = f"is right on {percent(row.accuracy.value)}"
    if row.relative_accuracy is None or black_box_fault(result):
        return right
    own = percent(result.black_box.accuracy.value)
    return f"{right}, which is {percent(row.relative_accuracy.value)} of the {_BOXS} own {own}"


def _cost(result: Result, row: SummaryRow) -> str:
    queries = result.queries
    if queries.price is None:
        return ""
    # An unfinished run may have paid for more answers than its largest copy has learned from.
    which = "these" if row.budget == queries.spent else f"the copies\u2019 {count(queries.spent)}"
    cost = f"; {which} answers cost {money(queries.price)}"
    if queries.price_total is None:
        return cost
    return f"{cost}, and all {count(queries.total)} of the audit {money(queries.price_total)}"


def _against(result: Result) -> str:
    others = [
        f"{percent(reference.level)} for the {reference.side} ({reference.name})"
        for side in ("floor", "ceiling")
        if (reference := highest(result, side)) and reference.level is not None
    ]
    return f", against {' and '.join(others)}" if others else ""


def _earlier(result: Result, row: SummaryRow) -> str:
    first = next(one.rows[0] for one in series(result) if row in one.rows)
    if first.budget == row.budget or first.fidelity is None:
        return ""
    return f"; {plural(first.budget, 'answer')} already give {percent(first.fidelity.value)}"
