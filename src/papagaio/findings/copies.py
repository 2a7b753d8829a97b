"""Copies: which are compared, which is the strongest, and the trainings of one."""

from papagaio.responses import is_derivable
from papagaio.result import CellRecord, Result, SummaryRow

__all__ = ["copies", "rivals", "strength", "trainings"]


def copies(result: Result) -> list[SummaryRow]:
    """The summary rows of copies; floors and ceilings are left out."""
    return [row for row in result.summary if row.kind == "copy"]


def rivals(result: Result, response: str, budget: int) -> list[SummaryRow]:
    """The copies with this budget that a response allows.

    Somebody who is shown a response can also use any that is derived from it.
    """
    return [
        row
        for row in copies(result)
        if row.budget == budget and is_derivable(row.response, response)
    ]


def strength(row: SummaryRow) -> float:
    """The fidelity by which copies are ranked; -1 for an unscored copy."""
    return row.fidelity.value if row.fidelity else -1.0


def trainings(result: Result, row: SummaryRow) -> list[CellRecord]:
    """The trainings, one per seed, of which a summary row is the mean."""
    same = {"kind", "student", "recipe", "response", "budget"}
    key = row.model_dump(include=same)
    return [cell for cell in result.cells if cell.model_dump(include=same) == key]
