"""The study `readings`: a teacher by every reading of the grid, measured as Table 1 is."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch

from papagaio import files
from papagaio.errors import BadSettings, Diverged
from papagaio.jobs import Executor, Job, run_jobs
from papagaio.networks.headed import Architecture, build_headed
from papagaio.progress import Progress, no_progress
from papagaio.teaching.phases import teach
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.version import __version__
from papagaio_thesis.initial import digest_of_initial, initial_words
from papagaio_thesis.inputs import PARTS, load_parts
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.reading import PartFigures, Reading, ReadingRecord
from papagaio_thesis.records import DivergedRecord
from papagaio_thesis.teacher import CLASSES, SHAPE, teacher_phases

__all__ = ["ReadingContext", "readings_of", "run_reading", "study_readings"]

# The thesis has 14.8 million parameters, convolutional layers included.
_FEWEST, _MOST = 14_750_000, 14_850_000

# The fields of a reading; those that decide its frozen features come first.
_KEYS = ("side", "normalisation", "brightness", "pooling", "widths", "dropout", "unfrozen")


@dataclass(frozen=True)
class ReadingContext:
    """What the readings of a run share.

    Attributes:
        options: the options of the study.
        data_dir: the folder of CIFAR-10, or None.
        initial: the initial weights, in the form that `build_headed` takes.
        images: a digest of the images.
        machine: where teachers are trained.
        folder: records are kept here, and work in a subfolder for each group.
    """

    options: StudyOptions
    data_dir: Path | None
    initial: str
    images: str
    machine: Machine
    folder: Path

    def record_of(self, reading: Reading) -> Path:
        """Return a record's path, which differs where anything differs that decides the result."""
        options = reading.applied(self.options)
        decisive = [
            *(repr(reading), repr(options.teacher), options.images.owned, options.images.evaluated),
            *(self.images, digest_of_initial(self.initial), __version__),
            *(self.machine.device, self.machine.precision),
        ]
        digest = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
        return self.folder / f"{digest[:12]}.json"

    def work_of(self, reading: Reading) -> Path:
        """Return the folder of the readings that share frozen features with this one."""
        factors = "-".join(map(str, reading.brightness))
        return self.folder / f"work-{reading.side}-{reading.normalisation}-{factors}"


def readings_of(options: StudyOptions) -> list[Reading]:
    """Return the readings of the grid; those that share frozen features follow each other.

    Raises:
        BadSettings: no combination has as many parameters as the thesis's teacher.
    """
    grid = dict(options.studies.readings)
    readings: dict[object, Reading] = {}
    for values in product(*(grid[key] for key in _KEYS)):
        reading = Reading(**dict(zip(_KEYS, values, strict=True)))
        size = _parameters(replace(reading.applied(options).architecture(), normalisation="torch"))
        if _FEWEST <= size <= _MOST:
            # The mean of a single point is the point: with as many parameters, the same network.
            readings.setdefault((reading.model_copy(update={"pooling": "mean"}), size), reading)
    if not readings:
        raise BadSettings(
            f"studies.readings: no combination has {_FEWEST / 1e6:.2f} to {_MOST / 1e6:.2f} "
            "million parameters, as the thesis's teacher has; name other widths",
            field="options",
        )
    return list(readings.values())


@cache
def _parameters(architecture: Architecture) -> int:
    # Only shapes are needed, no numbers.
    with torch.device("meta"):
        network = build_headed(architecture, "random", SHAPE, CLASSES, seed=0)
    return sum(weight.numel() for weight in network.parameters())


def study_readings(
    context: ReadingContext, executor: Executor, progress: Progress = no_progress
) -> Iterator[ReadingRecord | DivergedRecord]:
    """Train and measure a teacher by every reading of the grid; finished ones are not repeated.

    Raises:
        BadSettings: the grid has no reading of the thesis's size.
        NoSpace: the disk is full.
    """
    readings = readings_of(context.options)
    by_id = {context.record_of(reading).stem: reading for reading in readings}
    left = Counter(context.work_of(reading) for reading in readings)
    jobs = [
        # Equal costs keep their order, so that a group's features can go before the next begins.
        Job(
            id=name,
            cost=reading.side**2,
            run=partial(run_reading, context, reading),
            finished=partial(_finished, context.record_of(reading)),
        )
        for name, reading in by_id.items()
    ]
    for job, outcome in run_jobs(jobs, executor, unit="readings", progress=progress):
        reading = by_id[job.id]
        work = context.work_of(reading)
        left[work] -= 1
        if not left[work]:
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(outcome, Diverged):
            yield DivergedRecord.of_reading(reading.name, str(outcome))
        else:
            yield outcome


def _finished(path: Path) -> ReadingRecord | None:
    return ReadingRecord.model_validate_json(path.read_bytes()) if path.exists() else None


def run_reading(
    context: ReadingContext, reading: Reading, progress: Progress = no_progress
) -> ReadingRecord:
    """Train the teacher by one reading and measure it, resuming an attempt that was interrupted.

    Raises:
        Diverged: the loss stopped being finite.
        NoSpace: the disk is full.
    """
    options, path = reading.applied(context.options), context.record_of(reading)
    work = context.work_of(reading)
    sets = load_parts("cifar10", context.data_dir, progress)
    own, owned = sets["train"], options.images.owned
    network = build_headed(options.architecture(), context.initial, SHAPE, CLASSES, seed=0)
    teach(
        network,
        own.pixels[:owned],
        own.required_labels[:owned],
        teacher_phases(options),
        seed=0,
        machine=context.machine,
        folder=work / path.stem,
        features=work / "features",
        progress=progress,
    )
    # As the teacher answers, whatever it was trained in.
    exact = replace(context.machine, precision="float32")
    size = options.images.evaluated
    train, test = (
        PartFigures.of(
            infer(network, sets[part].pixels[:size], exact, progress=progress),
            sets[part].required_labels[:size],
        )
        for part in PARTS
    )
    record = ReadingRecord(
        reading=reading,
        parameters=sum(weight.numel() for weight in network.parameters()),
        start=initial_words(context.initial),
        owned=len(own.pixels[:owned]),
        precision=context.machine.precision,
        train=train,
        test=test,
    )
    files.write(path, record.model_dump_json(indent=1))
    return record
