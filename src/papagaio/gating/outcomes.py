"""Rules and a result -> what became of each rule. Intervals decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from papagaio.findings.copies import copies, rivals
from papagaio.findings.strongest import black_box_fault
from papagaio.findings.understating import understated
from papagaio.gating.rules import VERDICT, Rule, check_measured
from papagaio.numbers import count, plural
from papagaio.result import Result, SummaryRow
from papagaio.scores import Figure
from papagaio.verdict import verdict_of
from papagaio.vocabulary import LEVELS

__all__ = ["Gated", "Outcome", "State", "budgets_of", "doubt_about", "gate", "responses_of"]

State = Literal["pass", "fail", "not decided"]
_WORST: tuple[State, ...] = ("fail", "not decided", "pass")


@dataclass(frozen=True)
class Outcome:
    """What became of a rule.

    Attributes:
        rule: the rule.
        state: `pass` or `fail` where the whole interval of each copy decides it.
        measured: the figure that decides, or the level, as text; empty where there is none.
        reason: whose figure it is, or why the rule is not decided.
        figure: the same figure; None where there is none, and for a verdict.
    """

    rule: Rule
    state: State
    measured: str
    reason: str
    figure: Figure | None = None


@dataclass(frozen=True)
class Gated:
    """A run and what became of the rules about it.

    Attributes:
        run: the run's folder, as it was named.
        result: the run's result.
        outcomes: one for each rule, in their order.
        strict: whether a rule that is not decided fails the gate.
    """

    run: str
    result: Result
    outcomes: tuple[Outcome, ...]
    strict: bool

    def fails(self, outcome: Outcome) -> bool:
        """Whether the gate fails with this outcome."""
        wrong = outcome.state == "fail" or (self.strict and outcome.state == "not decided")
        return wrong and outcome.rule.severity == "error"

    @property
    def failures(self) -> list[Outcome]:
        """The outcomes with which the gate fails."""
        return [outcome for outcome in self.outcomes if self.fails(outcome)]


def gate(run: str, result: Result, rules: Sequence[Rule], *, strict: bool = False) -> Gated:
    """Apply rules to a run.

    Args:
        run: the run's folder, as it was named.
        result: the run's result.
        rules: what has to hold.
        strict: whether a rule that is not decided fails the gate.

    Raises:
        BadSettings: a rule is about a budget, a response or a score that the run does not have.
    """
    check_measured(rules, budgets_of(result), responses_of(result))
    outcomes = tuple(_outcome(result, rule) for rule in rules)
    return Gated(run, result, outcomes, strict)


def _outcome(result: Result, rule: Rule) -> Outcome:
    if rule.metric == VERDICT:
        return _of_the_verdict(result, rule)
    rows = rivals(result, rule.response, rule.budget or max(budgets_of(result), default=0))
    figures = [(row, figure) for row in rows if (figure := getattr(row, rule.metric)) is not None]
    doubt = doubt_about(result)
    if not figures:
        missing = "no copy that it is about has been trained" if not rows else "was not measured"
        return Outcome(rule, "not decided", "", doubt or f"{rule.metric}: {missing}")
    sign = 1 if rule.is_upper else -1
    state, row, figure = min(
        ((_state(rule, figure.low, figure.high), row, figure) for row, figure in figures),
        key=lambda one: (_WORST.index(one[0]), -sign * one[2].value),
    )
    if len(figures) < len(rows):
        doubt = doubt or f"{rule.metric} was not measured of every copy"
    if rule.keeps_copies_poor and (only := understated(result, row, rule.response)):
        doubt = doubt or only.reason
    reason = _name(row)
    if doubt and (state != "fail" or black_box_fault(result)):
        return Outcome(rule, "not decided", _text(figure), f"{doubt}; so far: {reason}", figure)
    if state == "not decided":
        reason = f"the limit is within the interval of {reason}: more test images or seeds decide"
    return Outcome(rule, state, _text(figure), reason, figure)


def _of_the_verdict(result: Result, rule: Rule) -> Outcome:
    verdict = verdict_of(result)
    measured = verdict.level
    if verdict.reaches is None:
        return Outcome(rule, "not decided", measured, verdict.reason)
    state = _state(rule, *map(LEVELS.index, verdict.reaches))
    if state != "fail" and (doubt := doubt_about(result)):
        return Outcome(rule, "not decided", measured, f"{doubt}; so far: {verdict.reason}")
    return Outcome(rule, state, " to ".join(dict.fromkeys(verdict.reaches)), verdict.reason)


def doubt_about(result: Result) -> str:
    """Why no rule about copies is known to hold; empty where that can be decided.

    A control or a distilled student that diverged is none of the copies. Of trainings that have
    not ended, a result does not say what they are.
    """
    if fault := black_box_fault(result):
        return fault
    parts = []
    if result.missing:
        parts.append(f"{plural(result.missing, 'training')} of {count(result.trainings)} not ended")
    if lost := sum(one.kind == "copy" for one in result.diverged):
        parts.append(f"{plural(lost, 'training')} of copies diverged")
    return f"the run is incomplete: {', '.join(parts)}" if parts else ""


def _state(rule: Rule, low: float, high: float) -> State:
    ends = {rule.allows(low), rule.allows(high)}
    if len(ends) == 2:
        return "not decided"
    return "pass" if ends == {True} else "fail"


def budgets_of(result: Result) -> set[int]:
    """The budgets of all copies; of an incomplete run, those that are planned included."""
    planned = [*_planned(result, "budgets"), *_planned(result, "budget")]
    return {row.budget for row in copies(result)} | {one for one in planned if type(one) is int}


def responses_of(result: Result) -> list[str]:
    """The responses that copies learn from; of an incomplete run, those that are planned too."""
    planned = map(str, _planned(result, "responses"))
    return list(dict.fromkeys([*(row.response for row in copies(result)), *planned]))


def _planned(result: Result, setting: str) -> list[Any]:
    value = [] if result.complete else result.settings.get(setting, [])
    return value if isinstance(value, list) else [value]


def _name(row: SummaryRow) -> str:
    return (
        f"the copy {row.student}, {row.recipe}, from {plural(row.budget, 'answer')}"
        f" ({row.response}, {plural(row.seeds, 'seed')})"
    )


def _text(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
