"""`result.json`: everything that the report shows. The schema is versioned and published.

Others may rely on every field. A new field keeps the version; a changed or removed one raises it.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from papagaio import files
from papagaio.errors import BadSettings
from papagaio.responses import shown_form
from papagaio.scores import Figure
from papagaio.standards import STANDARDS, Standard
from papagaio.version import __version__
from papagaio.vocabulary import Augmentation

__all__ = [
    "BlackBoxRecord",
    "CandidateRecord",
    "CellRecord",
    "ConfidenceBin",
    "CopyDetail",
    "CurvePoint",
    "DivergedRecord",
    "EnsembleRecord",
    "MachineRecord",
    "NamedClass",
    "NamedPair",
    "Picture",
    "Queries",
    "References",
    "Result",
    "Revision",
    "RoundRecord",
    "Scores",
    "SelectionRecord",
    "SetRecord",
    "SummaryRow",
    "TestPicture",
    "TestRecord",
    "TransferRecord",
    "UnansweredRecord",
    "UntilOutcome",
    "UntilRecord",
    "json_schema",
    "read_result",
    "write_result",
]


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )


class Scores(_Record):
    """What was measured of a network on the test set; absent where it could not be measured."""

    accuracy: Figure | None = None
    relative_accuracy: Figure | None = None
    fidelity: Figure | None = None
    fidelity_where_wrong: Figure | None = None
    kl: Figure | None = None
    cross_entropy: Figure | None = None
    calibration_error: Figure | None = None


class CurvePoint(_Record):
    """One epoch: mean loss and distillation accuracy."""

    epoch: int
    loss: float
    distillation_accuracy: float


class CandidateRecord(_Record):
    """A short training that was compared with others on held-out answers."""

    augmentation: list[str]
    changes: dict[str, Any] = {}
    """Fields of the recipe with other values than the recipe has by itself."""
    fidelity: Figure
    """On the held-out answers."""
    loss: float
    """On the held-out answers."""
    epochs: int
    seconds: float


class SelectionRecord(_Record):
    """How a copy's recipe was chosen, on answers held out of its budget."""

    chosen: list[Augmentation]
    """The augmentation of the winner."""
    changes: dict[str, Any] = {}
    """Fields of the recipe that the choice changed; none where the recipe stayed as it was."""
    held_out: int
    """The number of answers held out; all answers are learned from afterwards."""
    share: float
    """The steps of all short trainings together, divided by those of the copy's training."""
    candidates: list[CandidateRecord]

    @property
    def winner(self) -> CandidateRecord:
        """The candidate that was chosen."""
        wanted = self.chosen, self.changes
        return next(one for one in self.candidates if (one.augmentation, one.changes) == wanted)


class CellRecord(_Record):
    """One training and its scores."""

    id: str
    kind: str
    """`copy`, `distilled` (a student of several copies), or a floor or ceiling, such as
    `floor:shuffled`."""
    student: str
    initial: str
    recipe: str
    augmentation: list[str]
    selection: SelectionRecord | None = None
    """None where nothing was to be chosen, or there were too few answers to choose."""
    undertrained: bool
    """Whether it had fewer epochs than its recipe, or often disagrees with its training answers."""
    response: str
    budget: int
    seed: int
    seconds: float
    """Of its last session, if the training was interrupted and resumed."""
    epochs: int
    recipe_epochs: int
    """The epochs that the recipe asks for; `epochs` is less where they were cut."""
    steps: int
    parameters: int
    scores: Scores
    per_class: list[Figure | None]
    """Accuracy on each true class."""
    curve: list[CurvePoint]
    """At most 100 epochs, evenly spread, the last included."""

    @property
    def note(self) -> str:
        """The copy and its fidelity, in a few words."""
        name = self.id.rpartition("_")[0]
        fidelity = self.scores.fidelity
        return f"{name}: fidelity {fidelity.value:.3f}" if fidelity else name


class EnsembleRecord(_Record):
    """Copies that differ only in their seed, answering together: no query more, no training more.

    Their answer is the mean of their centred logits. There is one such answer, so its intervals
    are over test images only.
    """

    student: str
    recipe: str
    response: str
    budget: int
    seeds: list[int]
    """The seeds of its copies."""
    scores: Scores
    per_class: list[Figure | None]
    """Accuracy on each true class."""


