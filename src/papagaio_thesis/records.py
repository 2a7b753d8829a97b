"""`thesis.json`: everything that the tables, the figures and the claims show."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from papagaio.errors import BadSettings
from papagaio.result import MachineRecord
from papagaio.vocabulary import Part
from papagaio_thesis.experiments import BODIES, Scale
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.reading import ReadingRecord

__all__ = [
    "DigitRecord",
    "DivergedRecord",
    "EpochRecord",
    "Magnified",
    "MagnifiedRecord",
    "Measurement",
    "TeacherRecord",
    "ThesisResult",
    "TrialRecord",
    "read_thesis",
]


class _Record(BaseModel):
    # Figures of a diverged student may be NaN or infinite.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Measurement(_Record):
    """A network's figures on one part of CIFAR-10.

    Attributes:
        epoch: after which epoch it was measured; the last one for a teacher.
        part: the part of CIFAR-10.
        images: the number of images.
        accuracy: share of images whose true class is named.
        loss: mean cross-entropy with the true classes, in nats.
        fidelity: share of images on which it names the same class as the teacher.
        median_loss: median over the images, in nats.
        worst_ten: the ten largest losses' share of the sum of all losses.
        largest_logit: the largest absolute logit.
        per_class: accuracy on the images of each true class; None for a class without images.
    """

    epoch: int
    part: Part
    images: int
    accuracy: float
    loss: float
    fidelity: float
    median_loss: float
    worst_ten: float
    largest_logit: float
    per_class: list[float | None]


class EpochRecord(_Record):
    """One epoch of a student: its training, and figures on the first test images (the probe).

    Attributes:
        loss: mean loss on the transfer set, during the epoch.
        distillation_accuracy: share of the transfer set on which it named the teacher's class,
            during the epoch.
        probe_accuracy: accuracy on the probe.
        probe_loss: mean cross-entropy on the probe, in nats.
        probe_worst_ten: like `Measurement.worst_ten`, on the probe.
        probe_logit: like `Measurement.largest_logit`, on the probe.
        reach: the largest absolute logit that gradient ascent on an image reaches, see `reach`;
            None in records made before it was measured.
    """

    loss: float
    distillation_accuracy: float
    probe_accuracy: float
    probe_loss: float
    probe_worst_ten: float
    probe_logit: float
    reach: float | None = None


class _Training(_Record):
    """What identifies a training to a reader.

    Attributes:
        study: `experiment 1` to `experiment 4`, or a `Study`.
        variant: distinguishes the trainings of a study.
        body: the convolutional layers' architecture.
        seed: the seed of weights, order and augmentation.
    """

    study: str
    variant: str
    body: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Study, variant, body and seed."""
        return self.study, self.variant, self.body, self.seed


class TrialRecord(_Training):
    """One training of a student, and its figures.

    Attributes:
        initial: initial weights, `imagenet` or `random`.
        start: the same in words; empty in records made before they were named.
        parameters: the number of weights.
        recipe: the recipe's name.
        training_set: the training set's name.
        images: the number of images learned from.
        precision: float32 or bfloat16.
        seconds: the duration of all epochs, measurements included.
        measurements: its figures on both parts of CIFAR-10, after the marked epochs.
        curve: one record per epoch.
    """

    initial: str
    start: str = ""
    parameters: int
    recipe: str
    training_set: str
    images: int
    precision: str
    seconds: float
    measurements: list[Measurement]
    curve: list[EpochRecord]

    @property
    def note(self) -> str:
        """The final accuracy on the test part, in words."""
        return f"{self.study}, {self.variant}: accuracy {self.at('test').accuracy:.3f}"

    def at(self, part: Part, epoch: int | None = None) -> Measurement:
        """Return the measurement on a part after an epoch; None is the last one."""
        return [m for m in self.measurements if m.part == part and epoch in (None, m.epoch)][-1]


class DivergedRecord(_Training):
    """A training whose loss stopped being finite."""

    reason: str

    @classmethod
    def of_copy(cls, letters: str, recipe: str, seed: int, reason: str) -> Self:
        """Return the record of a copy of the digit classifier."""
        variant = f"{letters} letters by {recipe}"
        return cls(study="taxonomy", variant=variant, body="small-cnn", seed=seed, reason=reason)

    @classmethod
    def of_reading(cls, name: str, reason: str) -> Self:
        """Return the record of a reading of the teacher."""
        return cls(study="readings", variant=name, body=BODIES["VGG16"], seed=0, reason=reason)

    def __str__(self) -> str:
        return f"{self.study}, {self.variant}, {self.body}, seed {self.seed}: {self.reason}"


class Magnified(_Record):
    """Accuracy and loss on test images magnified by a factor."""

    factor: float
    accuracy: float
    loss: float


class MagnifiedRecord(_Record):
    """A student on magnified test images, as trained and with bounded activations."""

    study: str
    variant: str
    body: str
    images: int
    as_trained: list[Magnified]
    bounded: list[Magnified]


class TeacherRecord(_Record):
    """The teacher.

    Attributes:
        name: its name.
        stand_in: whether another network is used in its place.
        parameters: the number of weights.
        start: the initial weights of its convolutional layers, in words; empty in records made
            before they were named, and for a stand-in.
        identity: a digest of the weights.
        measurements: its figures on both parts of CIFAR-10.
        temperature_errors: by temperature T, the largest difference between softmax(ln p / T) of
            its answers p to the test images and the softmax of its logits at T.
    """

    name: str
    stand_in: bool
    parameters: int
    start: str = ""
    identity: str
    measurements: list[Measurement]
    temperature_errors: dict[float, float]


class DigitRecord(_Record):
    """A copy of the digit classifier learned from some of the letters.

    Attributes:
        letters: a key of `digits.KINDS`.
        recipe: the recipe's name.
        images: the number of images learned from.
        seed: the seed of drawings, weights and order.
        accuracy: the accuracy on the test digits.
        per_digit: accuracy on each digit.
    """

    letters: str
    recipe: str
    images: int
    seed: int
    accuracy: float
    per_digit: list[float]

    @property
    def note(self) -> str:
        """The accuracy, in words."""
        return f"{self.letters} letters, {self.recipe}: accuracy {self.accuracy:.3f}"


class ThesisResult(_Record):
    """One reproduction.

    Attributes:
        unfinished: interrupted trainings, each up to its last mark. Only the tables show them.
    """

    papagaio: str
    packages: dict[str, str]
    command: str
    started: str
    seconds: float
    scale: Scale
    complete: bool
    machine: MachineRecord
    options: StudyOptions
    teacher: TeacherRecord | None
    trials: list[TrialRecord]
    unfinished: list[TrialRecord] = []
    diverged: list[DivergedRecord] = []
    digits: list[DigitRecord]
    magnified: list[MagnifiedRecord] = []
    readings: list[ReadingRecord] = []


def read_thesis(path: Path) -> ThesisResult:
    """Read `thesis.json`.

    Raises:
        BadSettings: it is missing, or not of this version.
    """
    try:
        return ThesisResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadSettings(
            f"{path} is not a result of a reproduction of this version; move it away, or choose "
            "another folder",
            field="out",
        ) from error
