"""`thesis.json`: what the reproduction found; everything its tables, figure and claims show."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from papagaio.errors import BadSettings
from papagaio.result import MachineRecord
from papagaio_thesis.options import Options, Scale

__all__ = [
    "DigitRecord",
    "EpochRecord",
    "Magnified",
    "MagnifiedRecord",
    "Measured",
    "TeacherRecord",
    "ThesisResult",
    "TrialRecord",
    "read_thesis",
]


class _Record(BaseModel):
    # A diverged student's figures may be no numbers.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Measured(_Record):
    """A network on one part of CIFAR-10.

    Attributes:
        epoch: after which it was measured; the last one for a teacher.
        part: `train` or `test`.
        images: on how many.
        accuracy, loss: share of true classes named, and mean cross-entropy with them in nats.
        agreement: share of images on which it names the teacher's class.
        median_loss: of an image.
        worst_ten: the share of the whole loss that the ten images with the largest carry.
        largest_logit: the largest absolute one.
        per_class: accuracy on each true class; None where it has no image.
    """

    epoch: int
    part: str
    images: int
    accuracy: float
    loss: float
    agreement: float
    median_loss: float
    worst_ten: float
    largest_logit: float
    per_class: list[float | None]


class EpochRecord(_Record):
    """One epoch of a student: what it learned, and a look at the first test images.

    Attributes:
        loss, agreement: mean loss and distillation accuracy on the transfer set, in passing.
        probe_accuracy, probe_loss: on the first test images.
        probe_worst_ten, probe_logit: as `Measured.worst_ten` and `largest_logit`.
        reach: the largest logit that the first of them can be brought to, see `reach`; None in
            records from before it was measured.
    """

    loss: float
    agreement: float
    probe_accuracy: float
    probe_loss: float
    probe_worst_ten: float
    probe_logit: float
    reach: float | None = None


class TrialRecord(_Record):
    """One training of a student, and what came of it.

    Attributes:
        study: `experiment 1` to `experiment 4`, or one of `plan.STUDIES`.
        variant: what tells it from the others of its study.
        body, initial: the architecture, and its weights at the start.
        images: of `material` learned from.
        precision: float32 or bfloat16.
    """

    study: str
    variant: str
    body: str
    initial: str
    parameters: int
    recipe: str
    material: str
    images: int
    seed: int
    precision: str
    seconds: float
    measured: list[Measured]
    curve: list[EpochRecord]

    def at(self, part: str, epoch: int | None = None) -> Measured:
        """What was measured on a part after an epoch, or at the end."""
        found = [m for m in self.measured if m.part == part and epoch in (None, m.epoch)]
        return found[-1]


class Magnified(_Record):
    """Accuracy and loss on test images that are `factor` times as large."""

    factor: float
    accuracy: float
    loss: float


class MagnifiedRecord(_Record):
    """A trained student on `images` magnified images: as it is, and with its activations cut."""

    study: str
    variant: str
    body: str
    images: int
    whole: list[Magnified]
    cut: list[Magnified]


class TeacherRecord(_Record):
    """The teacher, and whether another stands in for it.

    `temperature_errors`: for some temperatures T, how far softmax(ln p / T) of its answers p on the
    test images lies from the softmax of its logits at T, at most.
    """

    name: str
    stand_in: bool
    parameters: int
    identity: str
    measured: list[Measured]
    temperature_errors: dict[float, float]


class DigitRecord(_Record):
    """A copy of the digit classifier made from some of the letters: accuracy on each digit."""

    letters: str
    recipe: str
    images: int
    seed: int
    accuracy: float
    per_digit: list[float]


class ThesisResult(_Record):
    """One reproduction; `diverged` names the trainings whose loss stopped being finite."""

    papagaio: str
    command: str
    started: str
    seconds: float
    scale: Scale
    complete: bool
    machine: MachineRecord
    options: Options
    teacher: TeacherRecord | None
    trials: list[TrialRecord]
    diverged: list[str] = []
    digits: list[DigitRecord]
    magnified: list[MagnifiedRecord] = []


def read_thesis(path: Path) -> ThesisResult:
    """Read `thesis.json`.

    Raises:
        BadSettings: it is missing, or none of this version.
    """
    try:
        return ThesisResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadSettings(
            f"{path}: no result of a reproduction of this version; move it away, or name another "
            "--out"
        ) from error
