"""Querying the black box as planned, and freezing in files what trainings read."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import answered_before, ask, question_for
from papagaio.auditing.check import check_learnable, check_response, check_test_answers
from papagaio.auditing.frozen import ScoringSet, TrainingSet
from papagaio.auditing.plan import Plan
from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.blackboxes.forms import check_form
from papagaio.canaries import canaries_of, tolerated
from papagaio.controls import AnswerSource, Purpose
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger
from papagaio.progress import Progress

__all__ = ["ask_plan", "freeze_test_set", "freeze_training_sets", "frozen_transfer_set"]

Scores = NDArray[np.float32]


def ask_plan(
    plan: Plan, box: BlackBox, ledger: Ledger, progress: Progress, *, unchecked: bool
) -> dict[Purpose, Scores]:
    """Query the black box about every image in a plan, the test set first.

    Test images are the canaries among all others, and those that were answered before, among the
    rest of the test set.

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
    test = plan.images["test"]
    form = box.contract.response, box.contract.resolution
    tolerance = math.inf if unchecked else tolerated(*form)
    known = test.take(answered_before(box, test.digests, ledger))
    canaries = None
    if len(known):
        earlier = ledger.read(question_for(box), known.digests)
        canaries = canaries_of(known.pixels, earlier, tolerance)
    answers: dict[Purpose, Scores] = {"test": ask(box, test, ledger, progress, canaries=canaries)}
    check_form(box.name, answers["test"], *form)
    if not unchecked:
        check_test_answers(box, answers["test"], test.required_labels)
        check_response(box, answers["test"])
    canaries = canaries_of(test.pixels, answers["test"], tolerance)
    for purpose in plan.queried[1:]:
        answers[purpose] = ask(box, plan.images[purpose], ledger, progress, canaries=canaries)
        # The ledger may hold answers to papagaio check, which takes any form.
        check_form(box.name, answers[purpose], *form)
        if purpose == "transfer" and not unchecked:
            check_learnable(box, answers[purpose])
    return answers


def freeze_training_sets(
    plan: Plan, answers: Mapping[Purpose, Scores], contract: Contract, folder: Path
) -> list[TrainingSet]:
    """Write what the plan's trainings learn, and return the training set of each.

    A set's digest covers what its training learns and nothing else, so a larger budget leaves the
    trainings at smaller ones as they are.

    Args:
        plan: the plan whose training sets are written.
        answers: float32 (N, K) for each purpose asked about.
        contract: of the black box that gave them.
        folder: where the files are written.

    Raises:
        NoSpace: the disk is full.
    """
    for purpose in dict.fromkeys(training.images for training in plan.trainings):
        files.write_array(_images_file(folder, purpose), plan.images[purpose].pixels)
    learned = {
        (purpose, source): _learned(plan.images[purpose], answers, purpose, source)
        for purpose, source in dict.fromkeys((t.images, t.answers) for t in plan.trainings)
    }
    for (purpose, source), rows in learned.items():
        files.write_array(_answers_file(folder, purpose, source), rows)
    keys = [(training.images, training.answers, training.budget) for training in plan.trainings]
    sets = {}
    for purpose, source, size in dict.fromkeys(keys):
        form = (
            replace(contract, response="label", resolution=0.0) if source == "labels" else contract
        )
        digests, rows = plan.images[purpose].digests[:size], learned[purpose, source][:size]
        paths = _images_file(folder, purpose), _answers_file(folder, purpose, source)
        digest = _digest(digests, form, rows)
        sets[purpose, source, size] = TrainingSet(*paths, form.response, digest, form.resolution)
    return [sets[key] for key in keys]


def freeze_test_set(
    images: ImageSet, answers: Scores, contract: Contract, folder: Path
) -> ScoringSet:
    """Write the test set, the black box's answers to it and its labels.

    Raises:
        NoSpace: the disk is full.
    """
    paths = _images_file(folder, "test"), _answers_file(folder, "test", "queried")
    labels_file, labels = folder / "test-labels.npy", images.required_labels
    files.write_array(paths[0], images.pixels)
    files.write_array(paths[1], answers)
    files.write_array(labels_file, labels)
    # Other labels are another test set, and what was scored on it is scored again.
    digest = _digest(images.digests, contract, answers, labels)
    answered = TrainingSet(*paths, contract.response, digest, contract.resolution)
    return ScoringSet(answered, labels_file)


def frozen_transfer_set(folder: Path) -> tuple[NDArray[np.uint8], Scores]:
    """Read the transfer images (N, H, W, C) that an audit asked about, and their answers (N, K)."""
    images = np.load(_images_file(folder, "transfer"), mmap_mode="r")
    return images, np.load(_answers_file(folder, "transfer", "queried"))


def _learned(
    images: ImageSet, answers: Mapping[Purpose, Scores], purpose: Purpose, source: AnswerSource
) -> Scores:
    match source:
        case "queried":
            return answers[purpose]
        case "shuffled":
            return np.random.default_rng(0).permutation(answers[purpose])
        case "labels":
            classes = answers["test"].shape[1]
            return np.eye(classes, dtype=np.float32)[images.required_labels]


def _images_file(folder: Path, purpose: Purpose) -> Path:
    return folder / f"{purpose}-images.npy"


def _answers_file(folder: Path, purpose: Purpose, source: AnswerSource) -> Path:
    return folder / f"{purpose}-{source}-answers.npy"


def _digest(images: NDArray[np.uint8], form: Contract, *arrays: NDArray[np.generic]) -> str:
    """One digest of images (by their digests), of what answers show, and of answers and labels."""
    step = f" {form.resolution!r}" if form.resolution else ""
    digest = hashlib.sha256(f"{form.response}{step}".encode())
    for array in (images, *arrays):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
