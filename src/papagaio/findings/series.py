"""Copies that differ only in budget and seed: one line of a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from papagaio.findings.copies import Way, copies, copy_cells, way_of
from papagaio.result import CellRecord, Result, SummaryRow

__all__ = ["Series", "series"]


@dataclass(frozen=True)
class Series:
    """One student, recipe and response.

    Attributes:
        label: distinguishes it from the other series.
        rows: by budget, smallest first.
        longest: its first training with the largest budget; None where it has none yet.
    """

    label: str
    rows: tuple[SummaryRow, ...]
    longest: CellRecord | None


def series(result: Result) -> list[Series]:
    """Every series of copies, in the order of the summary."""
    rows = copies(result)
    cells = copy_cells(result)
    keys = list(dict.fromkeys(way_of(row) for row in rows))
    largest = max((cell.budget for cell in cells), default=0)
    return [
        Series(
            label,
            tuple(sorted((r for r in rows if way_of(r) == key), key=lambda row: row.budget)),
            next((c for c in cells if way_of(c) == key and c.budget == largest), None),
        )
        for key, label in zip(keys, _labels(keys), strict=True)
    ]


def _labels(keys: Sequence[Way]) -> list[str]:
    """The response, and as few other parts as distinguish the series."""
    choices = [(0, *parts) for size in (0, 1, 2) for parts in combinations((1, 2), size)]
    tries = ([", ".join(key[i] for i in parts) for key in keys] for parts in choices)
    whole = [", ".join(key) for key in keys]
    return next((labels for labels in tries if len(set(labels)) == len(keys)), whole)
