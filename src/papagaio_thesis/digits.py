"""Digits from letters: do round letters teach round digits, and angular ones angular digits?

The conjecture of the thesis's Appendix C (claim C6), which the thesis does not measure.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.demo import digit_classifier
from papagaio.errors import Diverged
from papagaio.images.choosing import load
from papagaio.images.letters import LETTERS, draw_letters
from papagaio.images.named import open_source
from papagaio.jobs import Executor, Job, run_jobs
from papagaio.networks.named import build_student
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio.version import __version__
from papagaio_thesis.records import DigitRecord, DivergedRecord

__all__ = ["ANGULAR", "KINDS", "ROUND", "Copy", "run_copy", "study_digits"]

# Appendix C's own lists of digits and letters.
ROUND, ANGULAR = (5, 8, 0, 6), (1, 4, 7)
KINDS = {"round": "BCOS", "angular": "AVWL", "all": LETTERS}

_DRAWINGS_PER_LETTER = 250
_IMAGES = 500  # that a copy learns from
_SHAPE = (8, 8, 1)
_STUDENT = "small-cnn"


@dataclass(frozen=True)
class Copy:
    """One copy of the digit classifier.

    Attributes:
        letters: a key of `KINDS`.
        recipe: how it is trained.
        seed: the seed of drawings, weights and order.
        folder: where its queries and its record are kept.
    """

    letters: str
    recipe: Recipe
    seed: int
    folder: Path

    @property
    def queries(self) -> Path:
        """File of what it learns from and is measured on.

        Letters: `images`, uint8 (N, 8, 8, 1), and `answers`, float32 (N, 10). Test digits:
        `digits`, uint8 (M, 8, 8, 1), and `labels`, int64 (M,).
        """
        digest = _digest(KINDS[self.letters], _DRAWINGS_PER_LETTER, _IMAGES)
        return self.folder / f"queries-{self.letters}-{self.seed}_{digest}.npz"

    @property
    def id(self) -> str:
        """A readable name, which differs where anything differs that decides the result."""
        digest = _digest(self.recipe, self.queries.name, __version__)
        return f"{self.letters}-{self.recipe.name}-{self.seed}_{digest}"

    @property
    def path(self) -> Path:
        """File of its record."""
        return self.folder / f"{self.id}.json"


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:8]


def study_digits(
    seeds: int, folder: Path, executor: Executor, progress: Progress = no_progress
) -> Iterator[DigitRecord | DivergedRecord]:
    """Copy the demo's digit classifier from three kinds of letters, the same number of each kind.

    Args:
        seeds: copies of each kind and recipe. A seed decides which drawings are used and how the
            copy is trained.
        folder: where records are kept.
        executor: where copies are trained.
        progress: told after every copy.

    Yields:
        a record for each copy; those from an earlier run first.

    Raises:
        BadImages: the packages of the demo are not installed.
    """
    copies = [
        Copy(letters, recipe, seed, folder)
        for seed in range(seeds)
        for letters in KINDS
        for recipe in _recipes()
    ]
    _ask([copy for copy in copies if not copy.path.exists()], folder, progress)
    by_id = {copy.id: copy for copy in copies}
    jobs = [
        Job(
            id=copy.id,
            cost=copy.recipe.epochs_for(_IMAGES) * copy.recipe.steps_per_epoch(_IMAGES),
            run=partial(run_copy, copy),
            finished=partial(_finished, copy),
        )
        for copy in copies
    ]
    for job, outcome in run_jobs(jobs, executor, unit="copies of digits", progress=progress):
        if isinstance(outcome, Diverged):
            copy = by_id[job.id]
            yield DivergedRecord.of_copy(copy.letters, copy.recipe.name, copy.seed, str(outcome))
        else:
            yield outcome


def _ask(copies: Sequence[Copy], folder: Path, progress: Progress) -> None:
    """Write what copies learn from and are measured on, unless an earlier run did."""
    missing = {copy.queries: copy for copy in copies if not copy.queries.exists()}
    if not missing:
        return
    own = load(open_source("digits", part="train"), progress=progress)
    test = load(open_source("digits", part="test"), progress=progress)
    box = digit_classifier(own, folder / "black-box.safetensors", progress)
    drawings, letter = draw_letters(_DRAWINGS_PER_LETTER * len(LETTERS), 1, progress)
    digits, labels = test.pixels, test.required_labels
    for path, copy in missing.items():
        images = drawings[_chosen(letter, KINDS[copy.letters], copy.seed)]
        with files.writing(path) as file:
            answers = box.answer(images)
            np.savez(file, images=images, answers=answers, digits=digits, labels=labels)


def _recipes() -> Sequence[Recipe]:
    """By recovered logits, and by the thesis's recipe cut to 1,000 steps."""
    thesis = replace(recipe_named("thesis", _SHAPE), name="thesis-1000-steps", epochs=1)
    return recipe_named("recovered-logits", _SHAPE), replace(thesis, least_steps=1000)


def _chosen(letter: NDArray[np.int64], letters: str, seed: int) -> NDArray[np.int64]:
    """Rows of drawings of some letters; counts per letter differ by at most one."""
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(np.flatnonzero(letter == LETTERS.index(x))) for x in letters]
    # Letters in turn: wherever the list is cut, it has each letter equally often.
    in_turn = [rows[i] for i in range(_DRAWINGS_PER_LETTER) for rows in shuffled]
    return np.asarray(in_turn[:_IMAGES], np.int64)


def _finished(copy: Copy) -> DigitRecord | None:
    if not copy.path.exists():
        return None
    return DigitRecord.model_validate_json(copy.path.read_bytes())


def run_copy(copy: Copy, progress: Progress = no_progress) -> DigitRecord:
    """Train a copy, and measure it on each digit.

    Raises:
        Diverged: the loss stopped being finite.
        NoSpace: the disk is full.
    """
    with np.load(copy.queries) as queries:
        images, answers, digits, labels = map(
            queries.__getitem__, ("images", "answers", "digits", "labels")
        )
    machine, seed = Machine(), copy.seed
    student = build_student(_STUDENT, "random", images, 10, seed=seed)
    shown = Answers.of(answers)
    train(student, images, shown, copy.recipe, seed=seed, machine=machine, progress=progress)
    hits = predict(student, digits, machine, copy.recipe.augmentation).argmax(1) == labels
    record = DigitRecord(
        letters=copy.letters,
        recipe=copy.recipe.name,
        images=len(images),
        seed=seed,
        accuracy=float(hits.mean()),
        per_digit=[float(hits[labels == digit].mean()) for digit in range(10)],
    )
    files.write(copy.path, record.model_dump_json())
    return record
