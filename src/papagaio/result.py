"""`result.json`: everything the report shows. The schema is versioned and published.

Others may rely on every field here; a field is added without a new version, and changed or taken
away only with one.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from papagaio import files
from papagaio.errors import BadSettings
from papagaio.scores import Score

__all__ = [
    "BlackBoxRecord",
    "CellRecord",
    "CurvePoint",
    "Figure",
    "Kind",
    "MachineRecord",
    "Picture",
    "Queries",
    "References",
    "Result",
    "Scores",
    "SetRecord",
    "SummaryRow",
    "TestRecord",
    "json_schema",
    "read_result",
    "write_result",
]

Kind = Literal["copy", "floor:shuffled", "floor:noise", "ceiling:labels", "ceiling:own-data"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Record):
    """A figure, its 95 % interval, and how many images (or seeds) it rests on."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, score: Score) -> Self:
        """A score as it stands in the result."""
        return cls(**asdict(score))


class Scores(_Record):
    """What was measured of a network on the test set; absent where it could not be."""

    accuracy: Figure | None = None
    relative_accuracy: Figure | None = None
    fidelity: Figure | None = None
    fidelity_where_wrong: Figure | None = None
    kl: Figure | None = None
    cross_entropy: Figure | None = None
    calibration_error: Figure | None = None


class CurvePoint(_Record):
    """One epoch: mean loss, and distillation accuracy (agreement on the images learned from)."""

    epoch: int
    loss: float
    agreement: float


class CellRecord(_Record):
    """One training and what came of it."""

    id: str
    kind: Kind
    student: str
    initial: str
    recipe: str
    response: str
    budget: int
    seed: int
    seconds: float
    epochs: int
    steps: int
    parameters: int
    scores: Scores
    per_class: list[Figure | None] = Field(description="accuracy on each true class")
    curve: list[CurvePoint] = Field(
        description="at most 100 epochs, evenly spread, the last included"
    )


class SummaryRow(Scores):
    """Cells that differ in nothing but their seed; each figure is the mean over seeds."""

    kind: Kind
    student: str
    recipe: str
    response: str
    budget: int
    seeds: int
    seconds: float = Field(description="mean of a training")


class BlackBoxRecord(_Record):
    """The black box."""

    name: str
    identity: str
    classes: int
    class_names: list[str] | None
    input: tuple[int, int, int] = Field(description="height, width, channels")
    response: str
    accuracy: Figure


class SetRecord(_Record):
    """A set of images."""

    name: str
    images: int
    distinct: int
    digest: str


class TestRecord(SetRecord):
    """The test set, and how many of its images stand nearly the same in the transfer set."""

    near_duplicates: int


class Queries(_Record):
    """Images sent to the black box, each counted once.

    `budget` and `spent` are the copies': what somebody would have to send. `scoring` (the test
    set) and `controls` (noise, the owner's own data) are the audit's own; in `total` an image of
    two purposes counts once. `ledger` is all that the ledger holds of this black box: the total,
    and what other audits asked. `interrupted` images were sent in requests that never returned:
    possibly paid besides.
    """

    budget: int
    spent: int
    scoring: int
    controls: int
    total: int
    ledger: int
    interrupted: int
    price: float | None = Field(description="of `spent`, in the currency of --price-per-1000")


class References(_Record):
    """What needs no training: a class drawn at random, and always the most frequent one."""

    chance: Figure
    majority: Figure


class MachineRecord(_Record):
    """Where it ran."""

    cpu: str
    cores: int
    device: str
    precision: str
    threads: int
    workers: int
    torch: str
    python: str
    system: str


class Picture(_Record):
    """A transfer image and what the black box said of it."""

    png: str = Field(description="base64")
    named: str
    share: float


class Result(_Record):
    """One audit."""

    schema_: Literal[1] = Field(1, alias="schema")
    papagaio: str
    command: str
    started: str = Field(description="UTC, ISO 8601")
    seconds: float
    complete: bool = Field(description="whether every cell is there")
    authorised_by: str | None
    machine: MachineRecord
    black_box: BlackBoxRecord
    transfer: SetRecord
    test: TestRecord
    queries: Queries
    references: References
    cells: list[CellRecord]
    summary: list[SummaryRow]
    pictures: list[Picture]
    settings: dict[str, Any]

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def json_schema() -> str:
    """The JSON Schema (2020-12) of `result.json`, as text."""
    return json.dumps(Result.model_json_schema(by_alias=True), indent=2) + "\n"


def write_result(result: Result, path: Path) -> None:
    """Write `result.json`, whole or not at all."""
    files.write(path, result.model_dump_json(by_alias=True, indent=1) + "\n")


def read_result(path: Path) -> Result:
    """Read `result.json`.

    Raises:
        BadSettings: it is missing, or not a result of this version.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadSettings(f"{path}: no result there; name the folder of a run") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSettings(
            f"{path}: not a result of this version ({where}: {first['msg']})"
        ) from error
