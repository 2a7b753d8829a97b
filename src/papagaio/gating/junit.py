"""Outcomes as JUnit XML, one test case for each rule."""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from papagaio.gating.outcomes import Gated, Outcome

__all__ = ["junit"]

# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(gated: Gated) -> str:
    """A failure for each rule with which the gate fails; `skipped` for warnings and open rules."""
    failures = len(gated.failures)
    skipped = sum(outcome.state != "pass" for outcome in gated.outcomes) - failures
    root = Element("testsuites")
    suite = _add(
        root,
        "testsuite",
        name="papagaio gate",
        tests=str(len(gated.outcomes)),
        failures=str(failures),
        errors="0",
        skipped=str(skipped),
        timestamp=gated.result.started[:19],
        time="0",
    )
    for outcome in gated.outcomes:
        _add_case(suite, gated, outcome)
    indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add_case(suite: Element, gated: Gated, outcome: Outcome) -> None:
    rule = outcome.rule
    case = _add(suite, "testcase", classname=gated.run, name=rule.text, time="0")
    message = f"{outcome.measured or 'no figure'}: {outcome.reason}"
    if gated.fails(outcome):
        _add(case, "failure", type=outcome.state, message=message)
    elif outcome.state == "fail":
        _add(case, "skipped", message=f"warning: {message}")
    elif outcome.state == "not decided":
        _add(case, "skipped", message=f"not decided: {message}")
    else:
        _add(case, "system-out").text = _FORBIDDEN.sub("\ufffd", message)


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    clean = {name: _FORBIDDEN.sub("\ufffd", value) for name, value in attributes.items()}
    return SubElement(parent, tag, clean)
