"""Cells: the trainings of a plan with their data, as jobs; each leaves a folder.

All querying is over before the first cell runs: a cell reads files of images and answers, and
writes weights and scores. It never opens the ledger.
"""

import csv
import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files, scores
from papagaio.auditing.plan import Training
from papagaio.jobs import Job
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers, derive
from papagaio.result import CandidateRecord, CellRecord, CurvePoint, Scores, SelectionRecord
from papagaio.scores import Figure
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.inference import infer, softmax
from papagaio.training.loop import Epoch, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.selection import Selection, select_recipe
from papagaio.version import __version__
from papagaio.vocabulary import Response
from papagaio.weights import save_weights

__all__ = ["TEST_LOGITS", "Cell", "CellContext", "ScoringSet", "TrainingSet", "cell_job"]
__all__ += ["Trained", "answers_of", "finish_cell", "finished_in", "measured", "run_cell"]

TEST_LOGITS = "test-logits.npy"

_CURVE_POINTS = 100
# A copy that names the class of fewer of its own training answers has not learned them yet.
_LEARNED = 0.6


@dataclass(frozen=True)
class TrainingSet:
    """Images and the answers to them, as two frozen arrays that smaller budgets share.

    Attributes:
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), as the black box gave them; one-hot rows for true labels.
        shown: the response form of the answers.
        digest: the digest of what a training learns, the first images and answers.
        resolution: the step of the answers' scores, or 0 if they have none.
    """

    images: files.Frozen
    answers: files.Frozen
    shown: Response
    digest: str
    resolution: float = 0.0


@dataclass(frozen=True)
class ScoringSet:
    """The test set: images with the black box's answers, and frozen labels, int64 (N,).

    The digest of `answered` covers the labels.
    """

    answered: TrainingSet
    labels: files.Frozen


@dataclass(frozen=True)
class Cell:
    """A training and its data. `initial_digest` is that of a file of initial weights, or None."""

    training: Training
    data: TrainingSet
    initial_digest: str | None = None


@dataclass(frozen=True)
class CellContext:
    """What the cells of an audit share.

    Attributes:
        folder: each cell gets a subfolder here.
        test: what copies are scored on.
        machine: where they are trained.
        checkpoint_seconds: minimum seconds between two checkpoints of a training.
    """

    folder: Path
    test: ScoringSet
    machine: Machine
    checkpoint_seconds: float

    def id_of(self, cell: Cell) -> str:
        """A readable name, which differs where anything differs that decides the result."""
        training = cell.training
        decisive = asdict(training) | {
            "data": cell.data.digest,
            "initial_digest": cell.initial_digest,
            "test": self.test.answered.digest,
            "machine": asdict(self.machine),
            "papagaio": __version__,
        }
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        kind, attack = training.kind.replace(":", "-"), training.attack
        words = (kind, attack.recipe.name, attack.response, training.budget, training.seed)
        return "_".join(map(str, (*words, digest[:8])))


def cell_job(context: CellContext, cell: Cell) -> Job[CellRecord]:
    """A cell as a job: its cost is the number of images that its training shows."""
    recipe, budget = cell.training.attack.recipe, cell.training.budget
    cost = recipe.epochs_for(budget) * recipe.steps_per_epoch(budget) * recipe.batch
    return Job(
        id=context.id_of(cell),
        cost=cost,
        run=partial(run_cell, context, cell),
        finished=partial(finished_in, context.folder / context.id_of(cell)),
    )


def run_cell(context: CellContext, cell: Cell, progress: Progress = no_progress) -> CellRecord:
    """Train one student and score it, resuming an earlier attempt that was interrupted.

    Leaves in the cell's folder `recipe.json`, `curve.csv`, `student.safetensors`,
    `test-logits.npy` and, last of all, `scores.json`.

    Raises:
        Diverged: the loss stopped being finite.
    """
    started = time.monotonic()
    name = context.id_of(cell)
    trained = _train(context, cell, context.folder / name, progress)
    return finish_cell(context, name, cell.training, trained, started, progress)


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


def answers_of(cell: Cell) -> tuple[NDArray[np.uint8], Answers]:
    """What a cell learns from: images, uint8 (N, H, W, C), and what is shown of the answers."""
    training, data = cell.training, cell.data
    images = files.read_array(data.images)[: training.budget]
    full = np.asarray(files.read_array(data.answers)[: training.budget])
    return images, derive(full, data.shown, training.attack.response, data.resolution)


def _train(context: CellContext, cell: Cell, folder: Path, progress: Progress) -> Trained:
    training = cell.training
    images, answers = answers_of(cell)
    classes = answers.scores.shape[1]
    build = partial(
        build_student, training.student, training.initial, images, classes, seed=training.seed
    )
    recipe = training.attack.recipe
    selection = select_recipe(
        build,
        images,
        answers,
        recipe,
        seed=training.seed,
        machine=context.machine,
        kept=folder / "choice",
        progress=progress,
    )
    recipe = selection.recipe if selection else replace(recipe, rounds=())
    files.write(folder / "recipe.json", json.dumps(asdict(recipe), indent=1))
    student = build()
    epochs = train(
        student,
        images,
        answers,
        recipe,
        seed=training.seed,
        machine=context.machine,
        checkpoints=Checkpoints(folder / "checkpoint", context.checkpoint_seconds),
        progress=progress,
    )
    record = _selection_record(selection, training.attack.recipe) if selection else None
    # In case its epochs were cut.
    asked = replace(recipe, epochs_given=0).epochs_for(training.budget)
    return Trained(student, recipe, record, epochs, len(images), asked)


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


def _selection_record(selection: Selection, given: Recipe) -> SelectionRecord:
    return SelectionRecord(
        chosen=list(selection.recipe.augmentation),
        changes=dict(selection.changes),
        held_out=len(selection.candidates[0].hits),
        share=round(selection.share, 3),
        candidates=[
            CandidateRecord(
                augmentation=list(replace(given, **candidate.changes).augmentation),
                changes=dict(candidate.changes),
                fidelity=scores.rate(candidate.hits),
                loss=float(candidate.losses.mean()),
                epochs=selection.epochs,
                seconds=round(candidate.seconds, 3),
            )
            for candidate in selection.candidates
        ],
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
