"""The numbers printed in the thesis, from the data file `published.json`."""

import json
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import Literal

from papagaio.vocabulary import Part

__all__ = ["EPOCHS", "Metric", "Published", "published"]

# Every training of the thesis takes this many epochs. At another scale, a printed epoch is compared
# with the epoch after the same fraction of the training.
EPOCHS = 100

Metric = Literal["accuracy", "loss"]


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        table: the table's number.
        where: where it is printed.
        experiment: 1 to 4; 0 is the teacher.
        part: the part of CIFAR-10.
        metric: what is measured.
        epoch: after which epoch; None for the teacher.
        value: the number.
    """

    table: int
    where: str
    experiment: int
    part: Part
    metric: Metric
    epoch: int | None
    value: float


def published() -> list[Published]:
    """Return all numbers of Tables 1 to 5, in order."""
    text = (resources("papagaio_thesis") / "published.json").read_text(encoding="utf-8")
    return [Published(*row) for row in json.loads(text)["values"]]
