"""Cells: the trainings of a plan with their data, as jobs; each leaves a folder.

All querying is over before the first cell runs: a cell reads files of images and answers, and
writes weights and scores. It never opens the ledger.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from papagaio import scores
from papagaio.auditing.finishing import Trained, job_of
from papagaio.auditing.frozen import Cell, CellContext, answers_of
from papagaio.jobs import Job
from papagaio.networks.named import build_student
from papagaio.progress import Progress
from papagaio.result import CandidateRecord, CellRecord, SelectionRecord
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.loop import train
from papagaio.training.pacing import paced
from papagaio.training.recipe import Recipe
from papagaio.training.selection import Selection, select_recipe

__all__ = ["cell_job", "train_copy"]


def cell_job(context: CellContext, cell: Cell) -> Job[CellRecord]:
    """A cell as a job: its cost is the number of images that its training shows."""
    budget = cell.training.budget
    recipe = cell.training.attack.recipe.settled(budget)
    cost = recipe.epochs_for(budget) * recipe.steps_per_epoch(budget) * recipe.batch
    return job_of(context, cell, cost, train_copy)


def train_copy(context: CellContext, cell: Cell, folder: Path, progress: Progress) -> Trained:
    """Choose a recipe, and train a student by it.

    Raises:
        Diverged: the loss stopped being finite.
    """
    training = cell.training
    images, answers = answers_of(cell)
    classes = answers.scores.shape[1]
    build = partial(
        build_student, training.student, training.initial, images, classes, seed=training.seed
    )

    learn = partial(train, seed=training.seed, machine=context.machine)

    def train_on(some: int, short: Recipe, told: Progress) -> None:
        learn(build(), images[:some], answers[:some], short, progress=told)

    recipe = training.attack.recipe.settled(len(images))
    recipe = paced(recipe, len(images), train_on, folder / "pace")
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
    student = build()
    epochs = learn(
        student,
        images,
        answers,
        recipe,
        checkpoints=Checkpoints(folder / "checkpoint", context.checkpoint_seconds),
        progress=progress,
    )
    steps = len(epochs) * recipe.steps_per_epoch(len(images))
    record = _selection_record(selection, training.attack.recipe, steps) if selection else None
    # In case its epochs were cut.
    asked = replace(recipe, epochs_given=0, most_epochs=0).epochs_for(training.budget)
    return Trained(student, recipe, record, epochs, len(images), asked)


def _selection_record(selection: Selection, given: Recipe, steps: int) -> SelectionRecord:
    return SelectionRecord(
        chosen=list(selection.recipe.augmentation),
        changes=dict(selection.changes),
        held_out=len(selection.candidates[0].hits),
        share=round(selection.steps / steps, 3),
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
