"""What a training leaves: scores, and the files of its folder."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files, scores
from papagaio.auditing.frozen import CellContext, ScoringSet
from papagaio.auditing.plan import Training
from papagaio.networks.classifier import Classifier
from papagaio.progress import Progress
from papagaio.result import CellRecord, CurvePoint, Scores, SelectionRecord
from papagaio.scores import Figure
from papagaio.training.inference import infer, softmax
from papagaio.training.loop import Epoch
from papagaio.training.recipe import Recipe
from papagaio.weights import save_weights

__all__ = ["TEST_LOGITS", "Trained", "finish_cell", "finished_in", "measured"]

TEST_LOGITS = "test-logits.npy"

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


def finish_cell(
    context: CellContext,
    name: str,
    training: Training,
    trained: Trained,
    started: float,
    progress: Progress,
) -> CellRecord:
    """Score a trained student, and leave its files in the folder of that name.

    Args:
        context: the folder, and what it is scored on.
        name: the cell's id.
        training: what was trained.
        trained: what came of it.
        started: when it began, by the monotonic clock.
        progress: told how many test images are answered.
    """
    folder = context.folder / name
    logits = infer(
        trained.student,
        files.read_array(context.test.answered.images),
        context.machine,
        augmentation=trained.recipe.augmentation,
        progress=progress,
    )
    record = _record(name, training, trained, measured(context.test, softmax(logits)))
    record = record.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
    files.write(folder / "curve.csv", _curve_csv(trained.epochs))
    save_weights(folder / "student.safetensors", trained.student)
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
        seconds=0,
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


def finished_in(folder: Path) -> CellRecord | None:
    """The record of a training that has ended in this folder, or None."""
    path = folder / "scores.json"
    # Without its logits it was trained before ensembles were scored.
    if not path.exists() or not (folder / TEST_LOGITS).exists():
        return None
    return CellRecord.model_validate_json(path.read_bytes())


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
