"""Outcomes as lines of tab-separated text."""

from papagaio.gating.outcomes import Gated, Outcome

__all__ = ["line", "text"]


def text(gated: Gated) -> str:
    """One line for each rule: what became of it, the rule, the figure, and whose it is."""
    return "".join(f"{line(outcome)}\n" for outcome in gated.outcomes)


def line(outcome: Outcome) -> str:
    """One outcome on one line."""
    rule = outcome.rule
    state = "warn" if outcome.state == "fail" and rule.severity == "warn" else outcome.state
    parts = (state, rule.text, outcome.measured or "no figure", outcome.reason)
    return "\t".join(" ".join(part.split()) for part in parts)
