"""Distillation accuracy by epoch."""

import math

from markupsafe import Markup

from papagaio.findings.series import series
from papagaio.numbers import percent, plural
from papagaio.report import plot
from papagaio.report.drawing import markup
from papagaio.result import CellRecord, Result

__all__ = ["epoch_curve"]


def epoch_curve(result: Result) -> Markup | None:
    """Distillation accuracy by epoch, as inline SVG; None where no epoch has been recorded.

    One line per series: its first copy with the largest budget.
    """
    lines = series(result)
    # Each line has the colour of its series in the budget curve.
    cells = [(i, one.longest) for i, one in enumerate(lines) if one.longest and one.longest.curve]
    if not cells:
        return None
    last = max(1, *(cell.curve[-1].epoch for _, cell in cells))
    description = "; ".join(f"{lines[i].label}: {_end(cell)}" for i, cell in cells)
    svg = plot.paper("epoch-curve", "Distillation accuracy by epoch", f"{description}.", len(lines))
    plot.axes(svg, _ticks(last), "epoch", "distillation accuracy")
    for index, cell in cells:
        points = [
            (plot.x_of(p.epoch / last), plot.y_of(p.distillation_accuracy)) for p in cell.curve
        ]
        marks = plot.group(svg, index)
        plot.line(marks, index, points)
        plot.marker(marks, index, *points[-1])
    plot.legend(svg, [f"copy: {one.label}" for one in lines])
    return markup(svg)


def _end(cell: CellRecord) -> str:
    end = cell.curve[-1]
    return f"{percent(end.distillation_accuracy)} after {plural(end.epoch, 'epoch')}"


def _ticks(last: int) -> list[tuple[float, str]]:
    """At most six round numbers of epochs."""
    power = 10 ** int(math.log10(max(last / 6, 1)))
    step = next(power * part for part in (1, 2, 5, 10) if last // (power * part) < 6)
    return [(epoch / last, str(epoch)) for epoch in range(0, last + 1, step)]
