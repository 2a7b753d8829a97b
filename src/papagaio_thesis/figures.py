"""Figure 5, and the figure of the digits from letters, as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from papagaio.numbers import percent
from papagaio.report import plot
from papagaio.report.drawing import add, markup
from papagaio.scores import Figure, over_seeds
from papagaio_thesis.digits import ANGULAR, ROUND
from papagaio_thesis.experiments import EXPERIMENTS, title_of
from papagaio_thesis.records import DigitRecord, ThesisResult
from papagaio_thesis.tables import experiment_trials

__all__ = ["digits_figure", "figure_5"]

_OTHER = tuple(digit for digit in range(10) if digit not in ROUND + ANGULAR)
_ORDER = (*ROUND, *ANGULAR, *_OTHER)
# Between two kinds of letters at one digit, as a fraction of the plot's width.
_OFFSET = 0.022


def figure_5(result: ThesisResult) -> Markup | None:
    """Draw distillation accuracy by epoch in the experiments; None if none was run."""
    curves = _mean_curves(result)
    if not curves:
        return None
    text = "; ".join(f"{label}: {percent(curve[-1])} at the end" for label, curve in curves.items())
    svg = plot.paper("figure-5", "Figure 5: distillation accuracy by epoch", text, len(curves))
    last = max(len(curve) for curve in curves.values())
    ticks = [(part / 4, f"{last * part // 4}") for part in range(5)]
    plot.axes(svg, ticks, "epoch", "distillation accuracy")
    for index, curve in enumerate(curves.values()):
        points = [
            (plot.x_of(epoch / last), plot.y_of(value)) for epoch, value in enumerate(curve, 1)
        ]
        marks = plot.group(svg, index)
        plot.line(marks, index, points)
        plot.marker(marks, index, *points[-1])
    plot.legend(svg, list(curves))
    return markup(svg)


def _mean_curves(result: ThesisResult) -> dict[str, list[float]]:
    """Distillation accuracy by epoch, as the mean over seeds, of each experiment by its title."""
    curves = {}
    for n in EXPERIMENTS:
        if trials := experiment_trials(result, n):
            seeds = [[epoch.distillation_accuracy for epoch in trial.curve] for trial in trials]
            curves[title_of(n)] = np.mean(seeds, axis=0).tolist()
    return curves


def digits_figure(digits: Sequence[DigitRecord], recipe: str) -> Markup | None:
    """Draw the accuracy on each digit of the copies made by a recipe from each kind of letters.

    Digits are in the order round, angular, others; bars are 95 % intervals over seeds. None if no
    copy was made by that recipe.
    """
    records = [record for record in digits if record.recipe == recipe]
    if not records:
        return None
    figures = {
        kind: [_on_digit([r for r in records if r.letters == kind], digit) for digit in _ORDER]
        for kind in dict.fromkeys(record.letters for record in records)
    }
    text = "; ".join(
        f"from {kind} letters: "
        + ", ".join(f"{d} {percent(each.value)}" for d, each in zip(_ORDER, some, strict=True))
        for kind, some in figures.items()
    )
    title = f"Digits from letters, by {recipe}"
    svg = plot.paper(f"digits-{recipe}", title, f"{text}.", len(figures))
    places = [(i + 0.5) / len(_ORDER) for i in range(len(_ORDER))]
    ticks = [(place, str(digit)) for place, digit in zip(places, _ORDER, strict=True)]
    label = f"digit: {len(ROUND)} round, {len(ANGULAR)} angular, {len(_OTHER)} others"
    plot.axes(svg, ticks, label, "accuracy")
    for index, some in enumerate(figures.values()):
        marks = plot.group(svg, index)
        for place, figure in zip(places, some, strict=True):
            # Next to each other, so that no bar hides another.
            x = plot.x_of(place + (index - 1) * _OFFSET)
            low, high = plot.y_of(figure.low), plot.y_of(figure.high)
            add(marks, "line", x1=x, x2=x, y1=low, y2=high)
            plot.marker(marks, index, x, plot.y_of(figure.value))
    plot.legend(svg, [f"copy from {kind} letters" for kind in figures])
    return markup(svg)


def _on_digit(records: Sequence[DigitRecord], digit: int) -> Figure:
    return over_seeds([record.per_digit[digit] for record in records])
