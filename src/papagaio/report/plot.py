"""What all plots share: axes, and marks that differ in shape and dashes as well as colour."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from papagaio.report.drawing import add, drawing

__all__ = [
    "BOTTOM",
    "LEFT",
    "RIGHT",
    "TOP",
    "axes",
    "group",
    "legend",
    "line",
    "marker",
    "paper",
    "spread",
    "x_of",
    "y_of",
]

# The edges of the plot, in a drawing 668 units wide; the right margin is for labels.
LEFT, RIGHT, TOP, BOTTOM = 54.0, 470.0, 38.0, 338.0
_WIDTH, _LEGEND, _ROW, _TICK_ROW = 668.0, BOTTOM + 74, 24.0, 18.0

# As many as there are colours in report.css.
_COLOURS = 6
_DASHES = ("none", "9 4", "2 4", "10 4 2 4", "16 4")
_MARKERS = (
    "M-5,0 A5,5 0 1 1 5,0 A5,5 0 1 1 -5,0 Z",
    "M-4.5,-4.5 H4.5 V4.5 H-4.5 Z",
    "M0,-6 L5.5,4.5 H-5.5 Z",
    "M0,-6.5 L6.5,0 L0,6.5 L-6.5,0 Z",
    "M0,6 L5.5,-4.5 H-5.5 Z",
    "M-2,-6 H2 V-2 H6 V2 H2 V6 H-2 V2 H-6 V-2 H-2 Z",
    "M-7.5,-2.5 H7.5 V2.5 H-7.5 Z",
)


def paper(name: str, title: str, description: str, lines: int, rows: int = 0) -> Element:
    """An empty plot with room for a legend of `lines` lines, and `rows` more rows of ticks."""
    height = _LEGEND + rows * _TICK_ROW + lines * _ROW - 10
    return drawing(name, (_WIDTH, height), title, description)


def x_of(part: float) -> float:
    """The x of a position between the left edge (0) and the right edge (1)."""
    return LEFT + part * (RIGHT - LEFT)


def y_of(part: float) -> float:
    """The y of a share; shares outside 0 to 1 are drawn at the edge."""
    return BOTTOM - min(max(part, 0.0), 1.0) * (BOTTOM - TOP)


def axes(svg: Element, ticks: Sequence[tuple[float, str]], across: str, upwards: str) -> None:
    """Draw both axes.

    Args:
        svg: the plot.
        ticks: of the horizontal axis: position (0 to 1) and text, one line per row of ticks.
        across: label of the horizontal axis.
        upwards: label of the vertical axis, which goes from 0 to 100 %.
    """
    box = add(svg, "g", class_="axes")
    for fifth in range(6):
        y = y_of(fifth / 5)
        add(box, "line", class_="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y)
        add(box, "text", f"{20 * fifth} %", x=LEFT - 8, y=y + 4, text_anchor="end")
    for part, text in ticks:
        x = x_of(part)
        add(box, "line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 6)
        for row, words in enumerate(text.split("\n")):
            y = BOTTOM + 22 + row * _TICK_ROW
            add(box, "text", words, x=x, y=y, text_anchor="middle")
    add(box, "line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM)
    add(box, "text", upwards, x=4, y=18)
    y = BOTTOM + 44 + _TICK_ROW * max((text.count("\n") for _, text in ticks), default=0)
    add(box, "text", across, x=(LEFT + RIGHT) / 2, y=y, text_anchor="middle")


def group(svg: Element, index: int) -> Element:
    """A group for the marks of one series, in its colour."""
    return add(svg, "g", class_=f"series colour-{index % _COLOURS}")


def line(marks: Element, index: int, points: Sequence[tuple[float, float]]) -> None:
    """A line through points, in the dashes of the series."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = _DASHES[index % len(_DASHES)]
    add(marks, "polyline", points=path, fill="none", stroke_dasharray=dashes)


def marker(marks: Element, index: int, x: float, y: float) -> None:
    """A point, in the shape of the series."""
    shape = _MARKERS[index % len(_MARKERS)]
    add(marks, "path", class_="marker", d=shape, transform=f"translate({x:.1f},{y:.1f})")


def legend(svg: Element, labels: Sequence[str], rows: int = 0) -> None:
    """A legend below the plot, one line per series, below `rows` more rows of ticks."""
    for index, label in enumerate(labels):
        y = _LEGEND + rows * _TICK_ROW + index * _ROW
        marks = group(svg, index)
        line(marks, index, [(LEFT, y), (LEFT + 44, y)])
        marker(marks, index, LEFT + 22, y)
        add(svg, "text", label, x=LEFT + 56, y=y + 5)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move heights apart until neighbours are at least `gap` apart, inside the plot.

    Args:
        wanted: y of each label, from the top down.
        gap: the smallest distance between neighbours.
    """
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    limit = BOTTOM
    for i in reversed(range(len(placed))):
        placed[i] = limit = min(placed[i], limit)
        limit -= gap
    return placed
