"""`papagaio questions`: the images of an audit as files, to be answered elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from papagaio.cli.options import command
from papagaio.cli.printing import AsJson, print_json
from papagaio.settings import Settings

__all__ = ["questions"]


def _questions(
    settings: Settings,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Where the images are written.",
            rich_help_panel="Output",
        ),
    ] = Path("questions"),
    as_json: AsJson = False,
) -> None:
    """Write the images that an audit asks about as PNG files, to be answered elsewhere.

    For example: papagaio questions recorded=answers.csv --input 224x224x3 --classes 10 --transfer
    photos --test my_test_images --resize crop --budget 5000 --to questions

    Answer them with whatever there is, and write answers.csv: a column with the file's name and one
    column per class, in the order of the classes. Then run papagaio audit with the same options.
    """
    from papagaio.auditing.questions import write_questions
    from papagaio.cli.progress import show_progress

    with show_progress() as progress:
        count = write_questions(settings, to, progress)
    if as_json:
        print_json({"images": count, "folder": to})
    else:
        typer.echo(f"{count:,} images: {to}")


questions = command(Settings, _questions)
