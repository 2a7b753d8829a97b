"""`papagaio reproduce thesis` from its settings to its files; run again, it goes on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from papagaio import __version__, files
from papagaio.audit.log import Log, command_line
from papagaio.audit.record import machine_record
from papagaio.errors import BadSettings
from papagaio.progress import Step, Watch, remark, unwatched
from papagaio.students.headed import Design, build_headed
from papagaio.thesis.digits import study_digits
from papagaio.thesis.inputs import BODIES, Inputs, Weights, prepare
from papagaio.thesis.options import Options, Scale, read_options
from papagaio.thesis.page import write_pages
from papagaio.thesis.plan import EXPERIMENTS, STUDIES, Planner, Study
from papagaio.thesis.records import DigitRecord, ThesisResult, TrialRecord
from papagaio.thesis.trials import Ground, Trial, run_trial
from papagaio.training.loop import precision_for
from papagaio.training.machine import Machine, Precision, choose_device, cores
from papagaio.training.recipe import Recipe
from papagaio.workers import side_by_side

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


def reproduce(wanted: Reproduction, watch: Watch = unwatched) -> ThesisResult:
    """Reproduce the thesis, or parts of it: train what is missing, write the tables and the page.

    Args:
        wanted: what.
        watch: told how far it is.

    Returns:
        what stands in `thesis.json`.

    Raises:
        BadSettings, BadImages, Busy, NoSpace: see their texts.
        Diverged: a training's loss stopped being finite.
    """
    options = read_options(wanted.scale, wanted.options)
    _check_weights(wanted, options)
    with files.lock(wanted.out / ".lock"):
        log = Log(wanted.out / "log.jsonl")
        log.note("started", command=command_line(), papagaio=__version__)
        digits: list[DigitRecord] = []
        if "taxonomy" in wanted.studies:
            digits = study_digits(options.studies.digit_seeds, wanted.out / "digits", watch)
        machine = _machine(wanted, watch)
        inputs, trials, found = None, [], []
        try:
            if wanted.experiments or set(wanted.studies) != {"taxonomy"}:
                teacher = _measured_machine(wanted, BODIES["VGG16"], machine, watch)
                inputs = prepare(
                    options, wanted.weights, wanted.data_dir, teacher, wanted.out, watch
                )
                trials = _planned(wanted, options, inputs, machine, watch)
                for record in _run(wanted, inputs, trials, watch):
                    found.append(record)
                    log.note("trained", part=record.part, variant=record.variant, seed=record.seed)
        finally:
            # An interrupted run, too, shows what it has.
            result = ThesisResult(
                papagaio=__version__,
                command=command_line(),
                started=log.begun,
                seconds=log.seconds,
                scale=wanted.scale,
                complete=inputs is not None and len(found) == len(trials),
                machine=machine_record(machine, wanted.workers),
                options=options,
                teacher=inputs.teacher if inputs else None,
                trials=found,
                digits=digits,
            )
            write_pages(result, wanted.out)
            log.note("ended", complete=result.complete)
    return result


def _check_weights(wanted: Reproduction, options: Options) -> None:
    """Find out before anything is written whether a file of weights is missing."""
    starts = {"VGG16": options.students.vgg16, "MobileNetV2": options.students.mobilenet_v2}
    if wanted.weights.stand_in is None:
        wanted.weights.of(BODIES["VGG16"], options.teacher.weights)
    elif not wanted.weights.stand_in.is_file():
        raise BadSettings(f"--stand-in {wanted.weights.stand_in}: no such file")
    for name, initial in starts.items():
        wanted.weights.of(BODIES[name], initial)


def _machine(wanted: Reproduction, watch: Watch) -> Machine:
    device, why = choose_device(wanted.device)
    watch(remark(f"device {device}: {why}"))
    return Machine(device, threads=wanted.threads or max(1, cores() // wanted.workers))


def _planned(
    wanted: Reproduction, options: Options, inputs: Inputs, machine: Machine, watch: Watch
) -> list[Trial]:
    bodies = [*BODIES.values(), *options.studies.similar, "torchvision/vgg16_bn"]
    planner = Planner(
        options,
        inputs,
        wanted.weights,
        {body: _measured_machine(wanted, body, machine, watch) for body in bodies},
        wanted.seeds,
    )
    experiments = [trial for number in wanted.experiments for trial in planner.experiment(number)]
    return experiments + [trial for study in wanted.studies for trial in planner.study(study)]


def _run(
    wanted: Reproduction, inputs: Inputs, trials: Sequence[Trial], watch: Watch
) -> Iterator[TrialRecord]:
    ground = Ground(wanted.out / "trials", inputs.parts, inputs.probed)
    longest_first = sorted(trials, key=_cost, reverse=True) if wanted.workers > 1 else trials
    once = {trial.id: trial for trial in longest_first}
    jobs = [partial(_identified, ground, trial) for trial in once.values()]
    done = 0
    for name, found in side_by_side(jobs, wanted.workers, watch):
        # Two parts may share a training.
        for trial in [trial for trial in trials if trial.id == name]:
            record = trial.of(found)
            done += 1
            note = f"{record.part}, {record.variant}: accuracy {record.at('test').accuracy:.3f}"
            watch(Step("trials", done, len(trials), "trials", note))
            yield record


def _identified(ground: Ground, trial: Trial, watch: Watch) -> tuple[str, TrialRecord]:
    return trial.id, run_trial(ground, trial, watch)


def _cost(trial: Trial) -> int:
    heavy = 4 if "vgg" in trial.design.body else 1
    return heavy * trial.recipe.epochs * trial.lesson.size


def _measured_machine(wanted: Reproduction, body: str, machine: Machine, watch: Watch) -> Machine:
    """The machine with the precision that suits an architecture; what was chosen stays chosen."""
    if wanted.precision != "auto":
        return replace(machine, precision=wanted.precision)
    kept = wanted.out / "precisions.json"
    chosen: dict[str, Precision] = json.loads(kept.read_text()) if kept.exists() else {}
    if body not in chosen:
        network = build_headed(Design(body), "random", (32, 32, 3), 10, seed=0)
        nonsense = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
        chosen[body], why = precision_for(network, nonsense, Recipe("a measurement"), machine)
        watch(remark(f"precision {chosen[body]} for {body}: {why}"))
        files.write(kept, json.dumps(chosen))
    return replace(machine, precision=chosen[body])
