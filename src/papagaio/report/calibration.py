"""How sure the copy is, and how often it is right."""

from markupsafe import Markup

from papagaio.numbers import percent, plural
from papagaio.report import plot
from papagaio.report.drawing import add, markup
from papagaio.result import CopyDetail

__all__ = ["calibration"]


def calibration(detail: CopyDetail) -> Markup:
    """The share of test images on which the copy is right, by its confidence, as inline SVG."""
    description = "; ".join(
        f"{percent(one.confidence)} sure on {plural(one.images, 'image')}: right on"
        f" {percent(one.right)}"
        for one in detail.calibration
    )
    svg = plot.paper("calibration", "Calibration of the copy", f"{description}.", 0)
    ticks = [(fifth / 5, f"{20 * fifth} %") for fifth in range(6)]
    plot.axes(svg, ticks, "how sure the copy is", "how often it is right")
    ideal = add(svg, "g", class_="reference ceiling")
    add(ideal, "line", x1=plot.LEFT, y1=plot.BOTTOM, x2=plot.RIGHT, y2=plot.TOP)
    marks = plot.group(svg, 0)
    points = [(plot.x_of(one.confidence), plot.y_of(one.right)) for one in detail.calibration]
    plot.line(marks, 0, points)
    most = max(one.images for one in detail.calibration)
    for (x, y), one in zip(points, detail.calibration, strict=True):
        radius = 3 + 6 * (one.images / most) ** 0.5
        add(marks, "circle", class_="marker", cx=x, cy=y, r=radius)
    return markup(svg)
