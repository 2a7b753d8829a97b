"""The points of learning curves: finished copies, and their figures by budget."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio.auditing.finishing import load_copy
from papagaio.findings.copies import Way, copy_cells, way_of
from papagaio.learning_curve import Point
from papagaio.result import CellRecord, Result
from papagaio.scores import Figure, fidelity
from papagaio.training.inference import predict
from papagaio.training.machine import Machine

__all__ = ["groups_of", "held_out_fidelity", "points_of"]


def groups_of(result: Result) -> list[list[CellRecord]]:
    """The copies of each way of making them: the same student, recipe and response."""
    groups: dict[Way, list[CellRecord]] = {}
    for cell in copy_cells(result):
        groups.setdefault(way_of(cell), []).append(cell)
    return list(groups.values())


def points_of(
    cells: Sequence[CellRecord], figures: Mapping[str, Figure | None]
) -> tuple[Point, ...]:
    """The figures of these cells, by name, as points; the smallest budget first."""
    ordered = sorted(cells, key=lambda cell: cell.budget)
    found = [(cell.budget, figures.get(cell.id)) for cell in ordered]
    return tuple(Point(budget, figure) for budget, figure in found if figure is not None)


def held_out_fidelity(
    result: Result,
    out: Path,
    images: NDArray[np.uint8],
    answers: NDArray[np.float32],
    start: int,
) -> dict[str, Figure]:
    """Measure copies on the transfer images from one row on.

    Args:
        result: its copies, and the machine that they were trained on.
        out: the run directory with their weights.
        images: uint8 (N, H, W, C), the transfer images in the order of the audit.
        answers: float32 (N, K), the black box's answers to them.
        start: the first row that is measured.

    Returns:
        the fidelity by the name of the cell, of every copy that learned none of these images.
    """
    machine = Machine(*(result.settings[name] for name in ("device", "precision", "threads")))
    found = {}
    for cell in copy_cells(result):
        if cell.budget > start:
            continue
        folder = out / "cells" / cell.id
        student, recipe = load_copy(folder, cell.student, images, answers.shape[1])
        named = predict(student, images[start:], machine, recipe.augmentation)
        found[cell.id] = fidelity(named, answers[start:])
    return found
