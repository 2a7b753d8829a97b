"""Querying the black box as planned, and freezing in files what trainings read."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import ask
from papagaio.auditing.cells import ScoringSet, TrainingSet
from papagaio.auditing.check import check_test_answers
from papagaio.auditing.plan import Plan
from papagaio.blackboxes.contract import BlackBox
from papagaio.controls import AnswerSource, Purpose
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger
from papagaio.progress import Progress
from papagaio.vocabulary import Response

__all__ = ["ask_plan", "freeze_test_set", "freeze_training_sets"]

Scores = NDArray[np.float32]


def ask_plan(
    plan: Plan, box: BlackBox, ledger: Ledger, progress: Progress, *, unchecked: bool
) -> dict[Purpose, Scores]:
    """Query the black box about every image in a plan, the test set first.

    Args:
        plan: what to query.
        box: the black box.
        ledger: where answers are kept.
        progress: told after every request.
        unchecked: continue although the answers to the test set fail the check.

    Returns:
        float32 (N, K) for each purpose.

    Raises:
        BadAnswer: the black box raised, broke its contract, or failed the check.
        BadLedger, NoSpace: as for `asking.ask`; answers already paid for are kept.
    """
    answers: dict[Purpose, Scores] = {}
    for purpose in plan.queried:
        images = plan.images[purpose]
        answers[purpose] = ask(box, images, ledger, progress)
        if purpose == "test" and not unchecked:
            check_test_answers(box, answers[purpose], images.required_labels)
    return answers


def freeze_training_sets(
    plan: Plan, answers: Mapping[Purpose, Scores], shown: Response, folder: Path
) -> dict[tuple[Purpose, AnswerSource], TrainingSet]:
    """Write the plan's training sets, and return them by their images and answers.

    Args:
        plan: the plan whose training sets are written.
        answers: float32 (N, K) for each purpose asked about.
        shown: the response form of the answers.
        folder: where the files are written.

    Raises:
        NoSpace: the disk is full.
    """
    classes = answers["test"].shape[1]
    paths = {
        purpose: _freeze_images(folder, purpose, plan.images[purpose])
        for purpose in dict.fromkeys(training.images for training in plan.trainings)
    }
    sets = {}
    for purpose, source in dict.fromkeys((t.images, t.answers) for t in plan.trainings):
        images = plan.images[purpose]
        match source:
            case "queried":
                learned = answers[purpose]
            case "shuffled":
                learned = np.random.default_rng(0).permutation(answers[purpose])
            case "labels":
                learned = np.eye(classes, dtype=np.float32)[images.required_labels]
        form: Response = "label" if source == "labels" else shown
        file = folder / f"{purpose}-{source}-answers.npy"
        sets[purpose, source] = _freeze(images, paths[purpose], learned, file, form)
    return sets


def freeze_test_set(images: ImageSet, answers: Scores, shown: Response, folder: Path) -> ScoringSet:
    """Write the test set, the black box's answers to it and its labels.

    Raises:
        NoSpace: the disk is full.
    """
    path = _freeze_images(folder, "test", images)
    stored = _freeze(images, path, answers, folder / "test-queried-answers.npy", shown)
    labels = folder / "test-labels.npy"
    files.write_array(labels, images.required_labels)
    # Other labels are another test set, and what was scored on it is scored again.
    digest = hashlib.sha256(stored.digest.encode() + images.required_labels.tobytes()).hexdigest()
    return ScoringSet(replace(stored, digest=digest), labels)


def _freeze_images(folder: Path, purpose: Purpose, images: ImageSet) -> Path:
    path = folder / f"{purpose}-images.npy"
    files.write_array(path, images.pixels)
    return path


def _freeze(
    images: ImageSet, images_file: Path, answers: Scores, answers_file: Path, shown: Response
) -> TrainingSet:
    """Write the answers to images that have been written."""
    files.write_array(answers_file, answers)
    digest = hashlib.sha256(f"{images.digest} {shown}".encode() + answers.tobytes()).hexdigest()
    return TrainingSet(images_file, answers_file, shown, len(images), digest)
