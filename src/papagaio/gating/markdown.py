"""Outcomes as Markdown, for the summary of a CI job."""

import re

from papagaio.findings.headline import headline
from papagaio.gating.outcomes import Gated, Outcome
from papagaio.numbers import plural
from papagaio.verdict import verdict_of

__all__ = ["markdown"]

_SHOWN = {"pass": "✅ pass", "fail": "❌ **fail**", "not decided": "❔ not decided"}
# Punctuation that Markdown, or HTML in it, may read as more than itself.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&@:])")


def markdown(gated: Gated) -> str:
    """A heading, the verdict and the headline of the run, and a table of rules."""
    failures, result = len(gated.failures), gated.result
    outcome = (
        f"{failures} of {plural(len(gated.outcomes), 'rule')} failed" if failures else "passed"
    )
    started = result.started[:19].replace("T", " ")
    lines = [
        f"## Model extraction gate: {outcome}",
        "",
        f"**Verdict: {verdict_of(result).level}.** {_escaped(headline(result))}",
        "",
        "| | rule | measured (95 % interval) | |",
        "|---|---|---|---|",
        *(_row(outcome) for outcome in gated.outcomes),
        "",
        _escaped(f"Run {gated.run} of {result.black_box.name}, started {started} UTC."),
    ]
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    rule = outcome.rule
    is_warning = outcome.state == "fail" and rule.severity == "warn"
    shown = "⚠️ warning" if is_warning else _SHOWN[outcome.state]
    cells = (_escaped(part) for part in (rule.text, outcome.measured, outcome.reason))
    return f"| {shown} | {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """A text on one line that is shown as it is."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
