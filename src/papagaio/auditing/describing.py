"""What an audit is about -> the parts of its result that need no training."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import scores
from papagaio.auditing.plan import Plan
from papagaio.auditing.unanswered import Unanswered
from papagaio.blackboxes.contract import BlackBox
from papagaio.executors.options import ExecutorOptions
from papagaio.hardware import cores, processor
from papagaio.images.imageset import ImageSet
from papagaio.images.png import thumbnail
from papagaio.ledger import Totals
from papagaio.result import (
    BlackBoxRecord,
    MachineRecord,
    NamedClass,
    Picture,
    Queries,
    References,
    Revision,
    TestRecord,
    TransferRecord,
    UnansweredRecord,
)
from papagaio.settings import AuditOptions
from papagaio.training.machine import Machine

__all__ = [
    "black_box_record",
    "class_names_of",
    "machine_record",
    "named_classes",
    "package_versions",
    "pictures",
    "queries_record",
    "references_record",
    "source_revision",
    "test_record",
    "transfer_record",
    "unanswered_record",
]

_PICTURES = 24
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow")

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]


def class_names_of(box: BlackBox, test: ImageSet) -> list[str] | None:
    """The names of the classes: the black box's, or else the test set's if it has all of them."""
    for names in (box.contract.class_names, test.classes):
        if names and len(names) == box.contract.classes:
            return [_text(name) for name in names]
    return None


def black_box_record(
    box: BlackBox, names: list[str] | None, answers: Scores, labels: Labels
) -> BlackBoxRecord:
    """The black box, and its accuracy on the test set.

    Args:
        box: the black box.
        names: the names of its classes, or None.
        answers: float32 (N, K), to the test images.
        labels: int64 (N,), their true classes.
    """
    accuracy = scores.accuracy(answers, labels)
    return BlackBoxRecord(
        name=box.name,
        identity=box.identity,
        classes=box.contract.classes,
        class_names=names,
        input=box.contract.shape,
        response=box.contract.response,
        resolution=box.contract.resolution,
        accuracy=accuracy,
        better_than_majority=scores.is_better_than_majority(accuracy, labels),
        most_named=max(named_classes(answers, names), key=lambda named: named.images),
        almost_one_class=scores.names_almost_one_class(answers, labels),
    )


def transfer_record(images: ImageSet) -> TransferRecord:
    """The transfer set."""
    return TransferRecord(
        **_set_fields(images),
        broken=[_text(name) for name in images.notes.broken],
        repeated=images.notes.repeated,
    )


def test_record(images: ImageSet, near_duplicates: int) -> TestRecord:
    """The test set, with the number of its near-duplicates of transfer images."""
    return TestRecord(**_set_fields(images), near_duplicates=near_duplicates)


def unanswered_record(unanswered: Unanswered, budget: int) -> UnansweredRecord:
    """What distilled students were shown and nobody asked about, at the whole budget."""
    shown = len(unanswered.digests) - unanswered.first(budget)
    return UnansweredRecord(images=shown, near_duplicates=unanswered.near_duplicates)


def _text(name: str) -> str:
    """A file's name with what is not UTF-8 replaced: JSON cannot hold it."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _set_fields(images: ImageSet) -> dict[str, object]:
    return {
        "name": images.name,
        "images": len(images),
        "distinct": len(images.distinct()),
        "digest": images.digest,
        "entries": images.notes.entries,
        "skipped": {_text(suffix): n for suffix, n in images.notes.skipped.items()},
        "rotated": images.notes.rotated,
    }


def queries_record(
    options: AuditOptions,
    plan: Plan,
    ledger: Totals,
    canaries: tuple[int, float | None],
    seconds: float,
) -> Queries:
    """How many images were sent, and for what.

    Args:
        options: budget and price.
        plan: what was asked.
        ledger: all that the ledger holds of the black box.
        canaries: how many canaries this run sent, and the largest change of a score.
        seconds: during which requests of the ledger were on the way.
    """
    digests = {p: np.unique(plan.images[p].digests, axis=0) for p in plan.queried}
    sizes = {purpose: len(rows) for purpose, rows in digests.items()}
    distinct = len(np.unique(np.concatenate([*digests.values()]), axis=0))
    repeated, change = canaries
    total = distinct + repeated
    return Queries(
        budget=options.budget,
        spent=sizes["transfer"],
        scoring=sizes["test"],
        controls=sizes.get("noise", 0) + sizes.get("own", 0),
        canaries=repeated,
        total=total,
        ledger=ledger.answers + ledger.canaries,
        interrupted=ledger.interrupted,
        change=change,
        seconds_per_image=seconds / (ledger.answers + ledger.canaries) if seconds else None,
        price=options.price_of(sizes["transfer"]),
        price_total=options.price_of(total),
    )


def named_classes(answers: Scores, names: Sequence[str] | None) -> list[NamedClass]:
    """How often each class is named in answers (float32, N x K)."""
    classes = answers.shape[1]
    counts = np.bincount(answers.argmax(1), minlength=classes)
    return [
        NamedClass(name=name, images=int(count))
        for name, count in zip(names or map(str, range(classes)), counts, strict=True)
    ]


def references_record(labels: Labels, classes: int) -> References:
    """Floors that need no training, on the test set's labels (int64, N)."""
    chance = 1 / classes
    return References(
        chance=scores.Figure(chance, chance, chance, len(labels)),
        majority=scores.majority(labels),
    )


def machine_record(
    machine: Machine, precision_reason: str, where: ExecutorOptions
) -> MachineRecord:
    """Where it ran."""
    return MachineRecord(
        cpu=processor(),
        cores=cores(),
        device=machine.device,
        precision=machine.precision,
        precision_reason=precision_reason,
        threads=machine.threads,
        workers=where.workers,
        executor=where.executor,
        python=platform.python_version(),
        system=platform.platform(terse=True),
    )


def package_versions() -> dict[str, str]:
    """Versions of the libraries that affect results."""
    return {name: version(name) for name in _PACKAGES}


def source_revision() -> Revision | None:
    """The commit of the checkout that this package runs from; None where it runs from none."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(  # noqa: S603  # fixed words
            ["git", "-C", str(here), *words],  # noqa: S607  # git is found on the path
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None  # installed inside somebody else's checkout
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return Revision(commit=commit, dirty=bool(changes))


def pictures(
    images: NDArray[np.uint8], answers: Scores, names: Sequence[str] | None
) -> list[Picture]:
    """For each class, the transfer images to which the black box gives the highest scores.

    Only for the classes that it names most often, where there are many.

    Args:
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), to the same images.
        names: the names of the classes, or None.
    """
    classes = answers.shape[1]
    each = max(1, _PICTURES // classes)
    counts = np.bincount(answers.argmax(1), minlength=classes)
    chosen = []
    for one in np.sort(np.argsort(-counts, kind="stable")[:_PICTURES]):
        rows = np.flatnonzero(answers.argmax(1) == one)
        surest = rows[np.argsort(-answers[rows, one], kind="stable")][:each]
        name = names[one] if names else str(one)
        chosen += [
            Picture(
                png=thumbnail(images[row]),
                named=name,
                share=float(answers[row, one]),
            )
            for row in surest
        ]
    return chosen
