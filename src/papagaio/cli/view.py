"""`papagaio view`: the report of a run, in the browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from papagaio.errors import BadSettings

__all__ = ["view"]


def view(run: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Open RUN/report.html in the browser, or print its path where there is no browser."""
    page = run / "report.html"
    if not page.is_file():
        raise BadSettings(
            f"{page}: there is no report; name the folder of a run, or write it again with "
            "papagaio report"
        )
    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo(page)
