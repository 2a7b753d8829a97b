"""Spending: which images are asked about and why, and the frozen files that trainings read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import ask, choose, question_for
from papagaio.audit.opening import Sets
from papagaio.blackboxes.contract import BlackBox
from papagaio.images.imageset import ImageSet, digest_of_set
from papagaio.ledger import Ledger
from papagaio.progress import Watch
from papagaio.responses import Response
from papagaio.settings import Settings
from papagaio.study import Material

__all__ = ["Inputs", "Purchase", "Purpose", "buy", "purchases", "queries_owed"]

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
        noise, own, labelled: for the other floors and ceilings; None where not asked for.
        test: the test set and the black box's answers to it.
        labels: the test set's true classes.
        answers: the black box's answers by purpose, float32 (N, K).
        shape: height, width and channels of every image.
    """

    transfer: Material
    shuffled: Material
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
        found.append(Purchase("noise", noise, choose(noise, len(noise.distinct()))))
    if sets.own is not None:
        found.append(Purchase("own", sets.own, _own_rows(settings, sets.own)))
    return found


def buy(
    box: BlackBox, bought: list[Purchase], ledger: Ledger, folder: Path, watch: Watch
) -> Inputs:
    """Ask everything, and write what trainings read into `folder`.

    Raises:
        BadAnswer, NoSpace: as `asking.ask`; answers already paid are kept.
    """
    answers = {p.purpose: ask(box, p.images, p.rows, ledger, watch) for p in bought}
    by_purpose = {p.purpose: p for p in bought}
    response = box.contract.response

    def freeze(purpose: Purpose, name: str, values: NDArray[np.float32]) -> Material:
        return _freeze(folder, by_purpose[purpose], name, values, response)

    transfer, own = answers["transfer"], by_purpose.get("own")
    order = np.random.default_rng(0).permutation(len(transfer))
    _save(folder / "test-labels.npy", by_purpose["test"].images.truth)
    one_hot = np.eye(box.contract.classes, dtype=np.float32)
    return Inputs(
        transfer=freeze("transfer", "transfer", transfer),
        shuffled=freeze("transfer", "shuffled", transfer[order]),
        noise=freeze("noise", "noise", answers["noise"]) if "noise" in answers else None,
        own=freeze("own", "own", answers["own"]) if own else None,
        labelled=freeze("own", "labelled", one_hot[own.images.truth[own.rows]]) if own else None,
        test=freeze("test", "test", answers["test"]),
        labels=folder / "test-labels.npy",
        answers=answers,
        shape=box.contract.shape,
    )


def queries_owed(box: BlackBox, bought: list[Purchase], ledger: Ledger) -> dict[Purpose, int]:
    """How many images of each purchase the ledger has no answer to."""
    question = question_for(box)
    return {
        p.purpose: len(np.unique(ledger.missing(question, p.images.digests[p.rows])))
        for p in bought
    }


def _freeze(
    folder: Path, bought: Purchase, name: str, answers: NDArray[np.float32], shown: Response
) -> Material:
    images, digests = bought.images.pixels[bought.rows], bought.images.digests[bought.rows]
    images_path = folder / f"{bought.purpose}-images.npy"
    _save(images_path, images)
    _save(folder / f"{name}-answers.npy", answers)
    digest = hashlib.sha256(f"{digest_of_set(digests)} {shown}".encode() + answers.tobytes())
    return Material(images_path, folder / f"{name}-answers.npy", shown, digest.hexdigest())


def _own_rows(settings: Settings, own: ImageSet) -> NDArray[np.int64]:
    return choose(own, min(settings.budget, len(own.distinct())))


def _noise(count: int, shape: tuple[int, int, int]) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    return ImageSet.of("noise", pixels)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with files.writing(path) as file:
        np.save(file, array, allow_pickle=False)
