"""Outcomes as JSON."""

import json
from dataclasses import asdict

from papagaio.gating.outcomes import Gated
from papagaio.version import __version__

__all__ = ["json_text"]


def json_text(gated: Gated) -> str:
    """An object with `run`, `papagaio`, `strict`, `passed` and the list `rules`."""
    rules = [
        {
            "rule": outcome.rule.text,
            "severity": outcome.rule.severity,
            "outcome": outcome.state,
            "measured": outcome.measured,
            "figure": outcome.figure and asdict(outcome.figure),
            "reason": outcome.reason,
        }
        for outcome in gated.outcomes
    ]
    report = {
        "run": gated.run,
        "papagaio": __version__,
        "strict": gated.strict,
        "passed": not gated.failures,
        "rules": rules,
    }
    return json.dumps(report, indent=1) + "\n"
