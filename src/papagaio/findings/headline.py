"""The result in one sentence of figures."""

from papagaio.findings.strongest import black_box_fault, compared_copies, strongest_copy
from papagaio.numbers import count, money, percent, plural, share
from papagaio.result import Result, SummaryRow

__all__ = ["headline"]

_BOXS = "black box\u2019s"


def headline(result: Result) -> str:
    """The result in one sentence of plain text."""
    row = strongest_copy(result)
    if row is None:
        return "No copy has been trained yet."
    parts = [part for part in (_same(result, row), _right(result, row)) if part]
    figures = " and ".join(parts) or "could not be scored"
    compared = len(compared_copies(result))
    copy = "a copy" if compared == 1 else f"the most faithful of {compared} copies"
    fault = black_box_fault(result)
    return (
        f"From {plural(row.budget, 'answer')} about {result.transfer.name}, {copy} {figures}"
        f"{fault and f', which means little: {fault}'}{_cost(result, row)}."
    )


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
