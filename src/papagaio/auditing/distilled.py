"""Distilled students: one for each ensemble, trained after its copies, as jobs.

A student learns from finished cells, so these jobs are a second stage. Like a cell, each reads
files only, resumes, and leaves a folder.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from papagaio import files
from papagaio.auditing.finishing import Trained, finish_cell, finished_in
from papagaio.auditing.frozen import Cell, CellContext, answers_of
from papagaio.auditing.plan import Training
from papagaio.auditing.unanswered import Unanswered
from papagaio.jobs import Job
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student
from papagaio.progress import Progress, no_progress
from papagaio.responses import centred_log, complete
from papagaio.result import CellRecord
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.distilling import distil, distilling_recipe
from papagaio.training.pacing import paced
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import DISTILLED
from papagaio.weights import load_weights

__all__ = ["DistilledCell", "distilled_job", "run_distilled"]


@dataclass(frozen=True)
class DistilledCell:
    """The finished copies that teach a student, and what it is shown besides their images.

    Attributes:
        copies: cells that differ only in their seed.
        unanswered: the images without a stored answer.
    """

    copies: tuple[Cell, ...]
    unanswered: Unanswered

    @property
    def training(self) -> Training:
        """As that of the first copy, whose seed it has too."""
        return replace(self.copies[0].training, kind=DISTILLED)

    def decisive(self, context: CellContext) -> dict[str, Any]:
        """What decides the result; whatever decides the copies is in their names."""
        return {
            "copies": [context.id_of(copy) for copy in self.copies],
            "unanswered": self.unanswered.digest(self.training.budget),
        }


def distilled_job(context: CellContext, cell: DistilledCell) -> Job[CellRecord]:
    """A distilled student as a job; its cost is comparable with that of others of its kind."""
    name, budget = context.id_of(cell), cell.training.budget
    return Job(
        id=name,
        cost=cell.training.attack.recipe.epochs_for(budget) * budget * (1 + len(cell.copies)),
        run=partial(run_distilled, context, cell),
        finished=partial(finished_in, context.folder / name),
    )


def run_distilled(
    context: CellContext, cell: DistilledCell, progress: Progress = no_progress
) -> CellRecord:
    """Train and score one student, resuming an earlier attempt that was interrupted.

    Raises:
        Diverged: the loss stopped being finite.
    """
    started = time.monotonic()
    name = context.id_of(cell)
    trained = _train(context, cell, context.folder / name, progress)
    return finish_cell(context, name, cell.training, trained, started, progress)


def _train(context: CellContext, cell: DistilledCell, folder: Path, progress: Progress) -> Trained:
    training = cell.training
    answered, answers = answers_of(cell.copies[0])
    others = np.load(cell.unanswered.file, mmap_mode="r")[cell.unanswered.first(training.budget) :]
    images = np.concatenate([answered, others])
    copies = [_copy(context, copy, answered, answers.scores.shape[1]) for copy in cell.copies]
    taught = _recipe_of(context, cell.copies[0])
    # Other answers bound logits and do not give them: of those, only the copies have learned.
    is_full = training.attack.response == "probabilities" and not answers.resolution
    stored = centred_log(complete(answers if is_full else answers[:0]))
    build = partial(
        build_student,
        training.student,
        training.initial,
        answered,
        answers.scores.shape[1],
        seed=training.seed,
    )
    learn = partial(distil, copies=copies, seed=training.seed, machine=context.machine)

    def train_on(some: int, short: Recipe, told: Progress) -> None:
        learn(build(), images=images[:some], stored=stored[:some], recipe=short, progress=told)

    recipe = distilling_recipe(taught, len(answered), len(others), images.shape[1:])
    recipe = paced(recipe, len(images), train_on, folder / "pace")
    files.write(folder / "recipe.json", json.dumps(asdict(recipe), indent=1))
    student = build()
    epochs = learn(
        student,
        images=images,
        stored=stored,
        recipe=recipe,
        checkpoints=Checkpoints(folder / "checkpoint", context.checkpoint_seconds),
        progress=progress,
    )
    asked = replace(recipe, most_epochs=0).epochs_for(len(images))
    return Trained(student, recipe, None, epochs, len(images), asked)


def _copy(context: CellContext, cell: Cell, images: NDArray[np.uint8], classes: int) -> Classifier:
    student = build_student(cell.training.student, "random", images[:1], classes, seed=0)
    path = context.folder / context.id_of(cell) / "student.safetensors"
    student.load_state_dict(load_weights(path))
    return student


def _recipe_of(context: CellContext, cell: Cell) -> Recipe:
    """A copy's recipe as it was trained, with what was chosen for it."""
    path = context.folder / context.id_of(cell) / "recipe.json"
    return TypeAdapter(Recipe).validate_json(path.read_bytes())
