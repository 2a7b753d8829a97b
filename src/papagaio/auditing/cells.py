"""Cells: the trainings of a plan with their data, as jobs; each leaves a folder.

All querying is over before the first cell runs: a cell reads files of images and answers, and
writes weights and scores. It never opens the ledger.
"""

import json
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from papagaio import files, scores
from papagaio.auditing.finishing import Trained, finish_cell, finished_in
from papagaio.auditing.frozen import Cell, CellContext, answers_of
from papagaio.jobs import Job
from papagaio.networks.named import build_student
from papagaio.progress import Progress, no_progress
from papagaio.result import CandidateRecord, CellRecord, SelectionRecord
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.loop import train
from papagaio.training.pacing import paced
from papagaio.training.recipe import Recipe
from papagaio.training.selection import Selection, select_recipe

__all__ = ["cell_job", "run_cell"]


def cell_job(context: CellContext, cell: Cell) -> Job[CellRecord]:
    """A cell as a job: its cost is the number of images that its training shows."""
    budget = cell.training.budget
    recipe = cell.training.attack.recipe.settled(budget)
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


def _train(context: CellContext, cell: Cell, folder: Path, progress: Progress) -> Trained:
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
    files.write(folder / "recipe.json", json.dumps(asdict(recipe), indent=1))
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
