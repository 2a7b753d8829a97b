"""`papagaio demo`: the whole path on data that comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="The run's folder; a stopped demo goes on.")] = Path(
        "runs/demo"
    ),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings side by side. [default: one a core]")
    ] = None,
) -> None:
    """Copy a classifier of handwritten digits by asking it about letters only.

    A copy that has never seen a digit reads them; OUT/report.html shows how well, from how many
    answers. One and a half to two minutes on two cores.
    """
    from papagaio.cli.progress import show_progress
    from papagaio.demo import demo as run
    from papagaio.report.headline import answer, headline

    with show_progress() as progress:
        result = run(out, workers=workers, progress=progress)
    typer.echo(headline(result))
    typer.echo(answer(result))
    typer.echo(f"report: {out / 'report.html'}")
