"""`papagaio audit`: a full audit of the user's own model."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from papagaio.cli.gate import raise_if_failed
from papagaio.cli.options import command
from papagaio.cli.printing import AsJson, print_json, print_result
from papagaio.errors import BadSettings, Diverged
from papagaio.gating.rules import check_measured
from papagaio.gating.settings import GateRules
from papagaio.options import read_toml, validated
from papagaio.settings import Settings
from papagaio.vocabulary import Response

__all__ = ["audit"]


def _audit(
    settings: Settings,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the resolved settings, the queries and their price; query nothing.",
            rich_help_panel="Budget",
        ),
    ] = False,
    gate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file of rules for the result, as for papagaio gate --config; exit code 10"
            " if one fails.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how good a copy of a black box can be trained from its answers.

    For example: papagaio audit my_model.py:predict --input 32x32x3 --classes 10 --transfer photos
    --test my_test_images --budget 5000 --dry-run

    No answer is paid for twice: the same command resumes an interrupted audit. OUT/report.html
    shows the result, OUT/result.json holds it.
    """
    from papagaio.auditing.forecast import forecast
    from papagaio.auditing.opening import open_black_box_of, open_images
    from papagaio.auditing.run import audit as run
    from papagaio.cli.progress import show_progress
    from papagaio.gating.outcomes import gate as decide
    from papagaio.gating.text import text

    rules = _rules(gate) if gate else None
    with show_progress() as progress, closing(open_black_box_of(settings)) as box:
        if rules:
            _check_rules(rules, settings, settings.responses or (box.contract.response,))
        images = open_images(settings, box.contract, progress)
        if dry_run:
            found = forecast(box, images, settings, progress)
            if as_json:
                print_json(found)
            else:
                typer.echo(str(found), nl=False)
            return
        result = run(box, images, settings, progress)
    print_result(result, settings.out, as_json=as_json)
    gated = rules and decide(str(settings.out), result, rules.rules, strict=rules.strict)
    if gated:
        typer.echo(text(gated), nl=False, err=as_json)
    if result.diverged:
        reasons = "; ".join(f"{one.id}: {one.reason}" for one in result.diverged)
        raise Diverged(f"{reasons}; the report is without it")
    if gated:
        raise_if_failed(gated)


def _check_rules(rules: GateRules, settings: Settings, responses: Sequence[Response]) -> None:
    """Refuse rules that no copy of this audit can answer, before anything is paid for."""
    if settings.until is None:
        check_measured(rules.rules, settings.curve, responses)
        return
    check_measured(rules.rules, (), responses)
    for rule in rules.rules:
        if rule.budget is not None:
            raise BadSettings(
                "with until, the rounds decide which budgets are measured; leave out the budget",
                field="rules",
                value=rule.text,
            )


def _rules(file: Path) -> GateRules:
    return validated(GateRules, read_toml(file), lambda name: f"{file}: {name}")


audit = command(Settings, _audit)
