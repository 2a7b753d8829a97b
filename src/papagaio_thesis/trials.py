"""A trial: one student trained on one set of material and measured at its marks; resumable."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import logsumexp

from papagaio import files
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import Architecture, build_headed
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.inference import infer
from papagaio.training.loop import Epoch, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.version import __version__
from papagaio.weights import save_weights
from papagaio_thesis.reach import reach
from papagaio_thesis.records import EpochRecord, Measured, TrialRecord

__all__ = ["Ground", "Material", "Part", "Trial", "measured", "run_trial"]

# So many test images are where the search for the largest logit begins.
_REACHING = 8


@dataclass(frozen=True)
class Material:
    """What a student learns from: images, the teacher's answers and the true classes, in files.

    Attributes:
        name: what it is called.
        images: uint8 (N, H, W, C), an `.npy` file; answers: float32 (N, K), another.
        truth: int64 (N,), a third; used by recipes with `alpha` alone.
        size: how many images there are.
        digest: of images and answers.
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
class Trial:
    """One training: see `records.TrialRecord` for the words; `weights` is where `initial` lies."""

    study: str
    variant: str
    design: Architecture
    initial: str
    weights: str
    recipe: Recipe
    material: Material
    seed: int
    marks: tuple[int, ...]
    machine: Machine

    def of(self, record: TrialRecord) -> TrialRecord:
        """The record of the same training as one of another study."""
        return record.model_copy(update={"study": self.study, "variant": self.variant})


@dataclass(frozen=True)
class Ground:
    """What the trials of a run share.

    Attributes:
        folder: each makes a folder of its own in it.
        parts: what students are measured on.
        probed: how many test images are looked at after every epoch.
        checkpoint_seconds: the least time between two checkpoints of a training.
    """

    folder: Path
    parts: tuple[Part, ...]
    probed: int
    checkpoint_seconds: float = 10.0

    def id_of(self, trial: Trial) -> str:
        """A trial's name: readable, and another where anything that decides its result differs.

        Its study decides nothing (two may share a training), and neither does the number of
        threads, beyond the last digits.
        """
        what = asdict(trial) | {
            "material": trial.material.digest,
            "weights": _digest_of(trial.weights),
            "machine": (trial.machine.device, trial.machine.precision),
            "measured on": [part.size for part in self.parts] + [self.probed, _REACHING],
            "papagaio": __version__,
        }
        del what["study"], what["variant"]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        body = trial.design.body.rpartition("/")[2]
        words = f"{body} {trial.initial} {trial.recipe.name} {trial.material.name} {trial.seed}"
        return f"{words.replace(' ', '-').replace(',', '')}_{digest[:8]}"


@cache
def _digest_of(weights: str) -> str:
    path = Path(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else weights


def run_trial(ground: Ground, trial: Trial, progress: Progress = no_progress) -> TrialRecord:
    """Train a student and measure it, or read what an earlier run of the same trial left.

    Leaves in the trial's folder `student.safetensors` and, last of all, `record.json`.

    Raises:
        Diverged: the loss stopped being finite.
    """
    folder = ground.folder / ground.id_of(trial)
    kept = folder / "record.json"
    if kept.exists():
        return TrialRecord.model_validate_json(kept.read_bytes())
    material = trial.material
    images, answers = np.load(material.images, mmap_mode="r"), np.load(material.answers)
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
        Answers.of(answers),
        trial.recipe,
        seed=trial.seed,
        machine=trial.machine,
        labels=np.load(material.truth),
        checkpoints=Checkpoints(folder / "checkpoint", ground.checkpoint_seconds),
        progress=progress,
        visit=visit,
    )
    looks = [
        _Look.model_validate_json((folder / "epochs" / f"{epoch.number:03}.json").read_bytes())
        for epoch in epochs
    ]
    record = TrialRecord(
        study=trial.study,
        variant=trial.variant,
        body=trial.design.body,
        initial=trial.initial,
        parameters=sum(p.numel() for p in student.parameters()),
        recipe=trial.recipe.name,
        material=material.name,
        images=material.size,
        seed=trial.seed,
        precision=trial.machine.precision,
        seconds=round(sum(look.seconds for look in looks), 1),
        measured=[one for look in looks for one in look.measured],
        curve=[look.epoch for look in looks],
    )
    save_weights(folder / "student.safetensors", student)
    # Last of all: a trial with a record is finished.
    files.write(kept, record.model_dump_json(indent=1))
    (folder / "checkpoint").unlink(missing_ok=True)
    files.sweep(folder)
    return record


class _Look(BaseModel):
    """What was seen after one epoch; `seconds` is how long the epoch took."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    seconds: float
    epoch: EpochRecord
    measured: list[Measured]


def _look(student: Classifier, ground: Ground, trial: Trial, epoch: Epoch, seconds: float) -> _Look:
    (test,) = (part for part in ground.parts if part.name == "test")
    probe = measure(student, replace(test, size=ground.probed), trial, epoch.number)
    marked = ground.parts if epoch.number in trial.marks else ()
    return _Look(
        seconds=seconds,
        epoch=EpochRecord(
            loss=epoch.loss,
            agreement=epoch.distillation_accuracy,
            probe_accuracy=probe.accuracy,
            probe_loss=probe.loss,
            probe_worst_ten=probe.worst_ten,
            probe_logit=probe.largest_logit,
            reach=reach(student, np.load(test.images, mmap_mode="r")[:_REACHING], trial.machine),
        ),
        measured=[measure(student, part, trial, epoch.number) for part in marked],
    )


def measure(student: Classifier, part: Part, trial: Trial, epoch: int) -> Measured:
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
    # A single logit of a thousand million must not drown in its own rounding.
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
        worst_ten=float(losses[-10:].sum() / max(losses.sum(), 1e-300)),
        largest_logit=float(np.abs(exact).max()),
        per_class=[float(one.mean()) if len(one) else None for one in of_class],
    )
