"""Spending: which images are asked about and why, and the frozen files that trainings read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import ask, choose
from papagaio.auditing.opening import Sets
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import BadImages
from papagaio.images.imageset import ImageSet, as_keys, digest_of_set
from papagaio.ledger import Ledger
from papagaio.progress import Progress
from papagaio.settings import Settings
from papagaio.study import Material
from papagaio.vocabulary import Response

__all__ = ["Inputs", "Purchase", "Purpose", "buy", "purchases"]

Purpose = Literal["transfer", "test", "noise", "own"]


@dataclass(frozen=True)
class Purchase:
    """Images that the black box is asked about: for what, which set, and which of its rows."""

    purpose: Purpose
    images: ImageSet
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What trainings read, frozen in files.

    Attributes:
        transfer: what copies learn from.
        shuffled: the same images with each other's answers.
        noise, own, labelled: for the other floors and ceilings. These four are None where they
            are not asked for.
        test: the test set and the black box's answers to it.
        labels: the test set's true classes.
        answers: the black box's answers by purpose, float32 (N, K).
        shape: height, width and channels of every image.
    """

    transfer: Material
    shuffled: Material | None
    noise: Material | None
    own: Material | None
    labelled: Material | None
    test: Material
    labels: Path
    answers: dict[Purpose, NDArray[np.float32]]
    shape: tuple[int, int, int]


def purchases(settings: Settings, sets: Sets) -> list[Purchase]:
    """Everything an audit asks about, the copies' own images first.

    Raises:
        BadSettings: the budget does not fit the transfer set.
    """
    found = [
        Purchase("transfer", sets.transfer, choose(sets.transfer, settings.budget)),
        Purchase("test", sets.test, np.arange(len(sets.test))),
    ]
    if "noise" in settings.controls:
        noise = _noise(settings.budget, sets.transfer.shape)
        found.append(Purchase("noise", noise, choose(noise, len(noise))))
    if "own-data" in settings.controls and sets.own is not None:
        found.append(_own(settings, sets.own, sets.test))
    return found


def buy(
    settings: Settings,
    box: BlackBox,
    sets: Sets,
    bought: Sequence[Purchase],
    ledger: Ledger,
    progress: Progress,
) -> Inputs:
    """Ask everything, and write what trainings read into the run's folder `inputs`.

    Raises:
        BadAnswer, NoSpace: as `asking.ask`; answers already paid are kept.
    """
    folder = settings.out / "inputs"
    answers = {p.purpose: ask(box, p.images, p.rows, ledger, progress) for p in bought}
    response = box.contract.response
    frozen = {
        p.purpose: _freeze(folder, p, p.purpose, answers[p.purpose], response) for p in bought
    }
    shuffled = labelled = None
    if "shuffled" in settings.controls:
        order = np.random.default_rng(0).permutation(answers["transfer"])
        shuffled = _with_answers(frozen["transfer"], folder / "shuffled-answers.npy", order)
    if "labels" in settings.controls and sets.own is not None:
        own = _own(settings, sets.own, sets.test)
        one_hot = np.eye(box.contract.classes, dtype=np.float32)[own.images.truth[own.rows]]
        labelled = _freeze(folder, own, "labelled", one_hot, response)
    truth = sets.test.truth
    files.write_array(folder / "test-labels.npy", truth)
    # Other labels are another test, and what was scored on it must be scored again.
    test = hashlib.sha256(frozen["test"].digest.encode() + truth.tobytes()).hexdigest()
    return Inputs(
        transfer=frozen["transfer"],
        shuffled=shuffled,
        noise=frozen.get("noise"),
        own=frozen.get("own"),
        labelled=labelled,
        test=replace(frozen["test"], digest=test),
        labels=folder / "test-labels.npy",
        answers=answers,
        shape=box.contract.shape,
    )


def _freeze(
    folder: Path, bought: Purchase, name: str, answers: NDArray[np.float32], shown: Response
) -> Material:
    images, digests = bought.images.pixels[bought.rows], bought.images.digests[bought.rows]
    images_path = folder / f"{bought.purpose}-images.npy"
    files.write_array(images_path, images)
    files.write_array(folder / f"{name}-answers.npy", answers)
    digest = hashlib.sha256(f"{digest_of_set(digests)} {shown}".encode() + answers.tobytes())
    return Material(
        images_path, folder / f"{name}-answers.npy", shown, len(images), digest.hexdigest()
    )


def _with_answers(material: Material, path: Path, answers: NDArray[np.float32]) -> Material:
    """The same images with other answers."""
    files.write_array(path, answers)
    digest = hashlib.sha256(material.digest.encode() + answers.tobytes()).hexdigest()
    return replace(material, answers=path, digest=digest)


def _own(settings: Settings, own: ImageSet, test: ImageSet) -> Purchase:
    """The owner's own images, without those that are test images too: no training sees these."""
    rows = choose(own, len(own))
    rows = rows[~np.isin(as_keys(own.digests[rows]), as_keys(test.digests))]
    if not len(rows):
        raise BadImages(f"{own.name}: all its images are test images; name others with --own-data")
    return Purchase("own", own, rows[: settings.budget])


def _noise(count: int, shape: tuple[int, int, int]) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    return ImageSet.of("noise", pixels)
