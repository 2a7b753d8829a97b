"""Comparisons as one HTML page that loads nothing from outside."""

from collections.abc import Sequence

from papagaio.comparing.comparison import Comparison
from papagaio.comparing.text import p_value, signed
from papagaio.report.page import environment

__all__ = ["html"]


def html(comparisons: Sequence[Comparison]) -> str:
    """The page."""
    made = environment("papagaio.comparing", "papagaio.report")
    made.filters["signed"] = signed
    made.filters["p_value"] = p_value
    return made.get_template("compare.html.j2").render(comparisons=comparisons)
