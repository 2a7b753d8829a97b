"""`papagaio report`: write the report of a run again."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
) -> None:
    """Write RUN/report.html again, from RUN/result.json."""
    from papagaio.findings.headline import headline
    from papagaio.report.page import write_report
    from papagaio.result import read_result
    from papagaio.verdict import verdict_of

    result = read_result(run / "result.json")
    write_report(result, run / "report.html")
    typer.echo(headline(result))
    typer.echo(f"verdict: {verdict_of(result)}")
    typer.echo(f"report: {run / 'report.html'}")
