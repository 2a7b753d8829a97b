"""`papagaio list`: the audits under a folder, newest first, with their headlines."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from papagaio.cli.printing import AsJson, print_json, print_rows
from papagaio.errors import BadSettings

if TYPE_CHECKING:
    from papagaio.result import Result
    from papagaio.scores import Figure
    from papagaio.vocabulary import Level

__all__ = ["list_"]

_COLUMNS = (
    *("run", "started", "kind", "state", "trainings", "black box"),
    *("answers", "fidelity", "interval", "level"),
)


@dataclass(frozen=True)
class _Run:
    """A run and its headline; None is what is not known yet.

    Attributes:
        kind: what was run, `papagaio audit` or `papagaio estimate`.
        state: `asking` before anything was trained; `diverged` if all has ended, not all well.
        trained, trainings: how many trainings have ended with scores, and how many are planned.
        answers: those that the strongest copy learned from.
        fidelity, accuracy: of the strongest copy.
        level: the verdict's.
    """

    run: Path
    started: str | None
    state: Literal["complete", "diverged", "unfinished", "asking", "unreadable"]
    kind: Literal["audit", "estimate"] | None = None
    trained: int | None = None
    trainings: int | None = None
    black_box: str | None = None
    answers: int | None = None
    fidelity: "Figure | None" = None
    accuracy: "Figure | None" = None
    level: "Level | None" = None


def list_(
    folder: Annotated[Path, typer.Argument(help="Where to look, at any depth.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the audits and estimates under a folder, newest first, with their strongest copies.

    One line per run, tab-separated: `unfinished` runs are at work, or go on when their command is
    given again. Runs of another version are `unreadable`, and stderr says why.
    """
    if not folder.is_dir():
        raise BadSettings(f"{folder}: no such folder; name the one that holds your runs")
    runs = sorted(map(_read, _folders(folder)), key=lambda run: run.started or "", reverse=True)
    if as_json:
        print_json(runs)
    else:
        print_rows([_row(run) for run in runs], _COLUMNS)


def _folders(folder: Path) -> Iterator[Path]:
    """The folders of audits; what a run holds is not searched."""
    for where, inner, names in os.walk(folder):
        if "result.json" in names or {"config.toml", "log.jsonl"} <= {*names}:
            inner.clear()
            yield Path(where)
        inner[:] = [name for name in inner if not name.startswith(".")]


def _read(run: Path) -> _Run:
    from papagaio.auditing.log import first_time
    from papagaio.findings.strongest import strongest_copy
    from papagaio.result import read_result
    from papagaio.verdict import verdict_of

    if not (run / "result.json").exists():
        return _Run(run, first_time(run / "log.jsonl"), "asking")
    try:
        result = read_result(run / "result.json")
    except BadSettings as error:
        typer.echo(f"papagaio: {error}", err=True)
        return _Run(run, first_time(run / "log.jsonl"), "unreadable")
    copy = strongest_copy(result)
    return _Run(
        run,
        result.started,
        _state(result),
        "estimate" if "sample" in result.settings else "audit",
        len(result.cells),
        result.trainings,
        result.black_box.name,
        copy.budget if copy else None,
        copy.fidelity if copy else None,
        copy.accuracy if copy else None,
        verdict_of(result).level,
    )


def _state(result: "Result") -> Literal["complete", "diverged", "unfinished"]:
    if result.complete:
        return "complete"
    return "unfinished" if result.missing else "diverged"


def _row(run: _Run) -> dict[str, object]:
    figure = run.fidelity
    return {
        "run": run.run,
        "started": run.started and run.started[:19],
        "kind": run.kind,
        "state": run.state,
        "trainings": None if run.trainings is None else f"{run.trained}/{run.trainings}",
        "black box": run.black_box,
        "answers": run.answers,
        "fidelity": figure and f"{figure.value:.4f}",
        "interval": figure and f"{figure.low:.4f} to {figure.high:.4f}",
        "level": run.level,
    }
