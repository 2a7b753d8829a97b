"""The budget curve: fidelity against the number of answers."""

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from markupsafe import Markup

from papagaio.findings.references import references
from papagaio.findings.series import Series, series
from papagaio.numbers import count, percent, plural, share
from papagaio.report import plot
from papagaio.report.drawing import add, markup
from papagaio.result import Result

__all__ = ["budget_curve"]

_TICK_GAP = 62.0
_LABEL_GAP = 20.0
_DODGE = 6.0


def budget_curve(result: Result) -> Markup | None:
    """Fidelity against budget, with intervals, floors and ceilings, as inline SVG.

    None where no copy has been scored.
    """
    lines = series(result)
    budgets = sorted({row.budget for one in lines for row in one.rows if row.fidelity})
    if not budgets:
        return None
    svg = plot.paper("budget-curve", "Fidelity by budget", _description(lines), len(lines))
    places = dict(zip(budgets, _places(budgets), strict=True))
    ticks = _ticks(places)
    plot.axes(svg, ticks, "budget (answers learned from)", "fidelity on the test set")
    _draw_references(svg, result)
    for index, one in enumerate(lines):
        shift = (index - (len(lines) - 1) / 2) * min(_DODGE, 36 / len(lines))
        _draw(plot.group(svg, index), index, one, places, shift)
    plot.legend(svg, [f"copy: {one.label}" for one in lines])
    return markup(svg)


def _description(lines: Sequence[Series]) -> str:
    points = [
        f"{one.label}: {percent(row.fidelity.value)} ({share(row.fidelity).interval})"
        f" from {plural(row.budget, 'answer')}"
        for one in lines
        for row in one.rows
        if row.fidelity
    ]
    return "; ".join(points) + ". The tables below show the same numbers."


def _places(budgets: Sequence[int]) -> list[float]:
    """Positions (0 to 1) on a logarithmic axis; a single budget is in the middle."""
    logs = [math.log(max(budget, 1)) for budget in budgets]
    if logs[0] == logs[-1]:
        return [0.5] * len(logs)
    return [0.06 + 0.88 * (log - logs[0]) / (logs[-1] - logs[0]) for log in logs]


def _ticks(places: dict[int, float]) -> list[tuple[float, str]]:
    """The budgets as ticks, without those whose text would overlap that of a larger one."""
    ticks: list[tuple[float, str]] = []
    for budget, part in sorted(places.items(), reverse=True):
        if not ticks or plot.x_of(ticks[-1][0]) - plot.x_of(part) >= _TICK_GAP:
            ticks.append((part, count(budget)))
    return ticks


def _draw_references(svg: Element, result: Result) -> None:
    levels = [
        (one, one.level)
        for one in references(result)
        if one.level is not None and one.name != "black box"
    ]
    levels.sort(key=lambda pair: -pair[1])
    wanted = [plot.y_of(value) for _, value in levels]
    for (one, value), y, label in zip(levels, wanted, plot.spread(wanted, _LABEL_GAP), strict=True):
        marks = add(svg, "g", class_=f"reference {one.side}")
        add(marks, "line", x1=plot.LEFT, x2=plot.RIGHT, y1=y, y2=y)
        leader = f"{plot.RIGHT:.0f},{y:.1f} {plot.RIGHT + 14:.0f},{label:.1f}"
        add(marks, "polyline", class_="leader", points=leader, fill="none")
        text = add(marks, "text", f"{one.name} {percent(value)}", x=plot.RIGHT + 18, y=label + 4)
        if one.budget is not None:
            add(text, "tspan", f" ({count(one.budget)})", class_="learned")


def _draw(marks: Element, index: int, one: Series, places: dict[int, float], shift: float) -> None:
    points = []
    for row in one.rows:
        if row.fidelity is None:
            continue
        x, y = plot.x_of(places[row.budget]) + shift, plot.y_of(row.fidelity.value)
        low, high = plot.y_of(row.fidelity.low), plot.y_of(row.fidelity.high)
        bar = f"M{x - 4:.1f},{low:.1f} h8 m-4,0 V{high:.1f} m-4,0 h8"
        add(marks, "path", class_="interval", d=bar, fill="none")
        points.append((x, y))
    if len(points) > 1:
        plot.line(marks, index, points)
    for x, y in points:
        plot.marker(marks, index, x, y)
