"""Trainings as jobs, and what each leaves: scores, and the files of its folder."""

import csv
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from papagaio import files, scores
from papagaio.auditing.frozen import CellContext, ScoringSet, Trainable
from papagaio.auditing.plan import Training
from papagaio.jobs import Job
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student
from papagaio.progress import Progress
from papagaio.result import CellRecord, CurvePoint, Scores, SelectionRecord
from papagaio.scores import Figure
from papagaio.training.inference import infer, softmax
from papagaio.training.loop import Epoch
from papagaio.training.recipe import Recipe
from papagaio.weights import load_weights, save_weights

__all__ = ["TEST_LOGITS", "Trained", "job_of", "load_copy", "measured"]

TEST_LOGITS = "test-logits.npy"
_WEIGHTS, _RECIPE = "student.safetensors", "recipe.json"

_CURVE_POINTS = 100
# A copy that names the class of fewer of its own training answers has not learned them yet.
_LEARNED = 0.6


@dataclass(frozen=True)
class Trained:
    """What a training leaves in memory.

    Attributes:
        student: the trained network.
        recipe: as trained, with what was chosen for it.
        selection: how it was chosen, or None.
        epochs: its curve.
        images: how many images an epoch showed.
        asked: the epochs that its recipe asks for.
    """

    student: Classifier
    recipe: Recipe
    selection: SelectionRecord | None
    epochs: list[Epoch]
    images: int
    asked: int


C = TypeVar("C", bound=Trainable)

# Trains a cell's student, whose folder this is, or resumes an attempt that was interrupted.
Train = Callable[[CellContext, C, Path, Progress], Trained]


def job_of(context: CellContext, cell: C, cost: float, train: Train[C]) -> Job[CellRecord]:
    """A training as a job, which resumes an earlier attempt that was interrupted.

    It leaves in the cell's folder `recipe.json`, `curve.csv`, `student.safetensors`,
    `test-logits.npy` and, last of all, `scores.json`; it raises Diverged where the loss stops being
    finite.

    Args:
        context: the folder of all cells, and what students are scored on.
        cell: what is trained.
        cost: how long it takes, in a unit of its kind.
        train: trains its student; a function of a module, because the job must pickle.
    """
    name = context.id_of(cell)
    return Job(
        id=name,
        cost=cost,
        run=partial(_run, context, cell, train),
        finished=partial(_finished_in, context.folder / name),
    )


def _run(context: CellContext, cell: C, train: Train[C], progress: Progress) -> CellRecord:
    started = time.monotonic()
    name = context.id_of(cell)
    folder = context.folder / name
    trained = train(context, cell, folder, progress)
    logits = infer(
        trained.student,
        files.read_array(context.test.answered.images),
        context.machine,
        augmentation=trained.recipe.augmentation,
        progress=progress,
    )
    figures = measured(context.test, softmax(logits))
    seconds = round(time.monotonic() - started, 3)
    record = _record(name, cell.training, trained, figures, seconds)
    files.write(folder / "curve.csv", _curve_csv(trained.epochs))
    files.write(folder / _RECIPE, json.dumps(asdict(trained.recipe), indent=1))
    save_weights(folder / _WEIGHTS, trained.student)
    # For what follows all trainings: copies that answer together, runs that are compared.
    files.write_array(folder / TEST_LOGITS, logits)
    # Last of all: a cell with scores is finished.
    files.write(folder / "scores.json", record.model_dump_json(indent=1))
    (folder / "checkpoint").unlink(missing_ok=True)
    files.sweep(folder)
    return record


def measured(
    test: ScoringSet, probabilities: NDArray[np.float32]
) -> tuple[Scores, list[Figure | None]]:
    """Score a copy on the test set; return its scores, and its accuracy on each true class.

    Args:
        test: what it is scored on.
        probabilities: float32 (N, K), the copy's.
    """
    labels, answered = np.asarray(files.read_array(test.labels)), test.answered
    box = np.asarray(files.read_array(answered.answers))
    each = scores.score_student(probabilities, box, labels)
    if answered.shown != "probabilities" or answered.resolution:
        del each["kl"]  # only to a full distribution is it a divergence
    return Scores(**each), scores.accuracy_per_class(probabilities, labels)


def _record(
    name: str,
    training: Training,
    trained: Trained,
    figures: tuple[Scores, list[Figure | None]],
    seconds: float,
) -> CellRecord:
    recipe, epochs = trained.recipe, len(trained.epochs)
    return CellRecord(
        id=name,
        kind=training.kind,
        student=training.student,
        initial=training.initial,
        recipe=recipe.name,
        augmentation=list(recipe.augmentation),
        selection=trained.selection,
        undertrained=epochs < trained.asked or _has_not_learned(trained.epochs),
        response=training.attack.response,
        budget=training.budget,
        seed=training.seed,
        seconds=seconds,
        epochs=epochs,
        recipe_epochs=trained.asked,
        steps=epochs * recipe.steps_per_epoch(trained.images),
        parameters=sum(p.numel() for p in trained.student.parameters()),
        scores=figures[0],
        per_class=figures[1],
        curve=_thinned(trained.epochs),
    )


def _has_not_learned(epochs: Sequence[Epoch]) -> bool:
    return epochs[-1].distillation_accuracy < _LEARNED


def _finished_in(folder: Path) -> CellRecord | None:
    """The record of a training that has ended in this folder, or None."""
    path = folder / "scores.json"
    # Without its logits it was trained before ensembles were scored.
    if not path.exists() or not (folder / TEST_LOGITS).exists():
        return None
    return CellRecord.model_validate_json(path.read_bytes())


def load_copy(
    folder: Path, student: str, images: NDArray[np.uint8], classes: int
) -> tuple[Classifier, Recipe]:
    """Load a copy from the folder of its training, with its recipe as it was trained.

    Args:
        folder: the cell's.
        student: the network's name.
        images: uint8 (N, H, W, C) of the shape that it takes, one at least.
        classes: how many it knows.
    """
    network = build_student(student, "random", images[:1], classes, seed=0)
    network.load_state_dict(load_weights(folder / _WEIGHTS))
    return network, TypeAdapter(Recipe).validate_json((folder / _RECIPE).read_bytes())


def _curve_csv(epochs: Sequence[Epoch]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("epoch", "loss", "distillation_accuracy"))
    writer.writerows((e.number, repr(e.loss), repr(e.distillation_accuracy)) for e in epochs)
    return text.getvalue()


def _thinned(epochs: Sequence[Epoch]) -> list[CurvePoint]:
    rows = np.unique(np.linspace(0, len(epochs) - 1, _CURVE_POINTS).round().astype(int))
    return [
        CurvePoint(
            epoch=epochs[row].number,
            loss=epochs[row].loss,
            distillation_accuracy=epochs[row].distillation_accuracy,
        )
        for row in rows
    ]
