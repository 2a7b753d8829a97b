"""`papagaio gate`: rules about a run, for machines to decide."""

from typing import TYPE_CHECKING, Annotated

import typer

from papagaio.cli.options import command
from papagaio.errors import GateFailed
from papagaio.gating.settings import Format, GateOptions

if TYPE_CHECKING:
    from papagaio.gating.outcomes import Gated

__all__ = ["gate", "raise_if_failed"]


def _gate(
    options: GateOptions,
    format: Annotated[  # noqa: A002  # the option's name
        Format, typer.Option(help="What is printed.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Decide whether a run keeps to rules: exit code 10 if an error rule fails.

    For example: papagaio gate runs/audit --rule "fidelity <= 0.80 at 5000" --rule "verdict <=
    moderate"

    METRIC <= NUMBER, where <, > and >= are possible too; then "at BUDGET", and "for RESPONSE" for
    the copies that this response allows. A rule that begins with "warn" fails nothing. It holds if
    the whole 95 % interval of every copy does, and fails if that of one copy breaks it; between
    the two it is not decided. A --config file holds rules = ["RULE", ...] and strict = true.
    """
    from papagaio.gating.formats import FORMATS
    from papagaio.gating.outcomes import gate as decide
    from papagaio.result import read_result

    result = read_result(options.run / "result.json")
    gated = decide(str(options.run), result, options.rules, strict=options.strict)
    typer.echo(FORMATS["json" if as_json else format](gated), nl=False)
    raise_if_failed(gated)


def raise_if_failed(gated: "Gated") -> None:
    """End the command if the gate fails.

    Raises:
        GateFailed: it does; the message names the rules.
    """
    if gated.failures:
        rules = "; ".join(f"{one.rule.text} ({one.state})" for one in gated.failures)
        raise GateFailed(f"the gate fails: {rules}")


gate = command(GateOptions, _gate)
