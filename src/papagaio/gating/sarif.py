"""Outcomes as SARIF 2.1.0 (OASIS Standard), for code scanning."""

import hashlib
import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from papagaio.gating.outcomes import Gated, Outcome
from papagaio.gating.rules import Rule
from papagaio.version import __version__

__all__ = ["sarif"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warn": "warning"}


def sarif(gated: Gated) -> str:
    """A result for each rule that fails or is not decided.

    Rules that hold are listed among the tool's rules only: code scanning shows every result as an
    alert, whatever its kind.
    """
    rules = list(dict.fromkeys(outcome.rule for outcome in gated.outcomes))
    driver = {"name": "Papagaio", "version": __version__, "rules": [*map(_descriptor, rules)]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "exitCode": 10 if gated.failures else 0}],
        "results": [
            _result(gated, outcome, rules.index(outcome.rule))
            for outcome in gated.outcomes
            if outcome.state != "pass"
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1) + "\n"


def _descriptor(rule: Rule) -> dict[str, Any]:
    holds = f"For every copy of the black box that the audit trained: {rule.text}."
    return {
        "id": rule.text,
        "name": rule.metric,
        "shortDescription": {"text": rule.text},
        "fullDescription": {"text": holds},
        "help": {"text": f"{holds} The report of the run says what lowers the risk."},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["security", "model-extraction"]},
    }


def _result(gated: Gated, outcome: Outcome, index: int) -> dict[str, Any]:
    failed, rule = outcome.state == "fail", outcome.rule
    key = f"{rule.text}\n{gated.result.black_box.name}"
    path = (PurePath(gated.run) / "result.json").as_posix()
    place = {"artifactLocation": {"uri": quote(path)}, "region": {"startLine": 1}}
    return {
        "ruleId": rule.text,
        "ruleIndex": index,
        "kind": "fail" if failed else "open",
        # Only a failure has a level.
        "level": _LEVELS[rule.severity] if failed else "none",
        "message": {
            "text": f"{outcome.state}: {outcome.measured or 'no figure'}: {outcome.reason}"
        },
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"papagaioRule/v1": hashlib.sha256(key.encode()).hexdigest()},
    }
