"""Cells -> summary rows: what differs in nothing but its seed becomes one row."""

from collections.abc import Sequence

from papagaio.result import CellRecord, Figure, Scores, SummaryRow
from papagaio.scores import Score, mean_over_seeds

__all__ = ["mean_figure", "summarise"]

# An interval over seeds may reach beyond what a share can be.
_SHARES = {"accuracy", "fidelity", "fidelity_where_wrong", "calibration_error"}


def summarise(cells: Sequence[CellRecord]) -> list[SummaryRow]:
    """One row for the cells of each kind, student, recipe, response and budget, in their order."""
    groups: dict[tuple[str, ...], list[CellRecord]] = {}
    for cell in cells:
        key = (cell.kind, cell.student, cell.recipe, cell.response, str(cell.budget))
        groups.setdefault(key, []).append(cell)
    return [_row(group) for group in groups.values()]


def _row(cells: Sequence[CellRecord]) -> SummaryRow:
    first = cells[0]
    figures = {
        name: mean_figure([getattr(c.scores, name) for c in cells], is_share=name in _SHARES)
        for name in Scores.model_fields
    }
    return SummaryRow(
        kind=first.kind,
        student=first.student,
        recipe=first.recipe,
        response=first.response,
        budget=first.budget,
        seeds=len(cells),
        seconds=round(sum(cell.seconds for cell in cells) / len(cells), 3),
        **figures,
    )


def mean_figure(figures: Sequence[Figure | None], *, is_share: bool) -> Figure | None:
    """The mean over seeds and its interval; None where a seed has no figure.

    Args:
        figures: one a seed.
        is_share: it lies between 0 and 1, and so does the interval.
    """
    present = [Score(**figure.model_dump()) for figure in figures if figure is not None]
    if not present or len(present) < len(figures):
        return None
    mean = mean_over_seeds(present)
    low, high = (max(mean.low, 0), min(mean.high, 1)) if is_share else (mean.low, mean.high)
    return Figure(value=mean.value, low=low, high=high, n=mean.n)
