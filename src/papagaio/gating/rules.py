"""One rule, as its owner writes it: `fidelity <= 0.80 at 5000`."""

import math
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from papagaio.errors import BadSettings
from papagaio.vocabulary import LEVELS, RESPONSES, SCORES

__all__ = ["METRICS", "VERDICT", "Rule", "check_measured", "parse_rule", "unmeasured"]

VERDICT = "verdict"
METRICS = (*SCORES, VERDICT)

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(
    r"(?:(?P<severity>warn|error)\s+)?(?P<metric>\w+)\s*(?P<comparison><=|>=|<|>)\s*(?P<limit>\S+)"
    r"(?:\s+at\s+(?P<budget>\d+))?(?:\s+for\s+(?P<response>\S+))?"
)
_UNBOUNDED = {"kl", "cross_entropy"}


@dataclass(frozen=True)
class Rule:
    """What has to hold for every copy.

    Attributes:
        text: as it was written, without its severity.
        metric: a score, or `verdict`.
        comparison: `<=`, `>=`, `<` or `>`.
        limit: the other side; of a verdict, the position of its level from `low`, 0.
        budget: which copies are meant; None for those of the largest budget.
        response: only copies that this response allows; None for all.
        severity: whether the gate fails with it.
    """

    text: str
    metric: str
    comparison: str
    limit: float
    budget: int | None = None
    response: str | None = None
    severity: Literal["error", "warn"] = "error"

    def allows(self, value: float) -> bool:
        """Whether a value is on the right side of the limit."""
        return _COMPARISONS[self.comparison](value, self.limit)

    @property
    def is_upper(self) -> bool:
        """Whether larger values are worse."""
        return self.comparison.startswith("<")

    @property
    def keeps_copies_poor(self) -> bool:
        """Whether a better copy is nearer to breaking it."""
        return self.is_upper != (self.metric in _UNBOUNDED)


def parse_rule(text: object) -> Rule:
    """A rule from its text.

    Raises:
        ValueError: it has another form, or names what does not exist; the message says what does.
    """
    found = _FORM.fullmatch(" ".join(text.split())) if isinstance(text, str) else None
    if found is None:
        raise ValueError("write METRIC <= NUMBER, then at BUDGET and for RESPONSE if need be")
    metric, response, budget = found["metric"], found["response"], found["budget"]
    if metric not in METRICS:
        near = get_close_matches(metric, METRICS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"no such metric; there are {', '.join(METRICS)}{hint}")
    if response is not None and response not in RESPONSES:
        raise ValueError(f"no such response; there are {', '.join(RESPONSES)}")
    if metric == VERDICT and (budget or response):
        raise ValueError("a verdict is about the whole run; leave out at and for")
    return Rule(
        text=found[0].removeprefix(f"{found['severity']} "),
        metric=metric,
        comparison=found["comparison"],
        limit=_level(found["limit"]) if metric == VERDICT else _number(metric, found["limit"]),
        budget=int(budget) if budget else None,
        response=response,
        severity="warn" if found["severity"] == "warn" else "error",
    )


def check_measured(
    rules: Collection[Rule], budgets: Collection[int], responses: Collection[str]
) -> None:
    """Refuse rules about copies that a run does not make.

    Args:
        rules: the rules.
        budgets: of the run's copies.
        responses: that they learn from.

    Raises:
        BadSettings: a budget or a response is not measured; the message names what is.
    """
    for rule in rules:
        if why := unmeasured(rule.budget, rule.response, budgets, responses):
            raise BadSettings(why, field="rules", value=rule.text)


def unmeasured(
    budget: int | None, response: str | None, budgets: Collection[int], responses: Collection[str]
) -> str:
    """Why a run has no copy of this budget and response, naming what it has; empty where it does.

    Args:
        budget: of the copies meant; None for any.
        response: that they may learn from; None for any.
        budgets: of the run's copies; nothing is refused where none is known.
        responses: that they learn from; the same.
    """
    if budget is not None and budgets and budget not in budgets:
        nearest = min(budgets, key=lambda one: abs(one - budget))
        return (
            f"budget {budget} was not measured; the nearest is {nearest}, of"
            f" {', '.join(map(str, sorted(budgets)))}. --budgets of an audit adds others"
        )
    if response is not None and responses and response not in responses:
        return (
            f"no copy learns from {response}, but from {', '.join(responses)}. --responses of an"
            " audit adds others"
        )
    return ""


def _level(text: str) -> int:
    names = [*map(str, LEVELS)]
    if text not in names:
        raise ValueError(f"no such level; there are {', '.join(names)}")
    return names.index(text)


def _number(metric: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    if value > 2 and metric not in _UNBOUNDED:
        raise ValueError(f"{metric} is a share of 1: write {value / 100:g} for {text} %")
    return value
