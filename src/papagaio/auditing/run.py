"""An audit, from a black box and images to `result.json` and the report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.asking import question_for
from papagaio.auditing import describing
from papagaio.auditing.cells import cell_job
from papagaio.auditing.detail import copy_detail
from papagaio.auditing.distilled import DistilledCell, distilled_job
from papagaio.auditing.ensembles import ensemble_record, ensembles_of
from papagaio.auditing.frozen import Cell, CellContext
from papagaio.auditing.log import Log, command_line
from papagaio.auditing.plan import AttackConfig, AuditImages, attack_configs, make_plan
from papagaio.auditing.preparing import Prepared, prepare
from papagaio.auditing.querying import ask_plan, freeze_test_set, freeze_training_sets
from papagaio.auditing.unanswered import Unanswered, freeze_unanswered
from papagaio.auditing.until import audit_until
from papagaio.blackboxes.contract import BlackBox
from papagaio.controls import Purpose
from papagaio.errors import BadSettings, Diverged
from papagaio.executors.here import on_this_machine
from papagaio.executors.named import executor_for
from papagaio.images.duplicates import near_duplicates
from papagaio.jobs import Job, run_jobs
from papagaio.ledger import Ledger
from papagaio.options import to_toml
from papagaio.progress import Message, Progress, no_progress
from papagaio.report.page import write_report
from papagaio.result import (
    CellRecord,
    DivergedRecord,
    Queries,
    Result,
    UntilRecord,
    read_result,
    write_result,
)
from papagaio.settings import AuditOptions
from papagaio.summary import summarise
from papagaio.tracking.following import Following, follow, need_trackers
from papagaio.version import __version__

__all__ = ["audit"]

_CELLS = "cells"
_WITHOUT_COPIES = "fewer than two of its copies have scores, so there is nothing to distil"

# Runs the jobs that are not finished, and yields each with its outcome.
Run = Callable[[Sequence[Job[CellRecord]]], Iterator[tuple[Job[CellRecord], CellRecord | Diverged]]]


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
        BadSettings: a response, recipe, student, device or cluster cannot be used.
        BadAnswer: the black box raised, broke its contract, or failed the check on the test set.
        BadLedger: the file is not a ledger, or holds answers with another number of classes.
        Busy: another process works in the run directory or on the ledger.
        Diverged: with `until`, every training of a round did.
        Lost: a cluster lost its machines; what is finished is kept.
        NoSpace: the disk is full.
    """
    need_trackers(options.log_to)
    with files.locked_run(options.out, begun="config.toml"):
        prepared = prepare(box, images, options, attacks, progress)
        machine = prepared.machine
        executor = executor_for(
            options, options.out / _CELLS, device=machine.device, threads=machine.threads
        )
        files.write(options.out / "config.toml", to_toml(prepared.options))
        log = Log(options.out / "log.jsonl")
        log.note("started", command=command_line(), papagaio=__version__)
        run = partial(run_jobs, executor=executor, unit="trainings", progress=progress)
        # Students learn from the files of copies, which a machine of a Ray cluster does not have.
        near = on_this_machine(options.workers) if options.executor == "ray" else executor
        run_students = partial(run_jobs, executor=near, unit="students", progress=progress)
        session = _Session(box, images, options, log, run, run_students, progress)
        if options.until is None:
            return _audit(session, prepared)
        rounds = partial(_audit_a_round, session, prepared, attacks)
        most = min(options.budget, len(images.transfer))
        return audit_until(rounds, options.out, most, options.until, progress)


@dataclass(frozen=True)
class _Session:
    """What stays the same in every round of an audit; most have one round."""

    box: BlackBox
    images: AuditImages
    given: AuditOptions
    log: Log
    run: Run
    run_students: Run
    progress: Progress

    @property
    def is_repetition(self) -> bool:
        """Whether the run directory has the whole result of the same command."""
        try:
            earlier = read_result(self.given.out / "result.json")
        except BadSettings:  # there is none, or it is of another version
            return False
        return earlier.complete and earlier.settings_given == _plain(self.given)


