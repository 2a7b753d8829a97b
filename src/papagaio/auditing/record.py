"""What an audit found -> the record of it."""

import base64
import io
import platform
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from papagaio import scores
from papagaio.auditing.inputs import Inputs, Purchase
from papagaio.blackboxes.contract import BlackBox
from papagaio.images.imageset import ImageSet
from papagaio.scores import Figure
from papagaio.result import BlackBoxRecord, MachineRecord, Picture, Queries, References, SetRecord
from papagaio.settings import Settings
from papagaio.training.machine import Machine, cores, processor

__all__ = [
    "black_box_record",
    "machine_record",
    "pictures",
    "queries_record",
    "references_record",
    "set_record",
]

_PICTURES = 24


def black_box_record(box: BlackBox, inputs: Inputs, labels: NDArray[np.int64]) -> BlackBoxRecord:
    """The black box, and its accuracy on the test set (labels: int64, N)."""
    names = box.contract.class_names
    return BlackBoxRecord(
        name=box.name,
        identity=box.identity,
        classes=box.contract.classes,
        class_names=None if names is None else list(names),
        input=box.contract.shape,
        response=box.contract.response,
        accuracy=(scores.accuracy(inputs.answers["test"], labels)),
    )


def set_record(images: ImageSet) -> SetRecord:
    """A set of images, by size and digest."""
    return SetRecord(
        name=images.name, images=len(images), distinct=len(images.distinct()), digest=images.digest
    )


def queries_record(
    settings: Settings, bought: Sequence[Purchase], interrupted: int, held: int
) -> Queries:
    """How many images were sent, and for what; `held` are the ledger's answers of the black box."""
    digests = {p.purpose: np.unique(p.images.digests[p.rows], axis=0) for p in bought}
    sizes = {purpose: len(rows) for purpose, rows in digests.items()}
    price = settings.price_per_1000
    return Queries(
        budget=settings.budget,
        spent=sizes["transfer"],
        scoring=sizes["test"],
        controls=sizes.get("noise", 0) + sizes.get("own", 0),
        total=len(np.unique(np.concatenate([*digests.values()]), axis=0)),
        ledger=held,
        interrupted=interrupted,
        price=None if price is None else round(sizes["transfer"] * price / 1000, 6),
    )


def references_record(labels: NDArray[np.int64], classes: int) -> References:
    """Floors that need no training, on the test set's labels (int64, N)."""
    chance = 1 / classes
    most = np.bincount(labels).argmax()
    return References(
        chance=(scores.Figure(chance, chance, chance, len(labels))),
        majority=(scores.rate(labels == most)),
    )


def machine_record(machine: Machine, workers: int) -> MachineRecord:
    """Where it ran."""
    return MachineRecord(
        cpu=processor(),
        cores=cores(),
        device=machine.device,
        precision=machine.precision,
        threads=machine.threads,
        workers=workers,
        torch=torch.__version__,
        python=platform.python_version(),
        system=platform.platform(terse=True),
    )


def pictures(
    images: NDArray[np.uint8], answers: NDArray[np.float32], names: Sequence[str] | None
) -> list[Picture]:
    """What the black box sees in the transfer set: for each class the images it is surest of.

    Args:
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), to the same images.
        names: of the classes, or None.
    """
    classes = answers.shape[1]
    each = max(1, _PICTURES // classes)
    found = []
    for one in range(min(classes, _PICTURES)):
        rows = np.flatnonzero(answers.argmax(1) == one)
        surest = rows[np.argsort(-answers[rows, one], kind="stable")][:each]
        label = names[one] if names else str(one)
        found += [
            Picture(png=_png(images[row]), named=label, share=float(answers[row, one]))
            for row in surest
        ]
    return found


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
