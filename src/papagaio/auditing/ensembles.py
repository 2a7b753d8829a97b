"""Ensembles: copies that differ only in their seed answer together, without another training.

A copier who trains several copies has this too: it is the strongest answer that the same stored
answers allow. Several networks are no single copy, so their figures stand beside those of copies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from papagaio.auditing.finishing import TEST_LOGITS, measured
from papagaio.auditing.frozen import Cell, CellContext
from papagaio.result import EnsembleRecord
from papagaio.training.inference import softmax

__all__ = ["ensemble_record", "ensembles_of"]


def ensembles_of(cells: Iterable[Cell]) -> list[tuple[Cell, ...]]:
    """Group copies that differ only in their seed; those without another seed are left out."""
    groups: list[list[Cell]] = []
    for cell in cells:
        if cell.training.kind != "copy":
            continue
        alike = (group for group in groups if _but_its_seed(group[0]) == _but_its_seed(cell))
        group = next(alike, None)
        if group is None:
            groups.append([cell])
        else:
            group.append(cell)
    return [tuple(group) for group in groups if len(group) > 1]


def _but_its_seed(cell: Cell) -> Cell:
    return replace(cell, training=replace(cell.training, seed=0))


def ensemble_record(context: CellContext, copies: Sequence[Cell]) -> EnsembleRecord:
    """Score the mean of the centred logits of finished copies.

    The mean over classes says nothing about an image, so it is taken away from each copy's logits
    before they are averaged.

    Args:
        context: where the copies are, and what they were scored on.
        copies: cells that differ only in their seed; their folders hold their logits.
    """
    folders = [context.folder / context.id_of(cell) for cell in copies]
    logits = np.mean([_centred(np.load(folder / TEST_LOGITS)) for folder in folders], 0)
    figures, per_class = measured(context.test, softmax(np.asarray(logits, np.float32)))
    training = copies[0].training
    return EnsembleRecord(
        student=training.student,
        recipe=training.attack.recipe.name,
        response=training.attack.response,
        budget=training.budget,
        seeds=[cell.training.seed for cell in copies],
        scores=figures,
        per_class=per_class,
    )


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(logits - logits.mean(1, keepdims=True), np.float32)
