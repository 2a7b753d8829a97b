"""`papagaio`: the commands, and the one place where errors become text and exit codes.

Exit codes: 0 done; 1 failed (a bug, a training that diverged, a service that broke, or a cluster
that was lost); 2 the user's mistake; 10 a rule of a gate fails; 130 interrupted; the same command
resumes.
"""

import errno
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.markup import escape

from papagaio.cli.audit import audit
from papagaio.cli.check import check
from papagaio.cli.compare import compare
from papagaio.cli.demo import demo
from papagaio.cli.doctor import doctor
from papagaio.cli.estimate import estimate
from papagaio.cli.gate import gate
from papagaio.cli.init import init
from papagaio.cli.ledger import ledger
from papagaio.cli.list import list_
from papagaio.cli.options import flag, reflowed
from papagaio.cli.questions import questions
from papagaio.cli.report import report
from papagaio.cli.schema import schema
from papagaio.cli.serve import serve
from papagaio.cli.teach import teach
from papagaio.cli.view import view
from papagaio.errors import PapagaioError
from papagaio.version import __version__

__all__ = ["app", "main"]

# Mistakes in a path that the user named.
_NO_PLACE = (
    *(FileNotFoundError, FileExistsError, PermissionError),
    *(IsADirectoryError, NotADirectoryError),
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed, 2 your mistake, 10 a gate fails, 130 interrupted (run"
    " again to resume).",
)
_COMMANDS = (
    *(demo, teach, init, check, estimate, audit, questions, list_, view, report),
    *(gate, compare, serve, schema, doctor),
)
for _command in _COMMANDS:
    app.command(_command.__name__.strip("_"), help=escape(reflowed(_command.__doc__)))(_command)
app.add_typer(ledger, name="ledger")
# Commands of packages that build on this one.
for _point in entry_points(group="papagaio.commands"):
    app.add_typer(_point.load(), name=_point.name)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"papagaio {__version__}")
        raise typer.Exit


def _papagaio(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """How good a copy of your image classifier could someone train from its answers alone?

    Papagaio asks the classifier about images that have nothing to do with its purpose, trains
    copies from its answers, measures them on your test images, and writes a report. Audit only your
    own models, or others' with permission.

    Start with: papagaio demo
    """


app.callback(help=reflowed(_papagaio.__doc__))(_papagaio)


def main() -> None:
    """Run the command line."""
    try:
        app(standalone_mode=True)
    except PapagaioError as error:
        sys.exit(_say(error.shown_as(flag), error.exit_code))
    except SystemExit as end:
        # Typer turns Ctrl-C into an exit without a word.
        if end.code == 130:
            _say("interrupted; run the same command again to resume", 130)
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(_say("no space left on the disk; free some and run it again", 2))
        if isinstance(error, _NO_PLACE) and error.filename is not None:
            sys.exit(_say(f"{error.filename}: {error.strerror}; fix that, or name another", 2))
        raise


def _say(message: str, code: int) -> int:
    print(f"papagaio: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201  # the rim
    return code
