"""`papagaio reproduce thesis` from its settings to its files; run again, it goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from papagaio.auditing.record import machine_record
from papagaio.workers import side_by_side

from papagaio import files
from papagaio.auditing.log import Log, command_line
from papagaio.errors import BadSettings, Diverged
from papagaio.images.named import open_source
from papagaio.networks.headed import Design, build_headed
from papagaio.progress import Progress, Step, no_progress, remark
from papagaio.training.machine import Machine, Precision, choose_device, cores
from papagaio.training.precision import settled_precision
from papagaio.version import __version__
from papagaio_thesis.digits import study_digits
from papagaio_thesis.inputs import BODIES, IMAGE_SETS, Inputs, Weights, prepare
from papagaio_thesis.kept import joined, name_of, read_earlier
from papagaio_thesis.magnified import magnified
from papagaio_thesis.options import Options, Scale, read_options
from papagaio_thesis.page import write_pages
from papagaio_thesis.plan import EXPERIMENTS, STUDIES, Planner, Study
from papagaio_thesis.records import DigitRecord, MagnifiedRecord, ThesisResult, TrialRecord
from papagaio_thesis.trials import Ground, Trial, run_trial

__all__ = ["Reproduction", "reproduce"]


@dataclass(frozen=True)
class Reproduction:
    """What is to be reproduced, and where.

    Attributes:
        out: the run's folder.
        scale: `full`, or the laptop-sized sibling `small`.
        experiments: of 1 to 4.
        studies: see `plan.Study`.
        seeds: how many of each experiment.
        options: a TOML file of options that differ from the study file's.
        weights: where they lie.
        data_dir: where the Parquet files of both CIFARs lie; None downloads them.
        device, precision, threads, workers: as in an audit.
    """

    out: Path
    scale: Scale = "full"
    experiments: Sequence[int] = tuple(EXPERIMENTS)
    studies: Sequence[Study] = STUDIES
    seeds: int = 1
    options: Path | None = None
    weights: Weights = field(default_factory=Weights)
    data_dir: Path | None = None
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | None = None
    workers: int = 1


def reproduce(wanted: Reproduction, progress: Progress = no_progress) -> ThesisResult:
    """Reproduce the thesis, or parts of it: train what is missing, write the tables and the page.

    Args:
        wanted: what.
        progress: told how far it is.

    Returns:
        what stands in `thesis.json`.

    Raises:
        BadSettings, BadImages, Busy, NoSpace: see their texts.
        Diverged: of some trainings the loss stopped being finite; all else was done and written.
    """
    options = read_options(wanted.scale, wanted.options)
    _check(wanted, options)
    with files.lock(wanted.out / ".lock"):
        log = Log(wanted.out / "log.jsonl")
        log.note("started", command=command_line(), papagaio=__version__)
        earlier = read_earlier(wanted.out / "thesis.json", options, wanted.scale)
        digits = earlier.digits if earlier else []
        if "taxonomy" in wanted.studies:
            digits = study_digits(options.studies.digit_seeds, wanted.out / "digits", progress)
        done = _Done(digits)
        try:
            _work(wanted, options, done, log, progress)
        finally:
            # An interrupted run, too, shows what it has; one that found nothing changes nothing.
            result = joined(earlier, _result(wanted, options, done, log))
            if done.found or done.diverged or "taxonomy" in wanted.studies:
                write_pages(result, wanted.out)
            log.note("ended", complete=result.complete)
    if done.diverged:
        rest = "without it" if len(done.diverged) == 1 else "without them"
        raise Diverged(f"{'; '.join(done.diverged)}; {wanted.out / 'thesis.html'} is {rest}")
    return result


@dataclass
class _Done:
    """What a run has found so far: a record a trial, or in `diverged` why there is none.

    `planned` is how many trials there are to be, once that is known.
    """

    digits: list[DigitRecord]
    inputs: Inputs | None = None
    planned: int | None = None
    found: list[TrialRecord] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    magnified: list[MagnifiedRecord] = field(default_factory=list)


def _work(
    wanted: Reproduction, options: Options, done: _Done, log: Log, progress: Progress
) -> None:
    """Do what is wanted; `done` fills as it goes, for the end may come at any moment."""
    if not wanted.experiments and not set(wanted.studies) - {"taxonomy"}:
        done.planned = 0
        return
    done.inputs, trials = _planned(wanted, options, progress)
    done.planned = len(trials)
    ground = Ground(wanted.out / "trials", done.inputs.parts, options.images.probed)
    for trial, ended in _run(wanted, ground, trials, progress):
        if isinstance(ended, str):
            name = name_of(trial.study, trial.variant, trial.design.body, trial.seed)
            done.diverged.append(f"{name}: {ended}")
        else:
            done.found.append(ended)
            if "magnified" in wanted.studies and _is_magnified(trial):
                done.magnified.append(magnified(ground, trial))
        what = "diverged" if isinstance(ended, str) else "trained"
        log.note(what, study=trial.study, variant=trial.variant, seed=trial.seed)


def _result(wanted: Reproduction, options: Options, done: _Done, log: Log) -> ThesisResult:
    machine = machine_record(_machine(wanted), wanted.workers)
    return ThesisResult(
        papagaio=__version__,
        command=command_line(),
        started=log.begun,
        seconds=log.seconds,
        scale=wanted.scale,
        complete=len(done.found) == done.planned,
        # Each trial has the precision that was chosen for its architecture.
        machine=machine.model_copy(update={"precision": wanted.precision}),
        options=options,
        teacher=done.inputs and done.inputs.teacher,
        trials=done.found,
        diverged=done.diverged,
        digits=done.digits,
        magnified=done.magnified,
    )


def _is_magnified(trial: Trial) -> bool:
    experiment = trial.study.startswith("experiment") and trial.variant == "thesis"
    return trial.seed == 0 and (experiment or trial.study == "explosion")


def _check(wanted: Reproduction, options: Options) -> None:
    """Find out before anything is written whether something that will be needed is not there."""
    choose_device(wanted.device)
    if wanted.data_dir is not None:
        for name in IMAGE_SETS:
            open_source(name, data_dir=wanted.data_dir)
    if "similar" in wanted.studies:
        for body in options.studies.similar:
            build_headed(Design(body), "random", (32, 32, 3), 10, seed=0)
    starts = {"VGG16": options.students.vgg16, "MobileNetV2": options.students.mobilenet_v2}
    if wanted.weights.stand_in is None:
        wanted.weights.of(BODIES["VGG16"], options.teacher.weights)
    elif not wanted.weights.stand_in.is_file():
        raise BadSettings(f"--stand-in {wanted.weights.stand_in}: no such file")
    for name, initial in starts.items():
        wanted.weights.of(BODIES[name], initial)
    if "start" in wanted.studies:
        wanted.weights.of(BODIES["MobileNetV2"], "imagenet")
        if wanted.weights.stand_in is None:
            wanted.weights.of(BODIES["VGG16"], "imagenet")


def _machine(wanted: Reproduction) -> Machine:
    device, _ = choose_device(wanted.device)
    return Machine(device, threads=wanted.threads or max(1, cores() // wanted.workers))


def _planned(
    wanted: Reproduction, options: Options, progress: Progress
) -> tuple[Inputs, list[Trial]]:
    """What trials read, and the trials that are wanted."""
    device, why = choose_device(wanted.device)
    progress(remark(f"device {device}: {why}"))

    def machine_of(body: str) -> Machine:
        if wanted.precision != "auto":
            return replace(_machine(wanted), precision=wanted.precision)
        kept, nonsense = wanted.out / "precisions.json", np.zeros((32, 32, 32, 3), np.uint8)
        build = partial(build_headed, Design(body), "random", (32, 32, 3), 10, seed=0)
        return settled_precision(kept, body, build, nonsense, _machine(wanted), progress)

    inputs = prepare(
        options, wanted.weights, wanted.data_dir, machine_of(BODIES["VGG16"]), wanted.out, progress
    )
    planner = Planner(options, inputs, wanted.weights, machine_of, wanted.experiments, wanted.seeds)
    experiments = [trial for number in wanted.experiments for trial in planner.experiment(number)]
    studies = [trial for study in wanted.studies for trial in planner.study(study)]
    return inputs, experiments + studies


def _run(
    wanted: Reproduction, ground: Ground, trials: Sequence[Trial], progress: Progress
) -> Iterator[tuple[Trial, TrialRecord | str]]:
    """Train what is missing, and give each record, or the words of why a training diverged."""
    longest_first = sorted(trials, key=_cost, reverse=True) if wanted.workers > 1 else trials
    once = {ground.id_of(trial): trial for trial in longest_first}
    jobs = [partial(_identified, ground, trial) for trial in once.values()]
    done = 0
    for name, found in side_by_side(jobs, wanted.workers, progress):
        # Two studies may share a training.
        for trial in [trial for trial in trials if ground.id_of(trial) == name]:
            done += 1
            if isinstance(found, str):
                progress(remark(f"{trial.study}, {trial.variant}: {found}"))
                yield trial, found
                continue
            record = trial.of(found)
            note = f"{record.study}, {record.variant}: accuracy {record.at('test').accuracy:.3f}"
            progress(Step("trials", done, len(trials), "trials", note))
            yield trial, record


def _identified(ground: Ground, trial: Trial, progress: Progress) -> tuple[str, TrialRecord | str]:
    """A trial's name, and its record or the words of why there is none."""
    try:
        return ground.id_of(trial), run_trial(ground, trial, progress)
    except Diverged as error:
        return ground.id_of(trial), str(error)


def _cost(trial: Trial) -> int:
    # Roughly what a step costs: only the order matters.
    heavy = 4 if "vgg" in trial.design.body else 1
    return heavy * trial.recipe.epochs * trial.material.size
