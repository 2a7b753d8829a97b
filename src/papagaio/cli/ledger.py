"""`papagaio ledger`: what was paid for, and whether it is intact."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from papagaio.cli.printing import AsJson, print_json, print_rows
from papagaio.errors import BadLedger

__all__ = ["ledger"]

ledger = typer.Typer(
    no_args_is_help=True, help="Inspect ledgers of answers, and bring them together."
)

_COLUMNS = (
    *("answers", "requests", "interrupted", "canaries"),
    *("response", "draw", "first", "last", "black box"),
)

File = Annotated[Path, typer.Argument(help="A ledger, such as RUN/ledger.sqlite.")]


@ledger.command()
def show(file: File, as_json: AsJson = False) -> None:
    """Print what a ledger holds: one line per black box and response, tab-separated."""
    from papagaio.ledger import snapshot

    _check(file)
    with snapshot(file) as opened:
        totals = opened.totals()
    if as_json:
        print_json(totals)
    else:
        rows = [
            asdict(one) | asdict(one.question) | {"black box": one.question.box} for one in totals
        ]
        print_rows(rows, _COLUMNS)


@ledger.command()
def verify(file: File, as_json: AsJson = False) -> None:
    """Check every answer's seal and every request's number of answers."""
    from papagaio.ledger import snapshot

    _check(file)
    with snapshot(file) as opened:
        problems = list(opened.problems())
        answers = 0 if problems else sum(row.answers for row in opened.totals())
    if as_json:
        print_json({"answers": answers, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
    if problems:
        raise BadLedger(f"{file}: {len(problems)} problems; restore an earlier copy")
    if not as_json:
        typer.echo(f"{file}: {answers} answers, all intact")


@ledger.command("import")
def import_(
    file: File,
    into: Annotated[
        Path, typer.Option(metavar="LEDGER", help="The ledger that receives them; made if missing.")
    ],
    as_json: AsJson = False,
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
    if as_json:
        print_json(brought)
        return
    typer.echo(f"answers brought\t{brought.answers}, in {brought.requests} requests")
    typer.echo(f"known before\t{brought.known}")
    typer.echo(f"images of interrupted requests brought\t{brought.interrupted}")


def _check(file: Path) -> None:
    if not file.is_file() or not file.stat().st_size:
        raise BadLedger(f"{file}: no such file, or an empty one; name a ledger")
