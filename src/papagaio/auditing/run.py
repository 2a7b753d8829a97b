"""Running an audit from its settings to `result.json`; run again, it goes on where it stopped."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from papagaio import files
from papagaio.asking import queries_owed, question_for
from papagaio.auditing.cells import Lesson, cells_of, lessons_of
from papagaio.auditing.inputs import Inputs, Purchase, Purpose, buy, purchases
from papagaio.auditing.log import Log, command_line
from papagaio.auditing.opening import Sets, open_all
from papagaio.auditing.record import (
    black_box_record,
    machine_record,
    pictures,
    queries_record,
    references_record,
    set_record,
)
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import BadSettings
from papagaio.images.duplicates import near_duplicates
from papagaio.ledger import Ledger, Totals
from papagaio.networks.named import build_student, check_student, default_student
from papagaio.progress import Progress, no_progress, remark
from papagaio.report.page import write_report
from papagaio.result import CellRecord, Result, TestRecord, write_result
from papagaio.settings import Settings, read_toml, settings_from, write_config
from papagaio.study import Study, run_cells
from papagaio.summary import summarise
from papagaio.training.machine import Machine, choose_device, cores
from papagaio.training.precision import settled_precision
from papagaio.version import __version__
from papagaio.weights import digest_weights, load_weights

__all__ = ["Forecast", "audit", "forecast", "run_audit"]


@dataclass(frozen=True)
class Forecast:
    """What an audit would do: its resolved settings, the queries still owed, and its trainings.

    In `total` an image of two purposes counts once.
    """

    settings: Settings
    queries: dict[Purpose, int]
    total: int
    trainings: int


def audit(settings: Settings, progress: Progress = no_progress) -> Result:
    """Audit a black box: ask, train, score, and write the run directory.

    Run again with the same settings, it pays and trains only what is missing.

    Args:
        settings: all of them.
        progress: told how far it is.

    Returns:
        what stands in `result.json`; `report.html` shows it.

    Raises:
        BadSettings, BadImages, BadAnswer, BadLedger, Busy, NoSpace: see their texts.
        Diverged: a training's loss stopped being finite.
    """
    with files.locked_run(settings.out, begun="config.toml"):
        box, sets = open_all(settings, settings.out / "images")
        lessons = lessons_of(settings, box.contract.shape)
        return run_audit(settings, box, sets, lessons, progress)


def run_audit(
    settings: Settings,
    box: BlackBox,
    sets: Sets,
    lessons: Sequence[Lesson],
    progress: Progress = no_progress,
) -> Result:
    """Audit a black box and images that are open already; as `audit`, which locks the run first."""
    settings, machine = _resolved(settings, box, sets, progress)
    bought = purchases(settings, sets)
    write_config(settings)
    log = Log(settings.out / "log.jsonl")
    log.note("started", command=command_line(), papagaio=__version__)
    with Ledger(settings.ledger_path) as ledger:
        inputs = buy(settings, box, sets, bought, ledger, progress)
        (held,) = (t for t in ledger.totals() if t.question == question_for(box))
    log.note("asked", answers=held.answers, interrupted=held.interrupted)
    described = _described(settings, box, sets, bought, inputs, held)
    cells = cells_of(settings, lessons, settings.students, inputs)
    study = Study(
        settings.out / "cells", inputs.test, inputs.labels, machine, settings.checkpoint_seconds
    )
    found: dict[str, CellRecord] = {}
    try:
        for record in run_cells(study, cells, workers=settings.workers, progress=progress):
            found[record.id] = record
            log.note("trained", cell=record.id)
    finally:
        # An interrupted run, too, shows what it has.
        records = [found[key] for cell in cells if (key := study.id_of(cell)) in found]
        result = Result(
            papagaio=__version__,
            command=command_line(),
            started=log.begun,
            seconds=log.seconds,
            complete=len(records) == len(cells),
            authorised_by=settings.authorised_by,
            machine=machine_record(machine, settings.workers),
            settings=settings.model_dump(mode="json", by_alias=True, exclude_none=True),
            cells=records,
            summary=summarise(records),
            **described,
        )
        write_result(result, settings.out / "result.json")
        write_report(result, settings.out / "report.html")
        log.note("ended", complete=result.complete)
    return result


def forecast(settings: Settings) -> Forecast:
    """What `audit` would do, without sending a query or writing a file that stays.

    Raises:
        BadSettings, BadImages, BadLedger: as `audit`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        box, sets = open_all(settings, Path(scratch))
        lessons = lessons_of(settings, box.contract.shape)
        settings, _ = _resolved(settings, box, sets, no_progress)
        bought = purchases(settings, sets)
        path = settings.ledger_path if settings.ledger_path.exists() else Path(scratch, "ledger")
        with Ledger(path) as ledger:
            digests = {p.purpose: p.images.digests[p.rows] for p in bought}
            owed = {purpose: queries_owed(box, rows, ledger) for purpose, rows in digests.items()}
            total = queries_owed(box, np.concatenate([*digests.values()]), ledger)
        floors_and_ceilings = sum(
            (control in ("labels", "own-data")) <= (sets.own is not None)
            for control in settings.controls
        )
        budgets = {min(budget, len(bought[0].rows)) for budget in settings.curve}
        copies = len(budgets) * len(settings.students) * len(lessons)
        trainings = (copies + floors_and_ceilings) * len(settings.seeds)
        return Forecast(settings, owed, total, trainings)


