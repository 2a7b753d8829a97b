"""`papagaio demo`: a full audit, on data that comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

from papagaio.cli.printing import AsJson, print_result

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The run directory; run again to resume.")
    ] = Path("runs/demo"),
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="The number of trainings that run at the same time.",
            show_default="one per core",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a classifier of handwritten digits by asking it about letters only.

    The copy has never seen a digit, yet reads them. OUT/report.html shows how well, from how many
    answers. It takes about four minutes on two slow cores.
    """
    from papagaio.cli.progress import show_progress
    from papagaio.demo import demo as run

    with show_progress() as progress:
        result = run(out, workers=workers, progress=progress)
    print_result(result, out, as_json=as_json)
