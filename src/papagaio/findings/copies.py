"""Copies: which are compared, which is the strongest, and the trainings of one."""

from papagaio.responses import is_derivable
from papagaio.result import CellRecord, EnsembleRecord, Result, SummaryRow

__all__ = ["Way", "copies", "copy_cells", "rivals", "strength", "trainings", "way_of"]

# How a copy is made, whatever its budget and seed: response, recipe, student.
Way = tuple[str, str, str]


def way_of(record: SummaryRow | CellRecord | EnsembleRecord) -> Way:
    """How the copy, or the copies, of a record were made."""
    return record.response, record.recipe, record.student


def copies(result: Result) -> list[SummaryRow]:
    """The summary rows of copies; floors and ceilings are left out."""
    return [row for row in result.summary if row.kind == "copy"]


def copy_cells(result: Result) -> list[CellRecord]:
    """The trainings of copies; floors and ceilings are left out."""
    return [cell for cell in result.cells if cell.kind == "copy"]


def rivals(result: Result, response: str | None, budget: int) -> list[SummaryRow]:
    """The copies with this budget that a response allows; all of them if none is named.

    Somebody who is shown a response can also use any that is derived from it.
    """
    return [
        row
        for row in copies(result)
        if row.budget == budget and (response is None or is_derivable(row.response, response))
    ]


def strength(row: SummaryRow) -> float:
    """The fidelity by which copies are ranked; -1 for an unscored copy."""
    return row.fidelity.value if row.fidelity else -1.0


def trainings(result: Result, row: SummaryRow) -> list[CellRecord]:
    """The trainings, one per seed, of which a summary row is the mean."""
    same = row.kind, row.budget, way_of(row)
    return [cell for cell in result.cells if (cell.kind, cell.budget, way_of(cell)) == same]