class DivergedRecord(_Record):
    """A training whose loss stopped being finite, or a student that lost its copies in this way."""

    id: str
    reason: str

    @property
    def kind(self) -> str:
        """`copy`, `distilled`, or a floor or ceiling, such as `floor-shuffled`."""
        return self.id.partition("_")[0]


class SummaryRow(Scores):
    """Cells that differ only in their seed; each figure is the mean over seeds."""

    kind: str
    student: str
    recipe: str
    response: str
    budget: int
    seeds: int
    seconds: float
    """Mean per training."""


class NamedClass(_Record):
    """A class, and the number of images of a set on which the black box named it."""

    name: str
    images: int


class BlackBoxRecord(_Record):
    """The black box."""

    name: str
    identity: str
    classes: int
    class_names: list[str] | None
    input: tuple[int, int, int]
    """Height, width, channels."""
    response: str
    resolution: float = 0.0
    """The step of its scores, where the response does not say it; 0 if they have none."""
    accuracy: Figure
    better_than_majority: bool
    """Whether its accuracy is above the share of the most frequent class, interval included."""
    most_named: NamedClass
    """The class that it named most often on the test set."""
    almost_one_class: bool
    """Whether it named the others less than a tenth as often as they occur in the test set."""

    @property
    def works(self) -> bool:
        """Whether it passes the check on the test set."""
        return self.better_than_majority and not self.almost_one_class

    @property
    def shows(self) -> str:
        """What an answer shows, in words."""
        return shown_form(self.response, self.resolution)


class SetRecord(_Record):
    """A set of images."""

    name: str
    images: int
    distinct: int
    digest: str
    entries: int
    """Images that its source has; of a transfer set only the chosen ones are decoded."""
    skipped: dict[str, int]
    """Files that are not images, counted by suffix."""
    rotated: int
    """Images with an EXIF rotation."""


class TransferRecord(SetRecord):
    """The transfer set."""

    broken: list[str]
    """Files that could not be decoded and were replaced."""
    repeated: int
    """Images that repeat another one and were replaced."""


class TestRecord(SetRecord):
    """The test set."""

    near_duplicates: int
    """Images with a near-duplicate in the transfer set."""


class UnansweredRecord(_Record):
    """Images that distilled students were shown and nobody asked about."""

    images: int
    """At the whole budget; at a smaller one, the rest of the transfer set comes to it."""
    near_duplicates: int
    """Images left out because a test image is almost the same."""


class Queries(_Record):
    """Images sent to the black box, each counted once.

    `budget` and `spent` are what a copier would have to send. `scoring` (the test set), `controls`
    (noise, the owner's own data) and `canaries` (test images that this run sent again among others)
    are the audit's own. In `total`, an image with two purposes counts once. `ledger` is everything
    that the ledger holds of this black box: the total, what other audits queried, and what checks
    repeated. `interrupted` images were sent in requests that never returned: they may have been
    paid for as well.
    """

    budget: int
    spent: int
    scoring: int
    controls: int
    canaries: int = 0
    total: int
    ledger: int
    interrupted: int
    change: float | None = None
    """The largest change of a score of a canary; None without canaries."""
    seconds_per_image: float | None = None
    """How long the black box took: the time during which requests were on the way, by their images,
    over all that the ledger holds."""
    price: float | None
    """Of `spent`: what a copier pays."""
    price_total: float | None
    """Of `total`: what the audit costs its owner."""


class References(_Record):
    """What needs no training: a class drawn at random, and always the most frequent one."""

    chance: Figure
    majority: Figure


class Revision(_Record):
    """The commit of the source checkout that ran, and whether it had uncommitted changes."""

    commit: str
    dirty: bool


class MachineRecord(_Record):
    """Where it ran."""

    cpu: str
    cores: int
    device: str
    precision: str
    precision_reason: str
    threads: int
    workers: int
    executor: str = "local"
    """Where trainings ran: `local`, `ray` or `slurm`; of a cluster, the rest is the machine that
    sent them."""
    python: str
    system: str


class Picture(_Record):
    """A transfer image and the black box's answer."""

    png: str
    """Base64."""
    named: str
    share: float


class NamedPair(_Record):
    """How often the black box names one class and the copy another, or the same, on test images."""

    black_box: int
    copied: int
    """What the copy names."""
    images: int


class ConfidenceBin(_Record):
    """Test images on which the copy is about equally sure."""

    confidence: float
    """The mean of the copy's highest score."""
    right: float
    """The share on which it names the true class."""
    images: int


