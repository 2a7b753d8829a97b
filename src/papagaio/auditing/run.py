"""An audit, from a black box and images to `result.json` and the report."""

from collections.abc import Sequence

from papagaio import files
from papagaio.asking import question_for
from papagaio.auditing import describing
from papagaio.auditing.cells import Cell, CellContext, cell_job
from papagaio.auditing.ensembles import ensemble_record, ensembles_of
from papagaio.auditing.log import Log, command_line
from papagaio.auditing.plan import AttackConfig, AuditImages
from papagaio.auditing.preparing import Prepared, prepare
from papagaio.auditing.querying import ask_plan, freeze_test_set, freeze_training_sets
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import Diverged
from papagaio.images.duplicates import near_duplicates
from papagaio.jobs import executor_for, run_jobs
from papagaio.ledger import Ledger
from papagaio.options import to_toml
from papagaio.progress import Progress, no_progress
from papagaio.report.page import write_report
from papagaio.result import CellRecord, DivergedRecord, Result, write_result
from papagaio.settings import AuditOptions
from papagaio.summary import summarise
from papagaio.version import __version__

__all__ = ["audit"]


def audit(
    box: BlackBox,
    images: AuditImages,
    options: AuditOptions,
    progress: Progress = no_progress,
    *,
    attacks: Sequence[AttackConfig] | None = None,
) -> Result:
    """Audit a black box: query, train, score, and write the run directory.

    Called again with the same options, it queries and trains only what is missing.

    Args:
        box: the black box.
        images: image sets of the shape that it takes.
        options: budgets, copies, machine, output.
        progress: told how far it is.
        attacks: how copies are made; None takes the responses and recipes of the options.

    Returns:
        what `result.json` holds; `report.html` shows it.

    Raises:
        BadImages: a set does not fit the black box.
        BadSettings: a response, recipe, student or device cannot be used.
        BadAnswer: the black box raised, broke its contract, or failed the check on the test set.
        BadLedger: the file is not a ledger, or holds answers with another number of classes.
        Busy: another process works in the run directory or on the ledger.
        NoSpace: the disk is full.
    """
    with files.locked_run(options.out, begun="config.toml"):
        prepared = prepare(box, images, options, attacks, progress)
        files.write(options.out / "config.toml", to_toml(prepared.options))
        log = Log(options.out / "log.jsonl")
        log.note("started", command=command_line(), papagaio=__version__)
        empty, context, cells = _ask(box, prepared, options, log, progress)
        return _train(prepared.options, empty, context, cells, log, progress)


def _ask(
    box: BlackBox, prepared: Prepared, given: AuditOptions, log: Log, progress: Progress
) -> tuple[Result, CellContext, list[Cell]]:
    """Ask everything; return the result without trainings, and the trainings with their data."""
    options, plan, out = prepared.options, prepared.plan, prepared.options.out
    with Ledger(options.ledger_path) as ledger:
        answers = ask_plan(plan, box, ledger, progress, unchecked=options.unchecked)
        (held,) = (t for t in ledger.totals() if t.question == question_for(box))
        canaries = ledger.canaries(held.question, log.begun)
    log.note("asked", answers=held.answers, interrupted=held.interrupted)
    sets = freeze_training_sets(plan, answers, box.contract, out / "inputs")
    test = freeze_test_set(plan.images["test"], answers["test"], box.contract, out / "inputs")
    context = CellContext(out / "cells", test, prepared.machine, options.checkpoint_seconds)
    cells = [
        Cell(training, data, prepared.initial_digest)
        for training, data in zip(plan.trainings, sets, strict=True)
    ]
    images, transfer = plan.images["test"], plan.images["transfer"]
    labels, names = images.required_labels, describing.class_names_of(box, images)
    black_box = describing.black_box_record(box, names, answers["test"], labels)
    empty = Result(
        papagaio=__version__,
        packages=describing.package_versions(),
        revision=describing.source_revision(),
        command=command_line(),
        started=log.begun,
        seconds=log.seconds,
        complete=False,
        authorised_by=options.authorised_by,
        unchecked=options.unchecked and not black_box.works,
        machine=describing.machine_record(
            prepared.machine, prepared.precision_reason, options.workers
        ),
        black_box=black_box,
        transfer=describing.transfer_record(transfer),
        test=describing.test_record(images, len(near_duplicates(images, transfer, progress))),
        queries=describing.queries_record(options, plan, held, canaries),
        named=describing.named_classes(answers["transfer"], names),
        references=describing.references_record(labels, box.contract.classes),
        trainings=len(cells),
        cells=[],
        diverged=[],
        summary=[],
        pictures=describing.pictures(transfer.pixels, answers["transfer"], names),
        settings=options.model_dump(mode="json", by_alias=True, exclude_none=True),
        settings_given=given.model_dump(mode="json", by_alias=True, exclude_unset=True),
    )
    return empty, context, cells


def _train(
    options: AuditOptions,
    empty: Result,
    context: CellContext,
    cells: Sequence[Cell],
    log: Log,
    progress: Progress,
) -> Result:
    """Train what is missing, and write the result and the report, also when interrupted."""
    jobs = [cell_job(context, cell) for cell in cells]
    records: dict[str, CellRecord] = {}
    diverged: list[DivergedRecord] = []
    try:
        executor = executor_for(options.workers)
        for job, outcome in run_jobs(jobs, executor, unit="trainings", progress=progress):
            if isinstance(outcome, Diverged):
                diverged.append(DivergedRecord(id=job.id, reason=str(outcome)))
                log.note("diverged", cell=job.id)
            else:
                records[job.id] = outcome
                log.note("trained", cell=job.id)
    finally:
        ordered = [records[job.id] for job in jobs if job.id in records]
        finished = [c for job, c in zip(jobs, cells, strict=True) if job.id in records]
        result = empty.model_copy(
            update={
                "seconds": log.seconds,
                "complete": len(ordered) == len(jobs),
                "cells": ordered,
                "ensembles": [ensemble_record(context, e) for e in ensembles_of(finished)],
                "diverged": diverged,
                "summary": summarise(ordered),
            }
        )
        write_result(result, options.out / "result.json")
        write_report(result, options.out / "report.html")
        log.note("ended", complete=result.complete)
    return result
