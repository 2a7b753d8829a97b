"""The result in a sentence, and the answer to the question in its title."""

from papagaio.report.numbers import count, money, percent, plural, share
from papagaio.report.series import series
from papagaio.result import Kind, Result, SummaryRow
from papagaio.scores import Figure

__all__ = ["answer", "at_the_floor", "floor_row", "headline", "headline_row", "row_of"]

_BOXS = "black box\u2019s"
_DEFAULT_RECIPES = ("recovered-logits", "labels")


def headline_row(result: Result) -> SummaryRow | None:
    """The copies that the headline is about.

    Those of the largest budget, the first response and student, and of several recipes the default.
    """
    copies = [row for row in result.summary if row.kind == "copy"]
    if not copies:
        return None
    first = max(copies, key=lambda row: row.budget)
    same = (first.budget, first.response, first.student)
    rivals = [row for row in copies if (row.budget, row.response, row.student) == same]
    return next((row for row in rivals if row.recipe in _DEFAULT_RECIPES), first)


def row_of(result: Result, kind: Kind) -> SummaryRow | None:
    """The first row of a floor or ceiling; None where there is none."""
    return next((row for row in result.summary if row.kind == kind), None)


def floor_row(result: Result) -> SummaryRow | None:
    """The floor that is hardest to beat: the student of shuffled answers, or of noise images."""
    rows = [row_of(result, "floor:shuffled"), row_of(result, "floor:noise")]
    present = [row for row in rows if row is not None and row.fidelity is not None]
    return max(present, key=lambda row: _value(row.fidelity), default=None)


def at_the_floor(result: Result) -> bool:
    """Whether the headline's copy stays at or under its floor's upper bound."""
    copy, floor = headline_row(result), floor_row(result)
    if copy is None or floor is None or copy.fidelity is None or floor.fidelity is None:
        return False
    return copy.fidelity.value <= floor.fidelity.high


def headline(result: Result) -> str:
    """The result in one sentence of plain text."""
    row = headline_row(result)
    if row is None:
        return "No copy has been trained yet."
    found = [part for part in (_same(result, row), _right(result, row)) if part]
    said = " and ".join(found) or "could not be scored"
    about = f"From {plural(row.budget, 'answer')} about {result.transfer.name}"
    return f"{about}, a copy {said}{_cost(result, row)}."


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
    if row.relative_accuracy is None:
        return right
    own = percent(result.black_box.accuracy.value)
    return f"{right}, which is {percent(row.relative_accuracy.value)} of the {_BOXS} own {own}"


def _cost(result: Result, row: SummaryRow) -> str:
    queries = result.queries
    if queries.price is None:
        return ""
    # An unfinished run may have paid for more answers than its largest copy has learned from.
    whose = "its" if row.budget == queries.spent else f"the audit\u2019s {count(queries.spent)}"
    return f"; {whose} queries cost {money(queries.price)}"


def answer(result: Result) -> str:
    """Whether the model is in danger, in numbers and one sentence."""
    row = headline_row(result)
    if row is None or row.fidelity is None:
        return "Nothing can be said before a copy has been trained and scored."
    made = percent(row.fidelity.value)
    if at_the_floor(result):
        return (
            f"This audit does not show it: the copy makes {made} of the {_BOXS} decisions, no more"
            f" than {_floor_words(result)} may reach."
        )
    return (
        f"Somebody with {plural(row.budget, 'answer')} can make {made}"
        f" of the {_BOXS} decisions without it{_against(result)}{_earlier(result, row)}."
    )


def _against(result: Result) -> str:
    floor, own = floor_row(result), row_of(result, "ceiling:own-data")
    others = [
        f"{percent(figure.value)} for {whose}"
        for figure, whose in (
            (_fidelity(floor), _floor_words(result)),
            (_fidelity(own), "a student of answers about the owner\u2019s own data"),
        )
        if figure is not None
    ]
    return f", against {' and '.join(others)}" if others else ""


def _floor_words(result: Result) -> str:
    floor = floor_row(result)
    if floor is not None and floor.kind == "floor:noise":
        return "a student of answers about pure noise"
    return "a student of shuffled answers"


def _earlier(result: Result, row: SummaryRow) -> str:
    first = next(one.rows[0] for one in series(result) if row in one.rows)
    if first.budget == row.budget or first.fidelity is None:
        return ""
    return f"; {plural(first.budget, 'answer')} already give {percent(first.fidelity.value)}"


def _fidelity(row: SummaryRow | None) -> Figure | None:
    return None if row is None else row.fidelity


def _value(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.value
