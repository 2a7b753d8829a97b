"""`papagaio reproduce thesis`: the thesis's experiments, tables, figure and claims."""

import typer
from rich.markup import escape

from papagaio.cli.options import command, reflowed
from papagaio.cli.printing import AsJson, print_json
from papagaio_thesis.settings import ReproduceSettings

__all__ = ["reproduce"]

reproduce = typer.Typer(no_args_is_help=True)


@reproduce.callback()
def _reproduce() -> None:
    """Repeat published work and compare its numbers with measured ones."""


def _thesis(settings: ReproduceSettings, as_json: AsJson = False) -> None:
    """Reproduce the thesis that Papagaio grew out of: teacher, experiments, tables, claims.

    Without options it downloads CIFAR-10, CIFAR-100 and ImageNet weights and runs everything: about
    three days on two cores without a GPU, about two hours with --scale small.

    OUT/thesis.html compares the thesis's numbers with the measured ones.
    """
    from papagaio.cli.progress import show_progress
    from papagaio_thesis.run import reproduce as run
    from papagaio_thesis.tables import tables, to_markdown

    with show_progress() as progress:
        result = run(settings, progress)
    if as_json:
        print_json(result)
        return
    if settings.is_teacher_only:
        typer.echo(to_markdown(tables(result)[0]))
    else:
        state = "complete" if result.complete else "not complete"
        typer.echo(f"{len(result.trials) + len(result.readings)} trainings; {state}")
    if "readings" in settings.studies and result.readings:
        typer.echo(f"nearest to Table 1: {result.readings[0].note}")
    typer.echo(f"report: {settings.out / 'thesis.html'}")


thesis = command(ReproduceSettings, _thesis)
reproduce.command("thesis", help=escape(reflowed(thesis.__doc__)))(thesis)
