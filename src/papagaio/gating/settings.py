"""The settings of `papagaio gate`. Each is defined once, here; see `options`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from papagaio.gating.rules import Rule, parse_rule
from papagaio.options import Option, OptionSet

__all__ = ["Format", "GateOptions", "GateRules"]

Format = Literal["text", "json", "junit", "sarif", "markdown"]

_RULES = "Rules"


def _some(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if not rules:
        raise ValueError("name at least one rule")
    return rules


class GateRules(OptionSet):
    """What a gate's file holds."""

    rules: Annotated[
        tuple[Annotated[Rule, BeforeValidator(parse_rule)], ...],
        AfterValidator(_some),
        Option(_RULES, '"RULE"', repeated=True, also="rule"),
    ]
    """What must hold for every copy, such as "fidelity <= 0.80 at 5000", "warn relative_accuracy <
    0.9 for label" or "verdict <= moderate"; repeat it for several. Without a budget, those with the
    largest are meant."""

    strict: Annotated[bool, Option(_RULES)] = False
    """Fail also where a rule is not decided."""


class GateOptions(GateRules):
    """All settings of `papagaio gate`."""

    run: Annotated[Path, Option(_RULES, "RUN", positional=True)]
    """The folder of a run."""
