"""What trials read: training sets and evaluation sets, frozen in files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import ask
from papagaio.images.choosing import load
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.ledger import Ledger
from papagaio.progress import Progress, no_progress
from papagaio.vocabulary import Part
from papagaio_thesis.measuring import EvaluationSet
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.superclasses import group_rows
from papagaio_thesis.teacher import SHAPE, Teacher
from papagaio_thesis.trials import TrainingSet

__all__ = ["PARTS", "TrialInputs", "load_parts", "prepare_inputs", "transfer_sets"]

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class TrialInputs:
    """The sets that trials read.

    Attributes:
        large: the large transfer set.
        small: the small transfer set.
        own: the teacher's own data.
        groups: images of one group of superclasses each, by name, and `all`.
        train: the train part of CIFAR-10, to measure students on.
        test: the test part.
    """

    large: TrainingSet
    small: TrainingSet
    own: TrainingSet
    groups: Mapping[str, TrainingSet]
    train: EvaluationSet
    test: EvaluationSet


def load_parts(
    name: str, data_dir: Path | None, progress: Progress = no_progress
) -> dict[Part, ImageSet]:
    """Load both parts of an image set; they are decoded only once, then cached.

    Raises:
        BadImages: the files are missing or broken.
        NoSpace: the disk is full.
    """
    return {
        part: load(open_source(name, part=part, data_dir=data_dir), shape=SHAPE, progress=progress)
        for part in PARTS
    }


def transfer_sets(options: StudyOptions, cifar100: Mapping[Part, ImageSet]) -> dict[str, ImageSet]:
    """Return the images that the teacher is asked about, by training set."""
    train, test = cifar100["train"], cifar100["test"]
    groups = group_rows(train.required_labels, options.studies.superclass_images)
    sets = {
        "large": _first(train, options.images.large),
        "small": _first(test, options.images.small),
        **{group: train.take(rows) for group, rows in groups.items()},
    }
    return {name: replace(images, name=f"{images.name}: {name}") for name, images in sets.items()}


def prepare_inputs(
    options: StudyOptions,
    teacher: Teacher,
    cifar10: Mapping[Part, ImageSet],
    cifar100: Mapping[Part, ImageSet],
    out: Path,
    progress: Progress = no_progress,
) -> TrialInputs:
    """Ask the teacher, and write what trials read.

    Args:
        options: the options of the study.
        teacher: the teacher.
        cifar10: its data, and what students are measured on.
        cifar100: the attacker's data.
        out: the run directory.
        progress: told after every request.

    Raises:
        BadLedger: the ledger is damaged.
        NoSpace: the disk is full.
    """
    folder = out / "inputs"
    with Ledger(out / "ledger.sqlite") as ledger:
        sets = {
            name: _freeze(name, images, ask(teacher.box, images, ledger, progress), folder)
            for name, images in transfer_sets(options, cifar100).items()
        }
    # The teacher's own data are not the attacker's: no query is spent on them.
    own = _first(cifar10["train"], len(teacher.own_answers))
    train, test = (
        _evaluation_set(part, cifar10[part], teacher.labels[part], folder) for part in PARTS
    )
    return TrialInputs(
        large=sets.pop("large"),
        small=sets.pop("small"),
        own=_freeze("own", own, teacher.own_answers, folder),
        groups=sets,
        train=train,
        test=test,
    )


def _first(images: ImageSet, size: int) -> ImageSet:
    return images.take(np.arange(min(size, len(images))))


def _freeze(name: str, images: ImageSet, answers: NDArray[np.float32], folder: Path) -> TrainingSet:
    digest = _digest(images.digests, answers, images.required_labels)
    stem = name.replace(",", "").replace(" ", "-")
    paths = _write_once(
        folder / f"{stem}-{digest[:8]}",
        images=images.pixels,
        answers=answers,
        labels=images.required_labels,
    )
    return TrainingSet(name, **paths, size=len(images), digest=digest)


def _evaluation_set(
    part: Part, images: ImageSet, teacher_labels: NDArray[np.int64], folder: Path
) -> EvaluationSet:
    size = len(teacher_labels)
    some = _first(images, size)
    digest = _digest(some.digests, teacher_labels, some.required_labels)
    paths = _write_once(
        folder / f"evaluation-{part}-{digest[:8]}",
        images=some.pixels,
        labels=some.required_labels,
        teacher_labels=teacher_labels,
    )
    return EvaluationSet(part, **paths, size=size)


def _write_once(stem: Path, **arrays: NDArray[np.generic]) -> dict[str, Path]:
    """Write arrays whose content the name determines, unless an earlier session wrote them."""
    paths = {what: stem / f"{what}.npy" for what in arrays}
    for what, path in paths.items():
        if not path.exists():
            files.write_array(path, arrays[what])
    return paths


def _digest(*arrays: NDArray[np.generic]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
