"""Figure 5, and the figure of the digits from letters, as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from papagaio.report import plot
from papagaio.report.drawing import add, markup
from papagaio.report.numbers import percent
from papagaio.scores import Figure, over_seeds
from papagaio_thesis.digits import ANGULAR, ROUND
from papagaio_thesis.plan import EXPERIMENTS, title_of
from papagaio_thesis.records import DigitRecord, ThesisResult
from papagaio_thesis.tables import experiment_trials

__all__ = ["digits_figure", "figure_5"]

_OTHER = tuple(digit for digit in range(10) if digit not in ROUND + ANGULAR)


def figure_5(result: ThesisResult) -> Markup | None:
    """Distillation accuracy over the epochs of the four experiments; None where none was run."""
    curves: dict[str, list[float]] = {}
    for n in EXPERIMENTS:
        trials = experiment_trials(result, n)
        if trials:
            seeds = [[epoch.agreement for epoch in trial.curve] for trial in trials]
            curves[title_of(n)] = np.mean(seeds, axis=0).tolist()
    if not curves:
        return None
    said = "; ".join(f"{label}: {percent(curve[-1])} at the end" for label, curve in curves.items())
    svg = plot.paper("figure-5", "Figure 5: distillation accuracy by epoch", said, len(curves))
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


def digits_figure(digits: Sequence[DigitRecord], recipe: str) -> Markup | None:
    """Accuracy on each digit of copies made by one recipe from each kind of letters.

    Digits stand in the order round, angular, others; bars are 95 % intervals over seeds. None
    where nothing was made by that recipe.
    """
    records = [record for record in digits if record.recipe == recipe]
    if not records:
        return None
    kinds = list(dict.fromkeys(record.letters for record in records))
    order = (*ROUND, *ANGULAR, *_OTHER)
    found = {
        kind: [_on_digit([r for r in records if r.letters == kind], d) for d in order]
        for kind in kinds
    }
    said = "; ".join(
        f"from {kind} letters: "
        + ", ".join(f"{d} {percent(s.value)}" for d, s in zip(order, found[kind], strict=True))
        for kind in kinds
    )
    name = f"digits-{recipe}"
    svg = plot.paper(name, f"Digits from letters, by {recipe}", f"{said}.", len(kinds))
    places = [(i + 0.5) / len(order) for i in range(len(order))]
    ticks = [(place, str(digit)) for place, digit in zip(places, order, strict=True)]
    across = f"digit: {len(ROUND)} round, {len(ANGULAR)} angular, {len(_OTHER)} others"
    plot.axes(svg, ticks, across, "accuracy")
    for index, kind in enumerate(kinds):
        marks = plot.group(svg, index)
        for place, score in zip(places, found[kind], strict=True):
            # Side by side, so that no bar hides another.
            x = plot.x_of(place + (index - 1) * 0.022)
            low, high = plot.y_of(score.low), plot.y_of(score.high)
            add(marks, "line", x1=x, x2=x, y1=low, y2=high)
            plot.marker(marks, index, x, plot.y_of(score.value))
    plot.legend(svg, [f"copy from {kind} letters" for kind in kinds])
    return markup(svg)


def _on_digit(records: Sequence[DigitRecord], digit: int) -> Figure:
    return over_seeds([record.per_digit[digit] for record in records])
