"""Distilled students: one for each ensemble, trained after its copies, as jobs.

A student learns from finished cells, so these jobs are a second stage. Like a cell, each reads
files only, resumes, and leaves a folder.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from papagaio.auditing.finishing import Trained, job_of, load_copy
from papagaio.auditing.frozen import Cell, CellContext, answers_of
from papagaio.auditing.plan import Training
from papagaio.auditing.unanswered import Unanswered
from papagaio.jobs import Job
from papagaio.networks.named import build_student
from papagaio.progress import Progress
from papagaio.responses import centred_log, complete
from papagaio.result import CellRecord
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.distilling import distil, distilling_recipe
from papagaio.training.pacing import paced
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import DISTILLED

__all__ = ["DistilledCell", "distilled_job", "train_distilled"]


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
    budget = cell.training.budget
    cost = cell.training.attack.recipe.epochs_for(budget) * budget * (1 + len(cell.copies))
    return job_of(context, cell, cost, train_distilled)


def train_distilled(
    context: CellContext, cell: DistilledCell, folder: Path, progress: Progress
) -> Trained:
    """Train one student on what its copies answer together.

    Raises:
        Diverged: the loss stopped being finite.
    """
    training = cell.training
    answered, answers = answers_of(cell.copies[0])
    others = np.load(cell.unanswered.file, mmap_mode="r")[cell.unanswered.first(training.budget) :]
    images = np.concatenate([answered, others])
    loaded = [
        load_copy(
            context.folder / context.id_of(copy),
            copy.training.student,
            answered,
            answers.scores.shape[1],
        )
        for copy in cell.copies
    ]
    copies, (taught, *_) = zip(*loaded, strict=True)
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