def _resolved(
    settings: Settings,
    box: BlackBox,
    sets: Sets,
    progress: Progress,
) -> tuple[Settings, Machine]:
    """The settings with nothing left to choose, and where they train.

    What an earlier session of the run chose stays chosen: another precision or number of threads
    would be another result. Students are checked before a precision is measured with one.
    """
    config = settings.out / "config.toml"
    earlier = settings_from(read_toml(config), str(config)) if config.exists() else settings
    students = settings.students or (default_student(sets.transfer.shape),)
    _check_students(settings.model_copy(update={"students": students}), box)
    device, why = choose_device(earlier.device if settings.device == "auto" else settings.device)
    progress(remark(f"device {device}: {why}"))
    precision = earlier.precision if settings.precision == "auto" else settings.precision
    threads = settings.threads or earlier.threads or max(1, cores() // settings.workers)
    machine = Machine(device, threads=threads)
    if precision == "auto":
        some, classes = sets.transfer.pixels[:64], box.contract.classes
        machine, why = settled_precision(
            students[0],
            lambda: build_student(students[0], "random", some, classes, seed=0),
            sets.transfer.shape,
            machine,
        )
        progress(remark(f"precision {machine.precision}: {why}"))
    else:
        machine = replace(machine, precision=precision)
    resolved = {
        "device": device,
        "precision": machine.precision,
        "threads": threads,
        "students": students,
    }
    return settings.model_copy(update=resolved), machine


def _check_students(settings: Settings, box: BlackBox) -> None:
    for name in settings.students:
        check_student(name, settings.initial, box.contract.shape, box.contract.classes)
    if settings.initial not in ("random", "library"):
        own = {box.identity}
        if settings.weights is not None:
            own.add(digest_weights(load_weights(settings.weights)))
        if digest_weights(load_weights(Path(settings.initial))) in own:
            raise BadSettings(
                f"--initial {settings.initial}: these are the black box's own weights; "
                "a student that is the black box measures nothing"
            )


def _described(
    settings: Settings,
    box: BlackBox,
    sets: Sets,
    bought: Sequence[Purchase],
    inputs: Inputs,
    held: Totals,
) -> dict[str, Any]:
    """The parts of the result that stand before the first training."""
    labels = np.load(inputs.labels)
    twins = near_duplicates(sets.test, sets.transfer)
    return {
        "black_box": black_box_record(box, inputs, labels),
        "transfer": set_record(sets.transfer),
        "test": TestRecord(**set_record(sets.test).model_dump(), near_duplicates=len(twins)),
        "queries": queries_record(settings, bought, held.interrupted, held.answers),
        "references": references_record(labels, box.contract.classes),
        "pictures": pictures(
            np.load(inputs.transfer.images, mmap_mode="r"),
            inputs.answers["transfer"],
            box.contract.class_names,
        ),
    }
