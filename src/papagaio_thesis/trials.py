"""A trial: one student, trained on one training set and measured at its marks; resumable."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from papagaio import files
from papagaio.jobs import Job
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import Architecture, build_headed
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.loop import Epoch, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.version import __version__
from papagaio.weights import save_weights
from papagaio_thesis.initial import digest_of_initial, initial_words
from papagaio_thesis.measuring import EvaluationSet, measure
from papagaio_thesis.options import Initial
from papagaio_thesis.reach import reach
from papagaio_thesis.records import DivergedRecord, EpochRecord, Measurement, TrialRecord

__all__ = [
    "TrainingSet",
    "Trial",
    "TrialContext",
    "run_trial",
    "student_of",
    "trial_job",
    "unfinished",
]

# The number of test images from which `reach` starts.
_REACH_IMAGES = 8


@dataclass(frozen=True)
class TrainingSet:
    """Images, the teacher's answers to them and their true classes, as frozen arrays.

    Attributes:
        name: the name of the set.
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), probabilities.
        labels: int64 (N,), the true classes; only recipes with `alpha` use them.
        size: the number of images.
        digest: the digest of images and answers.
    """

    name: str
    images: files.Frozen
    answers: files.Frozen
    labels: files.Frozen
    size: int
    digest: str


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        study: `experiment 1` to `experiment 4`, or a `Study`.
        variant: distinguishes the trials of a study.
        architecture: the student's architecture.
        initial: initial weights of its convolutional layers.
        weights: where those are, in the form that `build_headed` takes.
        recipe: how it is trained.
        training_set: what it learns from.
        seed: the seed of weights, order and augmentation.
        marks: after these epochs it is measured on all evaluation sets.
        machine: where it is trained.
    """

    study: str
    variant: str
    architecture: Architecture
    initial: Initial
    weights: str
    recipe: Recipe
    training_set: TrainingSet
    seed: int
    marks: tuple[int, ...]
    machine: Machine

    def labelled(self, record: TrialRecord) -> TrialRecord:
        """Return the record of the same training under this trial's study and variant."""
        return record.model_copy(update={"study": self.study, "variant": self.variant})

    def diverged(self, reason: str) -> DivergedRecord:
        """Return the record of this trial if it diverged."""
        return DivergedRecord(
            study=self.study,
            variant=self.variant,
            body=self.architecture.body,
            seed=self.seed,
            reason=reason,
        )


@dataclass(frozen=True)
class TrialContext:
    """What the trials of a run share.

    Attributes:
        folder: each trial gets a subfolder here.
        train: the train part of CIFAR-10, to measure students on.
        test: the test part.
        probed: after every epoch, a student is measured on the first `probed` test images.
        checkpoint_seconds: minimum seconds between two checkpoints of a training.
    """

    folder: Path
    train: EvaluationSet
    test: EvaluationSet
    probed: int
    checkpoint_seconds: float = 10.0

    @property
    def probe(self) -> EvaluationSet:
        """The first test images."""
        return replace(self.test, size=self.probed)

    def folder_of(self, trial: Trial) -> Path:
        """Return a trial's folder."""
        return self.folder / self.id_of(trial)

    def id_of(self, trial: Trial) -> str:
        """Return a readable name, which differs where anything differs that decides the result.

        The study does not (two may share a training), and neither does the number of threads,
        which changes only the last digits.
        """
        decisive = vars(trial) | {
            "training_set": trial.training_set.digest,
            "weights": digest_of_initial(trial.weights),
            "machine": (trial.machine.device, trial.machine.precision),
            "measured_on": [self.train.size, self.test.size, self.probed, _REACH_IMAGES],
            "papagaio": __version__,
        }
        del decisive["study"], decisive["variant"]
        digest = hashlib.sha256(
            json.dumps(decisive, sort_keys=True, default=asdict).encode()
        ).hexdigest()
        body = trial.architecture.body.rpartition("/")[2]
        words = f"{body} {trial.initial} {trial.recipe.name} {trial.training_set.name} {trial.seed}"
        return f"{words.replace(' ', '-').replace(',', '')}_{digest[:8]}"


def trial_job(context: TrialContext, trial: Trial) -> Job[TrialRecord]:
    """Return a trial as a job."""
    # A step of VGG16 takes roughly four times as long as one of MobileNetV2.
    step = 4 if "vgg" in trial.architecture.body else 1
    return Job(
        id=context.id_of(trial),
        cost=step * trial.recipe.epochs * trial.training_set.size,
        run=partial(run_trial, context, trial),
        finished=partial(_finished, context, trial),
    )


def _finished(context: TrialContext, trial: Trial) -> TrialRecord | None:
    path = context.folder_of(trial) / "record.json"
    return TrialRecord.model_validate_json(path.read_bytes()) if path.exists() else None


