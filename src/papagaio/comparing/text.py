"""Comparisons as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from papagaio.comparing.comparison import Change, Comparison
from papagaio.scores import Figure
from papagaio.version import __version__

__all__ = ["json_text", "p_value", "signed", "text"]


def text(comparisons: Sequence[Comparison]) -> str:
    """Lines of tab-separated text: what differs, then one line for each score."""
    return "\n".join(_section(one) for one in comparisons)


def json_text(comparisons: Sequence[Comparison]) -> str:
    """An object with `papagaio` and the list `comparisons`."""
    sections = [
        asdict(one)
        | {"changes": [asdict(change) | {"direction": change.direction} for change in one.changes]}
        for one in comparisons
    ]
    return json.dumps({"papagaio": __version__, "comparisons": sections}, indent=1) + "\n"


def signed(figure: Figure) -> str:
    """A difference and its interval, with signs."""
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def p_value(p: float | None) -> str:
    """A p, or nothing where there is none."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _section(comparison: Comparison) -> str:
    lines = [f"{comparison.second} beside {comparison.first}"]
    lines += [f"caution\t{caution}" for caution in comparison.cautions]
    lines += [f"differs\t{one.name}\t{one.first}\t{one.second}" for one in comparison.facts]
    lines += [_line(change) for change in comparison.changes]
    return "".join(f"{' '.join(line.splitlines())}\n" for line in lines)


def _line(change: Change) -> str:
    parts = (
        change.direction,
        change.subject,
        change.score,
        f"{change.first.value:.4f} to {change.second.value:.4f}",
        signed(change.difference),
        "paired" if change.paired else "not paired",
        p_value(change.p),
    )
    return "\t".join(part for part in parts if part)