def _audit_a_round(
    session: _Session,
    prepared: Prepared,
    attacks: Sequence[AttackConfig] | None,
    budgets: Sequence[int],
    until: UntilRecord,
) -> Result:
    """Ask about the largest budget; copies learn the smaller ones, and at the end that one too.

    A round before the end has neither controls nor students, and its result is incomplete.
    """
    ends, (*smaller, budget) = until.outcome is not None, budgets
    more = {} if ends else {"controls": (), "distil": False}
    chosen = {"budget": budget, "budgets": tuple(smaller)}
    options = prepared.options.model_copy(update=chosen | more)
    attacks = attacks or attack_configs(options, session.box.contract)
    plan = make_plan(options, session.images, attacks, options.students, session.progress)
    return _audit(session, replace(prepared, options=options, plan=plan), until)


def _audit(session: _Session, prepared: Prepared, until: UntilRecord | None = None) -> Result:
    asked = _ask(session, prepared, until)
    if until and until.outcome is None:
        budget = prepared.options.budget
        held_out = [cell for cell in asked.cells if cell.training.budget < budget]
        return _train(session, replace(asked, cells=held_out), Following({}, session.progress))
    given = session.given
    return _train(session, asked, follow(given.log_to, given.out, asked.empty, session.progress))


@dataclass(frozen=True)
class _Asked:
    """The result without trainings, the trainings with their data, and what students are shown."""

    empty: Result
    context: CellContext
    cells: list[Cell]
    unanswered: Unanswered | None


def _ask(session: _Session, prepared: Prepared, until: UntilRecord | None) -> _Asked:
    """Ask everything, and freeze in files what trainings read."""
    box, log, progress = session.box, session.log, session.progress
    options, plan, out = prepared.options, prepared.plan, prepared.options.out
    answers, queries = _answers(session, prepared)
    sets = freeze_training_sets(plan, answers, box.contract, out / "inputs")
    test = freeze_test_set(plan.images["test"], answers["test"], box.contract, out / "inputs")
    context = CellContext(out / _CELLS, test, prepared.machine, options.checkpoint_seconds)
    cells = [
        Cell(training, data, prepared.initial_digest)
        for training, data in zip(plan.trainings, sets, strict=True)
    ]
    images, transfer = plan.images["test"], plan.images["transfer"]
    unanswered = None
    if plan.students:
        file = out / "inputs" / "unanswered-images.npy"
        unseen = session.images
        unanswered = freeze_unanswered(unseen.transfer, unseen.pool, images, file, progress)
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
        machine=describing.machine_record(prepared.machine, prepared.precision_reason, options),
        black_box=black_box,
        transfer=describing.transfer_record(transfer),
        test=describing.test_record(images, len(near_duplicates(images, transfer, progress))),
        unanswered=unanswered and describing.unanswered_record(unanswered, len(transfer)),
        until=until,
        queries=queries,
        named=describing.named_classes(answers["transfer"], names),
        references=describing.references_record(labels, box.contract.classes),
        trainings=len(cells) + plan.students,
        cells=[],
        diverged=[],
        summary=[],
        pictures=describing.pictures(transfer.pixels, answers["transfer"], names),
        settings=options.model_dump(mode="json", by_alias=True, exclude_none=True),
        settings_given=_plain(session.given),
    )
    return _Asked(empty, context, cells, unanswered)


def _answers(
    session: _Session, prepared: Prepared
) -> tuple[dict[Purpose, NDArray[np.float32]], Queries]:
    """The black box's answers, float32 (N, K) for each purpose, and what was sent for them."""
    box, log, progress = session.box, session.log, session.progress
    options, plan = prepared.options, prepared.plan
    if not options.ledger_path.exists():
        progress(Message(f"ledger created: {options.ledger_path}, without any answer"))
    with Ledger(options.ledger_path) as ledger:
        answers = ask_plan(plan, box, ledger, progress, unchecked=options.unchecked)
        (held,) = (t for t in ledger.totals() if t.question == question_for(box))
        canaries = ledger.canaries(held.question, log.begun)
        seconds = ledger.seconds_asked(held.question)
    log.note("asked", answers=held.answers, interrupted=held.interrupted)
    return answers, describing.queries_record(options, plan, held, canaries, seconds)