def unfinished(context: TrialContext, trial: Trial) -> TrialRecord | None:
    """Return the record of an interrupted training, up to its last mark.

    None if the training is finished or was interrupted before its first mark.
    """
    folder = context.folder_of(trial)
    reached = [mark for mark in trial.marks if _epoch_file(folder, mark).exists()]
    if _finished(context, trial) or not reached:
        return None
    return _record(trial, student_of(trial), _read_figures(folder, max(reached)))


def student_of(trial: Trial) -> Classifier:
    """Build a trial's student, with its initial weights."""
    _, *shape = files.read_array(trial.training_set.images).shape
    classes = files.read_array(trial.training_set.answers).shape[1]
    height, width, channels = shape
    return build_headed(
        trial.architecture, trial.weights, (height, width, channels), classes, seed=trial.seed
    )


def run_trial(context: TrialContext, trial: Trial, progress: Progress = no_progress) -> TrialRecord:
    """Train a student and measure it, resuming an earlier attempt that was interrupted.

    Leaves in the trial's folder `student.safetensors` and, last of all, `record.json`.

    Raises:
        Diverged: the loss stopped being finite.
        NoSpace: the disk is full.
    """
    folder, training_set = context.folder_of(trial), trial.training_set
    student = student_of(trial)
    begun = time.monotonic()

    def visit(epoch: Epoch) -> None:
        nonlocal begun
        seconds = time.monotonic() - begun
        figures = _epoch_figures(student, context, trial, epoch, seconds, progress)
        files.write(_epoch_file(folder, epoch.number), figures.model_dump_json())
        begun = time.monotonic()

    epochs = train(
        student,
        files.read_array(training_set.images),
        Answers.of(np.asarray(files.read_array(training_set.answers))),
        trial.recipe,
        seed=trial.seed,
        machine=trial.machine,
        labels=np.asarray(files.read_array(training_set.labels)),
        checkpoints=Checkpoints(folder / "checkpoint", context.checkpoint_seconds),
        progress=progress,
        visit=visit,
    )
    record = _record(trial, student, _read_figures(folder, len(epochs)))
    save_weights(folder / "student.safetensors", student)
    # Last of all: a trial with a record is finished.
    files.write(folder / "record.json", record.model_dump_json(indent=1))
    (folder / "checkpoint").unlink(missing_ok=True)
    files.sweep(folder)
    return record


class _EpochFigures(BaseModel):
    """An epoch's record, its measurements if it is marked, and how many seconds it took."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    seconds: float
    epoch: EpochRecord
    measurements: list[Measurement]


def _epoch_file(folder: Path, epoch: int) -> Path:
    return folder / "epochs" / f"{epoch:03}.json"


def _read_figures(folder: Path, epochs: int) -> list[_EpochFigures]:
    return [
        _EpochFigures.model_validate_json(_epoch_file(folder, epoch).read_bytes())
        for epoch in range(1, epochs + 1)
    ]


def _epoch_figures(
    student: Classifier,
    context: TrialContext,
    trial: Trial,
    epoch: Epoch,
    seconds: float,
    progress: Progress = no_progress,
) -> _EpochFigures:
    measured = partial(
        measure,
        student,
        machine=trial.machine,
        epoch=epoch.number,
        augmentation=trial.recipe.augmentation,
    )
    probe = measured(context.probe)
    marked = (context.train, context.test) if epoch.number in trial.marks else ()
    return _EpochFigures(
        seconds=seconds,
        epoch=EpochRecord(
            loss=epoch.loss,
            distillation_accuracy=epoch.distillation_accuracy,
            probe_accuracy=probe.accuracy,
            probe_loss=probe.loss,
            probe_worst_ten=probe.worst_ten,
            probe_logit=probe.largest_logit,
            reach=reach(student, context.test.pixels()[:_REACH_IMAGES], trial.machine),
        ),
        measurements=[measured(one, progress=progress) for one in marked],
    )


def _record(trial: Trial, student: Classifier, figures: list[_EpochFigures]) -> TrialRecord:
    return TrialRecord(
        study=trial.study,
        variant=trial.variant,
        body=trial.architecture.body,
        seed=trial.seed,
        initial=trial.initial,
        start=initial_words(trial.weights),
        parameters=sum(p.numel() for p in student.parameters()),
        recipe=trial.recipe.name,
        training_set=trial.training_set.name,
        images=trial.training_set.size,
        precision=trial.machine.precision,
        seconds=round(sum(one.seconds for one in figures), 1),
        measurements=[one for each in figures for one in each.measurements],
        curve=[one.epoch for one in figures],
    )
