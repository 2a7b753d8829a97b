"""`papagaio report`: write the report of a run again."""

from pathlib import Path
from typing import Annotated

import typer

from papagaio.cli.printing import AsJson, print_result

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")], as_json: AsJson = False
) -> None:
    """Write RUN/report.html again, from RUN/result.json."""
    from papagaio.report.page import write_report
    from papagaio.result import read_result

    result = read_result(run / "result.json")
    write_report(result, run / "report.html")
    print_result(result, run, as_json=as_json)
