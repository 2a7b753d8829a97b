"""Cells: which are missing, run them, here or in worker processes, with the same result.

Asking comes wholly before this: a cell is given files of images and answers, and gives back weights
and scores. It never opens the ledger.
"""

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from papagaio import files, scores
from papagaio.networks.named import build_student
from papagaio.progress import Progress, Step, no_progress
from papagaio.responses import Response, derive
from papagaio.result import CellRecord, CurvePoint, Figure, Kind, Scores
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.inference import predict
from papagaio.training.loop import Epoch, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.version import __version__
from papagaio.weights import save_weights
from papagaio.workers import side_by_side

__all__ = ["Cell", "Material", "Study", "run_cell", "run_cells"]

_CURVE_POINTS = 100


@dataclass(frozen=True)
class Material:
    """Images and what is known of each, as two `.npy` files.

    Attributes:
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), as the black box gave them; of true labels, one-hot rows.
        shown: the response form of the answers.
        size: how many images there are.
        digest: of both files' contents; another digest is another cell.
    """

    images: Path
    answers: Path
    shown: Response
    size: int
    digest: str


@dataclass(frozen=True)
class Cell:
    """One training. It learns from the first `budget` images of its material.

    `initial` names the initial weights, and `start` is their digest where they are a file's.
    """

    kind: Kind
    student: str
    initial: str
    start: str
    recipe: Recipe
    response: Response
    budget: int
    seed: int
    material: Material


@dataclass(frozen=True)
class Study:
    """What the cells of a study share.

    Attributes:
        folder: a folder a cell is made in it.
        test: the test set's images and the black box's answers to them.
        labels: the test set's true classes, an `.npy` file of int64 (N,).
        machine: where trainings run.
        checkpoint_seconds: the least time between two checkpoints of a training.
    """

    folder: Path
    test: Material
    labels: Path
    machine: Machine
    checkpoint_seconds: float

    def id_of(self, cell: Cell) -> str:
        """A cell's name: readable, and another where anything that decides its result differs."""
        what = asdict(cell) | {
            "material": cell.material.digest,
            "test": self.test.digest,
            "machine": asdict(self.machine),
            "papagaio": __version__,
        }
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        kind = cell.kind.replace(":", "-")
        return f"{kind}_{cell.recipe.name}_{cell.response}_{cell.budget}_{cell.seed}_{digest[:8]}"


def run_cells(
    study: Study, cells: Sequence[Cell], *, workers: int, progress: Progress = no_progress
) -> Iterator[CellRecord]:
    """Run the cells that have no result yet, and yield all records, in the order they are ready.

    Args:
        study: what they share.
        cells: the cells.
        workers: how many run side by side, each in a process of its own; 1 runs them here.
        progress: told after every epoch (here) and every cell.
    """
    missing = []
    for cell in cells:
        record = _finished(study, cell)
        if record is None:
            missing.append(cell)
        else:
            yield record
    done = len(cells) - len(missing)
    progress(Step("training", done, len(cells), "cells"))
    longest_first = sorted(missing, key=_cost, reverse=True) if workers > 1 else missing
    jobs = [partial(run_cell, study, cell) for cell in longest_first]
    for record in side_by_side(jobs, workers, progress):
        done += 1
        progress(Step("training", done, len(cells), "cells", _note(record)))
        yield record


def _note(record: CellRecord) -> str:
    fidelity = record.scores.fidelity
    what = record.id.rpartition("_")[0]
    return f"{what}: fidelity {fidelity.value:.3f}" if fidelity else what


def run_cell(study: Study, cell: Cell, progress: Progress = no_progress) -> CellRecord:
    """Train one student and score it; taken up again where an earlier attempt was stopped.

    Leaves in the cell's folder `recipe.json`, `curve.csv`, `student.safetensors` and, last of all,
    `scores.json`.

    Raises:
        Diverged: the loss stopped being finite.
    """
    start = time.monotonic()
    folder = study.folder / study.id_of(cell)
    files.write(folder / "recipe.json", json.dumps(asdict(cell.recipe), indent=1))
    images = np.load(cell.material.images, mmap_mode="r")[: cell.budget]
    full = np.load(cell.material.answers, mmap_mode="r")[: cell.budget]
    answers = derive(np.asarray(full), cell.material.shown, cell.response)
    student = build_student(
        cell.student, cell.initial, images, answers.scores.shape[1], seed=cell.seed
    )
    checkpoint = folder / "checkpoint"
    epochs = train(
        student,
        images,
        answers,
        cell.recipe,
        seed=cell.seed,
        machine=study.machine,
        checkpoints=Checkpoints(checkpoint, study.checkpoint_seconds),
        progress=progress,
    )
    record = _record(study, cell, student, epochs, start)
    files.write(folder / "curve.csv", _curve_csv(epochs))
    save_weights(folder / "student.safetensors", student)
    files.write(folder / "scores.json", record.model_dump_json(indent=1))
    checkpoint.unlink(missing_ok=True)
    files.sweep(folder)
    return record


def _record(
    study: Study, cell: Cell, student: nn.Module, epochs: Sequence[Epoch], start: float
) -> CellRecord:
    """Score a trained student on the test set."""
    images = np.load(study.test.images, mmap_mode="r")
    probabilities = predict(student, images, study.machine, cell.recipe.augmentation)
    labels = np.load(study.labels)
    measured = scores.score_student(probabilities, np.load(study.test.answers), labels)
    classes = scores.accuracy_per_class(probabilities, labels)
    return CellRecord(
        id=study.id_of(cell),
        kind=cell.kind,
        student=cell.student,
        initial=cell.initial,
        recipe=cell.recipe.name,
        response=cell.response,
        budget=cell.budget,
        seed=cell.seed,
        seconds=round(time.monotonic() - start, 3),
        epochs=len(epochs),
        steps=len(epochs) * cell.recipe.steps_per_epoch(min(cell.budget, cell.material.size)),
        parameters=sum(p.numel() for p in student.parameters()),
        scores=Scores(**{name: Figure.of(score) for name, score in measured.items()}),
        per_class=[score and Figure.of(score) for score in classes],
        curve=_thinned(epochs),
    )


def _finished(study: Study, cell: Cell) -> CellRecord | None:
    path = study.folder / study.id_of(cell) / "scores.json"
    return CellRecord.model_validate_json(path.read_bytes()) if path.exists() else None


def _cost(cell: Cell) -> int:
    recipe = cell.recipe
    return recipe.epochs_for(cell.budget) * recipe.steps_per_epoch(cell.budget) * recipe.batch


def _curve_csv(epochs: Sequence[Epoch]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("epoch", "loss", "agreement"))
    writer.writerows((e.number, repr(e.loss), repr(e.distillation_accuracy)) for e in epochs)
    return text.getvalue()


def _thinned(epochs: Sequence[Epoch]) -> list[CurvePoint]:
    at = np.unique(np.linspace(0, len(epochs) - 1, _CURVE_POINTS).round().astype(int))
    return [
        CurvePoint(
            epoch=epochs[i].number, loss=epochs[i].loss, agreement=epochs[i].distillation_accuracy
        )
        for i in at
    ]
