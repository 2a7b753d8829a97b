"""`papagaio ledger`: what was paid for, and whether it is intact."""

from pathlib import Path
from typing import Annotated

import typer

from papagaio.errors import BadLedger

__all__ = ["ledger"]

ledger = typer.Typer(
    no_args_is_help=True, help="Inspect ledgers of answers, and bring them together."
)

File = Annotated[Path, typer.Argument(help="A ledger, such as RUN/ledger.sqlite.")]


@ledger.command()
def show(file: File) -> None:
    """Print what a ledger holds: one line per black box and response, tab-separated."""
    from papagaio.ledger import snapshot

    _check(file)
    typer.echo("answers\trequests\tinterrupted\tcanaries\tresponse\tdraw\tfirst\tlast\tblack box")
    with snapshot(file) as opened:
        for row in opened.totals():
            asked = row.question
            counts = (row.answers, row.requests, row.interrupted, row.canaries)
            columns = (*counts, asked.response, asked.draw, row.first, row.last, asked.box)
            typer.echo("\t".join(map(str, columns)))


@ledger.command()
def verify(file: File) -> None:
    """Check every answer's seal and every request's number of answers."""
    from papagaio.ledger import snapshot

    _check(file)
    with snapshot(file) as opened:
        problems = list(opened.problems())
        answers = 0 if problems else sum(row.answers for row in opened.totals())
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise BadLedger(f"{file}: {len(problems)} problems; restore an earlier copy")
    typer.echo(f"{file}: {answers} answers, all intact")


@ledger.command("import")
def import_(
    file: File,
    into: Annotated[
        Path, typer.Option(metavar="LEDGER", help="The ledger that receives them; made if missing.")
    ],
) -> None:
    """Bring the answers of another machine's ledger into one of this machine, each once."""
    from papagaio.ledger import Ledger, snapshot
    from papagaio.ledger_import import import_ledger, refuse_unsound

    _check(file)
    if into.exists() and into.samefile(file):
        raise BadLedger(f"{file}: name another ledger to import it into", field="into", value=into)
    with snapshot(file) as source:
        # Before the other ledger is made.
        refuse_unsound(source)
        with Ledger(into) as target:
            brought = import_ledger(source, target)
    typer.echo(f"answers brought\t{brought.answers}, in {brought.requests} requests")
    typer.echo(f"known before\t{brought.known}")
    typer.echo(f"images of interrupted requests brought\t{brought.interrupted}")


def _check(file: Path) -> None:
    if not file.is_file() or not file.stat().st_size:
        raise BadLedger(f"{file}: no such file, or an empty one; name a ledger")