def _train(session: _Session, asked: _Asked, followers: Following) -> Result:
    """Train what is missing, and write the result and the report, also when interrupted."""
    context, log = asked.context, session.log
    ended: dict[str, CellRecord | Diverged] = {}
    try:
        for job, outcome in session.run([cell_job(context, cell) for cell in asked.cells]):
            ended[job.id] = _noted(job.id, outcome, log, followers)
        ensembles, taught = ensembles_of(_finished(asked, ended)), []
        for cell in _students(asked, ended):
            if cell.copies in ensembles:
                taught.append(distilled_job(context, cell))
            else:
                name = context.id_of(cell)
                ended[name] = _noted(name, Diverged(_WITHOUT_COPIES), log, followers)
        for job, outcome in session.run_students(taught):
            ended[job.id] = _noted(job.id, outcome, log, followers)
    finally:
        result = _result(asked, ended, log)
        detail = copy_detail(result, context.folder, context.test)
        result = result.model_copy(update={"detail": detail})
        # A repetition goes through its rounds again, and must not replace the whole by a part.
        if not (_goes_on(result) and session.is_repetition):
            write_result(result, context.folder.with_name("result.json"))
            write_report(result, context.folder.with_name("report.html"))
        log.note("ended", complete=result.complete)
        followers.end(result)
    return result


def _goes_on(result: Result) -> bool:
    return result.until is not None and result.until.outcome is None


def _plain(given: AuditOptions) -> dict[str, Any]:
    return given.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _noted(
    name: str, outcome: CellRecord | Diverged, log: Log, followers: Following
) -> CellRecord | Diverged:
    log.note("diverged" if isinstance(outcome, Diverged) else "trained", cell=name)
    if isinstance(outcome, CellRecord):
        followers.trained(outcome)
    return outcome


def _finished(asked: _Asked, ended: Mapping[str, CellRecord | Diverged]) -> list[Cell]:
    names = {name for name, outcome in ended.items() if isinstance(outcome, CellRecord)}
    return [cell for cell in asked.cells if asked.context.id_of(cell) in names]


def _students(asked: _Asked, ended: Mapping[str, CellRecord | Diverged]) -> list[DistilledCell]:
    """If wanted, one per planned ensemble: of its finished copies, or of all if too few are."""
    if asked.unanswered is None:
        return []
    finished, students = _finished(asked, ended), []
    for copies in ensembles_of(asked.cells):
        left = tuple(copy for copy in copies if copy in finished)
        students.append(DistilledCell(left if len(left) > 1 else copies, asked.unanswered))
    return students


def _result(asked: _Asked, ended: Mapping[str, CellRecord | Diverged], log: Log) -> Result:
    """The result with what has ended so far, in the order of the plan and students last."""
    context, cells = asked.context, asked.cells
    names = [context.id_of(cell) for cell in cells]
    names += [context.id_of(cell) for cell in _students(asked, ended)]
    outcomes = [(name, ended[name]) for name in names if name in ended]
    records = [outcome for _, outcome in outcomes if isinstance(outcome, CellRecord)]
    ensembles = ensembles_of(_finished(asked, ended))
    return asked.empty.model_copy(
        update={
            "seconds": log.seconds,
            "complete": len(records) == asked.empty.trainings,
            "cells": records,
            "ensembles": [ensemble_record(context, copies) for copies in ensembles],
            "diverged": [
                DivergedRecord(id=name, reason=str(outcome))
                for name, outcome in outcomes
                if isinstance(outcome, Diverged)
            ],
            "summary": summarise(records),
        }
    )
