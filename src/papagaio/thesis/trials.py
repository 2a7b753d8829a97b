"""A trial: one student trained on one lesson and measured at its marks; resumable."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors.torch import save
from scipy.special import logsumexp

from papagaio import files
from papagaio.progress import Watch, unwatched
from papagaio.students.headed import Design, build_headed
from papagaio.students.student import Student
from papagaio.thesis.records import EpochRecord, Measured, TrialRecord
from papagaio.training.loop import Checkpoints, Epoch, infer, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe

__all__ = ["Ground", "Lesson", "Part", "Trial", "measured", "run_trial"]


@dataclass(frozen=True)
class Lesson:
    """What a student learns from: files of images, the teacher's answers, and true classes.

    Attributes:
        name: what it is called.
        images: uint8 (N, H, W, C), an `.npy` file; answers: float32 (N, K), another.
        truth: int64 (N,), a third; used by recipes with `alpha` alone.
        size: how many images there are.
        digest: of all that.
    """

    name: str
    images: Path
    answers: Path
    truth: Path
    size: int
    digest: str


@dataclass(frozen=True)
class Part:
    """A part of CIFAR-10 that students are measured on.

    Attributes:
        name: `train` or `test`.
        images: uint8 (N, H, W, C), labels: int64 (N,), named: int64 (N,), the class that the
            teacher names; three `.npy` files.
        size: the first so many images count.
    """

    name: str
    images: Path
    labels: Path
    named: Path
    size: int


@dataclass(frozen=True)
class Ground:
    """What the trials of a run share: a folder, the parts, and the test images of a probe."""

    folder: Path
    parts: tuple[Part, ...]
    probed: int


@dataclass(frozen=True)
class Trial:
    """One training: see `records.TrialRecord` for the words; `weights` is where `initial` lies."""

    part: str
    variant: str
    design: Design
    initial: str
    weights: str
    recipe: Recipe
    lesson: Lesson
    seed: int
    marks: tuple[int, ...]
    machine: Machine

    @property
    def id(self) -> str:
        """Its name: readable, and another where anything that decides its result differs.

        What it is part of decides nothing: two parts may share a training.
        """
        what = asdict(self) | {"lesson": self.lesson.digest, "weights": self.initial}
        del what["part"], what["variant"]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        body = self.design.body.rpartition("/")[2]
        words = f"{body} {self.initial} {self.recipe.name} {self.lesson.name} {self.seed}"
        return f"{words.replace(' ', '-').replace(',', '')}_{digest[:8]}"

    def of(self, record: TrialRecord) -> TrialRecord:
        """The record of the same training as a part of something else."""
        return record.model_copy(update={"part": self.part, "variant": self.variant})


def run_trial(ground: Ground, trial: Trial, watch: Watch = unwatched) -> TrialRecord:
    """Train a student and measure it, or read what an earlier run of the same trial left.

    Leaves in the trial's folder `student.safetensors` and, last of all, `record.json`.

    Raises:
        Diverged: the loss stopped being finite.
    """
    folder = ground.folder / trial.id
    done = folder / "record.json"
    if done.exists():
        return trial.of(TrialRecord.model_validate_json(done.read_bytes()))
    lesson = trial.lesson
    images, answers = np.load(lesson.images, mmap_mode="r"), np.load(lesson.answers)
    shape = images.shape[1], images.shape[2], images.shape[3]
    student = build_headed(trial.design, trial.weights, shape, answers.shape[1], seed=trial.seed)
    since = time.monotonic()

    def visit(epoch: Epoch) -> None:
        nonlocal since
        looked = _look(student, ground, trial, epoch, time.monotonic() - since)
        files.write(folder / "epochs" / f"{epoch.number:03}.json", looked.model_dump_json())
        since = time.monotonic()

    epochs = train(
        student,
        images,
        answers,
        trial.recipe,
        seed=trial.seed,
        machine=trial.machine,
        labels=np.load(lesson.truth) if trial.recipe.alpha else None,
        checkpoints=Checkpoints(folder / "checkpoint"),
        watch=watch,
        visit=visit,
    )
    looks = [
        _Look.model_validate_json((folder / "epochs" / f"{epoch.number:03}.json").read_bytes())
        for epoch in epochs
    ]
    record = TrialRecord(
        part=trial.part,
        variant=trial.variant,
        body=trial.design.body,
        initial=trial.initial,
        parameters=sum(p.numel() for p in student.parameters()),
        recipe=trial.recipe.name,
        material=lesson.name,
        images=lesson.size,
        seed=trial.seed,
        precision=trial.machine.precision,
        seconds=round(sum(look.seconds for look in looks), 1),
        measured=[measured for look in looks for measured in look.measured],
        curve=[look.epoch for look in looks],
    )
    weights = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
    files.write(folder / "student.safetensors", save(weights))
    files.write(done, record.model_dump_json(indent=1))
    (folder / "checkpoint").unlink(missing_ok=True)
    return record


class _Look(BaseModel):
    """What was seen after one epoch; `seconds` is how long the epoch took."""

    seconds: float
    epoch: EpochRecord
    measured: list[Measured]


def _look(student: Student, ground: Ground, trial: Trial, epoch: Epoch, seconds: float) -> _Look:
    (test,) = (part for part in ground.parts if part.name == "test")
    probe = measure(student, replace(test, size=ground.probed), trial, epoch.number)
    marked = ground.parts if epoch.number in trial.marks else ()
    return _Look(
        seconds=seconds,
        epoch=EpochRecord(
            loss=epoch.loss,
            agreement=epoch.agreement,
            probe_accuracy=probe.accuracy,
            probe_loss=probe.loss,
            probe_worst_ten=probe.worst_ten,
            probe_logit=probe.largest_logit,
        ),
        measured=[measure(student, part, trial, epoch.number) for part in marked],
    )


def measure(student: Student, part: Part, trial: Trial, epoch: int) -> Measured:
    """Measure a student on a part of CIFAR-10, after an epoch."""
    images = np.load(part.images, mmap_mode="r")[: part.size]
    logits = infer(student, images, trial.machine, trial.recipe.augmentation)
    return measured(logits, np.load(part.labels), np.load(part.named), part.name, epoch)


def measured(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    named: NDArray[np.int64],
    part: str,
    epoch: int,
) -> Measured:
    """What logits are worth.

    Args:
        logits: float32 (N, K).
        labels: int64 (N or more,), the true classes.
        named: int64 (N or more,), the teacher's.
        part: `train` or `test`.
        epoch: after which.
    """
    n, classes = logits.shape
    labels, said = labels[:n], logits.argmax(1)
    exact = logits.astype(np.float64)
    losses = np.sort(logsumexp(exact, axis=1) - exact[np.arange(n), labels])
    hits = said == labels
    of_class = [hits[labels == c] for c in range(classes)]
    return Measured(
        epoch=epoch,
        part=part,
        images=n,
        accuracy=float(hits.mean()),
        loss=float(losses.mean()),
        agreement=float((said == named[:n]).mean()),
        median_loss=float(np.median(losses)),
        worst_ten=float(losses[-10:].sum() / losses.sum()),
        largest_logit=float(np.abs(exact).max()),
        per_class=[float(one.mean()) if len(one) else None for one in of_class],
    )
