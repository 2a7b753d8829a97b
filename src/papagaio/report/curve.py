"""The budget curve: fidelity against the number of answers, their price and their time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from markupsafe import Markup

from papagaio.findings.references import references
from papagaio.findings.series import Series, series
from papagaio.learning_curve import LearningCurve
from papagaio.numbers import about, count, money, percent, plural, with_interval
from papagaio.report import plot
from papagaio.report.cost import curve_of, offers, seconds_of
from papagaio.report.drawing import add, markup
from papagaio.result import Result
from papagaio.scores import Figure
from papagaio.verdict import price_of

__all__ = ["budget_curve"]

_TICK_GAP = 66.0
_LABEL_GAP = 20.0
_DODGE = 6.0
# How far beyond the largest budget the curve is drawn, and at how many points.
_BEYOND, _STEPS = 4, 24


@dataclass(frozen=True)
class _Across:
    """The logarithmic horizontal axis, from the smallest to the largest number of answers."""

    first: int
    last: int

    def __call__(self, budget: float) -> float:
        """The position of a budget, 0 to 1; a single budget is in the middle."""
        if self.first == self.last:
            return 0.5
        part = math.log(max(budget, 1) / self.first) / math.log(self.last / self.first)
        return 0.06 + 0.88 * part


def budget_curve(result: Result) -> Markup | None:
    """Fidelity against budget, with intervals, floors and ceilings, as inline SVG.

    Where the strongest copies have several budgets, their learning curve continues the line, dashed
    and with its band. None where no copy has been scored.
    """
    lines = series(result)
    budgets = sorted({row.budget for one in lines for row in one.rows if row.fidelity})
    if not budgets:
        return None
    beyond = curve_of(result, "fidelity") if len(offers(result)) > 1 else None
    across = _Across(max(budgets[0], 1), budgets[-1] * (_BEYOND if beyond else 1))
    rows = _rows(result)
    svg = plot.paper("budget-curve", "Fidelity by budget", _description(lines), len(lines), rows)
    words = "answers" + (", price" * (price_of(result, 1) is not None))
    words += ", time" * (seconds_of(result, 1) is not None)
    plot.axes(svg, _ticks(result, across, budgets), words, "fidelity on the test set")
    _draw_references(svg, result)
    if beyond:
        _draw_beyond(svg, beyond, across)
    for index, one in enumerate(lines):
        shift = (index - (len(lines) - 1) / 2) * min(_DODGE, 36 / len(lines))
        _draw(plot.group(svg, index), index, one, across, shift)
    plot.legend(svg, [f"copy: {one.label}" for one in lines], rows)
    return markup(svg)


def _description(lines: Sequence[Series]) -> str:
    points = [
        f"{one.label}: {with_interval(row.fidelity)} from {plural(row.budget, 'answer')}"
        for one in lines
        for row in one.rows
        if row.fidelity
    ]
    return "; ".join(points) + ". The tables below show the same numbers."


def _rows(result: Result) -> int:
    return sum(one is not None for one in (price_of(result, 1), seconds_of(result, 1)))


def _ticks(result: Result, across: _Across, budgets: Sequence[int]) -> list[tuple[float, str]]:
    """The budgets as ticks, without those whose text would overlap that of a larger one."""
    ticks: list[tuple[float, str]] = []
    for budget in sorted({*budgets, across.last}, reverse=True):
        part = across(budget)
        if not ticks or plot.x_of(ticks[-1][0]) - plot.x_of(part) >= _TICK_GAP:
            price, seconds = price_of(result, budget), seconds_of(result, budget)
            lines = [count(budget)]
            lines += [] if price is None else [money(price)]
            lines += [] if seconds is None else [about(seconds)]
            ticks.append((part, "\n".join(lines)))
    return ticks


def _draw_beyond(svg: Element, curve: LearningCurve, across: _Across) -> None:
    """The learning curve beyond the largest budget, marked as such."""
    budgets = np.geomspace(curve.measured, across.last, _STEPS).astype(int)
    figures = [curve.at(int(budget)) for budget in budgets]
    xs = [plot.x_of(across(budget)) for budget in budgets]
    marks = add(svg, "g", class_="beyond")
    points = list(zip(xs, figures, strict=True))
    _draw_band(marks, points)
    middle = " ".join(f"{x:.1f},{plot.y_of(one.value):.1f}" for x, one in points)
    add(marks, "polyline", points=middle, fill="none")
    x = (xs[0] + xs[-1]) / 2
    add(marks, "text", "extrapolated", x=x, y=plot.BOTTOM - 8, text_anchor="middle")


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


def _draw(marks: Element, index: int, one: Series, across: _Across, shift: float) -> None:
    """One series: a band through its intervals, its line, and its points."""
    scored = [(plot.x_of(across(row.budget)) + shift, row.fidelity) for row in one.rows]
    points = [(x, figure) for x, figure in scored if figure]
    if len(points) > 1:
        _draw_band(marks, points)
        plot.line(marks, index, [(x, plot.y_of(figure.value)) for x, figure in points])
    for x, figure in points:
        low, high = plot.y_of(figure.low), plot.y_of(figure.high)
        bar = f"M{x - 4:.1f},{low:.1f} h8 m-4,0 V{high:.1f} m-4,0 h8"
        add(marks, "path", class_="interval", d=bar, fill="none")
    for x, figure in points:
        plot.marker(marks, index, x, plot.y_of(figure.value))


def _draw_band(marks: Element, points: Sequence[tuple[float, Figure]]) -> None:
    upper = [f"{x:.1f},{plot.y_of(figure.high):.1f}" for x, figure in points]
    lower = [f"{x:.1f},{plot.y_of(figure.low):.1f}" for x, figure in points]
    add(marks, "polygon", class_="band", points=" ".join([*upper, *lower[::-1]]))