class TestPicture(_Record):
    """A test image, and what the black box, the copy and its owner call it."""

    png: str
    """Base64; at most 64 pixels wide and high."""
    black_box: str
    copied: str
    truth: str


class CopyDetail(_Record):
    """The strongest copy on the test set, image by image: its first seed's training."""

    cell: str
    """The id of the training."""
    pairs: list[NamedPair]
    """The most frequent first; the 400 most frequent."""
    calibration: list[ConfidenceBin]
    """Ten equal bins of confidence, without the empty ones."""
    differing: list[TestPicture]
    """Images on which the copy names another class than the black box, the surest first."""
    agreeing: list[TestPicture]
    """Images on which both name the same class, the surest of each class first."""


UntilOutcome = Literal["reached", "out of reach", "budget spent"]


class RoundRecord(_Record):
    """One round of buying answers, and how well its copies foretell those that it held out."""

    budget: int
    """Answers that its copies learned."""
    bought: int
    """Answers bought so far, the held-out ones included."""
    fidelity: Figure
    """Of the best copies, on held-out answers: mean over seeds, interval over images."""
    whole_budget: Figure | None
    """Expected on such images from the largest budget, with a band; None beyond ten times this."""


class UntilRecord(_Record):
    """Buying answers in rounds, until held-out answers show a fidelity goal."""

    goal: float
    outcome: UntilOutcome | None
    """Why asking stopped; None while it goes on, and then trainings are missing."""
    rounds: list[RoundRecord]


class Result(_Record):
    """One audit."""

    schema_: Literal[2] = Field(2, alias="schema")
    papagaio: str
    packages: dict[str, str]
    """Versions of the libraries that affect results."""
    revision: Revision | None
    """None where Papagaio does not run from a source checkout."""
    command: str
    started: str
    """UTC, ISO 8601."""
    seconds: float
    trainings: int
    """The number of trainings planned; those not in `cells` or `diverged` have not ended yet."""
    complete: bool
    """Whether every training ended with scores."""
    authorised_by: str | None
    unchecked: bool
    """Whether the audit continued although the black box failed the check on the test set."""
    machine: MachineRecord
    black_box: BlackBoxRecord
    transfer: TransferRecord
    test: TestRecord
    unanswered: UnansweredRecord | None = None
    """None without distilled students."""
    queries: Queries
    until: UntilRecord | None = None
    """None where the whole budget was asked at once."""
    named: list[NamedClass]
    """Every class, in the black box's order, with its images of the transfer set."""
    references: References
    cells: list[CellRecord]
    ensembles: list[EnsembleRecord] = []
    """Where there are several seeds."""
    diverged: list[DivergedRecord]
    summary: list[SummaryRow]
    pictures: list[Picture]
    detail: CopyDetail | None = None
    """None where no copy has scores, or where its training is older than this field."""
    standards: list[Standard] = list(STANDARDS)
    """What others call the threat that is measured."""
    settings: dict[str, Any]
    """Every setting, resolved."""
    settings_given: dict[str, Any]
    """The settings as they were passed."""

    @property
    def missing(self) -> int:
        """The number of planned trainings that have not ended yet."""
        return self.trainings - len(self.cells) - len(self.diverged)


def json_schema() -> str:
    """The JSON Schema (2020-12) of `result.json`, as text."""
    return json.dumps(Result.model_json_schema(by_alias=True), indent=2) + "\n"


def write_result(result: Result, path: Path) -> None:
    """Write `result.json`, completely or not at all."""
    files.write(path, result.model_dump_json(by_alias=True, indent=1) + "\n")


def read_result(path: Path) -> Result:
    """Read `result.json`.

    Raises:
        BadSettings: it is missing, or not a result of this version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadSettings(f"{path}: there is no result; name the folder of a run") from error
    try:
        return Result.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        why = _newer(content) or f"not a result of this version ({where}: {first['msg']})"
        raise BadSettings(f"{path}: {why}") from error


def _newer(content: bytes) -> str:
    """What to do about a result of a later schema; empty where it is something else."""
    own = Result.model_fields["schema_"].default
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    schema = found.get("schema") if isinstance(found, dict) else None
    if type(schema) is not int or schema <= own:
        return ""
    return (
        f"its schema is {schema}, written by papagaio {found.get('papagaio')}; papagaio"
        f" {__version__} reads schema {own}: install a newer one"
    )
