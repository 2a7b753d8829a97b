"""What the thesis printed, from its data file `published.json`."""

import json
from dataclasses import dataclass
from importlib.resources import files as resources

__all__ = ["EPOCHS", "Published", "published"]

# The length of every training of the thesis; its marks are read as parts of it.
EPOCHS = 100


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        table, where: the number of its table, and where it stands.
        experiment: 1 to 4; 0 is the teacher.
        part: of CIFAR-10, `train` or `test`.
        metric: `accuracy` or `loss`.
        epoch: after which; None for the teacher.
        value: what is printed.
    """

    table: int
    where: str
    experiment: int
    part: str
    metric: str
    epoch: int | None
    value: float


def published() -> list[Published]:
    """Every number of Tables 1 to 5, in their order."""
    text = (resources("papagaio_thesis") / "published.json").read_text(encoding="utf-8")
    return [Published(*row) for row in json.loads(text)["values"]]
