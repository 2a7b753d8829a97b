"""Cells -> summary rows: cells that differ only in their seed become one row."""

from collections.abc import Sequence
from dataclasses import replace

from papagaio.result import CellRecord, Scores, SummaryRow
from papagaio.scores import Figure, mean_over_seeds

__all__ = ["mean_share", "summarise"]

# Figures between 0 and 1. An interval over seeds may exceed that.
_SHARES = {"accuracy", "fidelity", "fidelity_where_wrong", "calibration_error"}


def summarise(cells: Sequence[CellRecord]) -> list[SummaryRow]:
    """One row per kind, student, recipe, response and budget, in the order of the first cells."""
    groups: dict[tuple[str, ...], list[CellRecord]] = {}
    for cell in cells:
        key = (cell.kind, cell.student, cell.recipe, cell.response, str(cell.budget))
        groups.setdefault(key, []).append(cell)
    return [_row(group) for group in groups.values()]


def _row(cells: Sequence[CellRecord]) -> SummaryRow:
    first = cells[0]
    means = {
        name: (mean_share if name in _SHARES else _mean_figure)(
            [getattr(cell.scores, name) for cell in cells]
        )
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
        **means,
    )


def mean_share(figures: Sequence[Figure | None]) -> Figure | None:
    """The mean of a share over seeds; None where one has none. Its interval is cut at 0 and 1."""
    mean = _mean_figure(figures)
    return mean and replace(mean, low=max(mean.low, 0), high=min(mean.high, 1))


def _mean_figure(figures: Sequence[Figure | None]) -> Figure | None:
    present = [figure for figure in figures if figure is not None]
    if not present or len(present) < len(figures):
        return None
    return mean_over_seeds(present)
