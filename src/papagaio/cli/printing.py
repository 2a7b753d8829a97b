"""What commands print for other programs: columns or JSON, on stdout."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from papagaio.result import Result

__all__ = ["AsJson", "print_json", "print_result", "print_rows"]

AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of text.", rich_help_panel="Output"),
]


def print_json(value: object) -> None:
    """Print dataclasses, models and plain values as one JSON value."""
    from pydantic_core import to_json

    typer.echo(to_json(value, indent=1, inf_nan_mode="null"))


def print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print a line of names and a line per row, tab-separated; `-` stands for what is not there."""
    typer.echo("\t".join(columns))
    for row in rows:
        cells = ("-" if row[name] is None else str(row[name]) for name in columns)
        # A name may hold anything, and must not break a line.
        typer.echo("\t".join(" ".join(cell.split()) for cell in cells))


def print_result(result: "Result", run: Path, *, as_json: bool) -> None:
    """Print what an audit found, and where its report is.

    Args:
        result: what the audit found.
        run: its folder.
        as_json: print JSON.
    """
    from papagaio.findings.headline import headline
    from papagaio.findings.stopping import stopping
    from papagaio.verdict import verdict_of

    verdict, page = verdict_of(result), run / "report.html"
    if not as_json:
        typer.echo(headline(result))
        if stopped := stopping(result):
            typer.echo(stopped)
        typer.echo(f"verdict: {verdict}")
        typer.echo(f"report: {page}")
        return
    print_json(
        {
            "headline": headline(result),
            "verdict": verdict,
            "until": result.until,
            "complete": result.complete,
            "diverged": [one.id for one in result.diverged],
            "result": run / "result.json",
            "report": page,
        }
    )
