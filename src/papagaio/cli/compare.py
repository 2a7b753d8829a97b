"""`papagaio compare`: what changed between runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from papagaio.errors import BadSettings

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs; the others are compared with the first.")
    ],
    format: Annotated[  # noqa: A002  # the option's name
        Literal["text", "json", "html"], typer.Option(help="What is printed.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show what changed between runs: two models, two defences, two dates.

    For example: papagaio compare runs/before runs/after --format html > compare.html

    The runs need the same test set and classes, and a common budget. Differences have 95 %
    intervals, paired over the same test images where the runs kept what their copies name.
    """
    from papagaio.comparing.comparison import compare as compare_two
    from papagaio.comparing.page import html
    from papagaio.comparing.runs import read_run
    from papagaio.comparing.text import json_text, text

    formats = {"text": text, "json": json_text, "html": html}
    if len(runs) < 2:
        raise BadSettings("name two runs or more")
    first, *others = map(read_run, runs)
    compared = [compare_two(first, other) for other in others]
    typer.echo(formats["json" if as_json else format](compared), nl=False)
