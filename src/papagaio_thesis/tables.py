"""Tables 1 to 5: the thesis's numbers and the measured ones side by side."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from papagaio.report.numbers import duration
from papagaio.scores import Figure, mean_over_seeds, rate
from papagaio_thesis.inputs import BODIES
from papagaio_thesis.options import Options, read_options
from papagaio_thesis.plan import EXPERIMENTS, title_of
from papagaio_thesis.published import EPOCHS, Published, published
from papagaio_thesis.records import Measured, ThesisResult, TrialRecord

__all__ = [
    "Row",
    "Table",
    "accuracy_of",
    "cells",
    "experiment_trials",
    "is_reduced",
    "mean_accuracy",
    "number",
    "tables",
    "to_csv",
    "to_markdown",
]

_COLUMNS = (
    *("where", "part", "metric", "thesis_epoch", "thesis", "epoch", "measured", "low", "high"),
    *("n", "difference", "recovered_logits", "in_scope"),
)


@dataclass(frozen=True)
class Row:
    """One number of the thesis, and what was measured in its place.

    Attributes:
        thesis: what was printed, and where.
        epoch: of the measurement: at another scale, the same part of the training.
        measured: mean and 95 % interval over seeds and images, or None where it was not run.
        beyond: the same by recovered logits and augmentation.
        in_scope: the same architecture on the teacher's own data by equation 1, at its end.
    """

    thesis: Published
    epoch: int | None
    measured: Figure | None
    beyond: Figure | None
    in_scope: Figure | None

    @property
    def difference(self) -> float | None:
        """Measured minus printed."""
        return None if self.measured is None else self.measured.value - self.thesis.value


@dataclass(frozen=True)
class Table:
    """One of the five tables; `note` says what is not as in the thesis, and must be shown."""

    number: int
    title: str
    note: str
    rows: tuple[Row, ...]


def tables(result: ThesisResult) -> list[Table]:
    """All five, also where nothing was measured."""
    by_table: dict[int, list[Published]] = {}
    for one in published():
        by_table.setdefault(one.table, []).append(one)
    return [
        Table(
            number,
            title_of(number - 1) if number > 1 else "the teacher",
            _note(result, number),
            tuple(_row(result, one) for one in rows),
        )
        for number, rows in by_table.items()
    ]


def experiment_trials(
    result: ThesisResult, number: int, variant: str = "thesis"
) -> list[TrialRecord]:
    """The trials of one experiment, one a seed."""
    study = f"experiment {number}"
    return [t for t in result.trials if (t.study, t.variant) == (study, variant)]


def mean_accuracy(trials: Sequence[TrialRecord]) -> Figure | None:
    """Accuracy on the test part at the end, over seeds; None without trials."""
    return _mean([t.at("test") for t in trials], "accuracy") if trials else None


def to_csv(table: Table) -> str:
    """A table as CSV: one line a number, full precision, nothing where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in table.rows:
        one, found = row.thesis, row.measured
        ends = (found.low, found.high) if found and found.low < found.high else (None, None)
        scores = (found.value, *ends, found.n) if found else (None,) * 4
        beyond, in_scope = (score and score.value for score in (row.beyond, row.in_scope))
        printed = one.where, one.part, one.metric, one.epoch, one.value
        writer.writerow((*printed, row.epoch, *scores, row.difference, beyond, in_scope))
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """A table as Markdown, with its note."""
    header = ["part", "metric", "epoch", "thesis", "measured", "95 % interval", "difference"]
    header += ["recovered-logits", "in scope (equation 1)"]
    lines = [header, ["---"] * len(header), *cells(table)]
    title = f"**Table {table.number}, {table.title}.** {table.note}"
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def cells(table: Table) -> list[list[str]]:
    """A table's rows as they are read."""
    return [
        [
            row.thesis.part,
            row.thesis.metric,
            _epochs(row),
            number(row.thesis.value),
            number(row.measured.value) if row.measured else "not run",
            interval(row.measured),
            "" if row.difference is None else _signed(row.difference),
            number(row.beyond.value) if row.beyond else "",
            number(row.in_scope.value) if row.in_scope else "",
        ]
        for row in table.rows
    ]


def number(value: float) -> str:
    """Two decimals as in the thesis, and powers of ten where it has them."""
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.2e}"


def _signed(difference: float) -> str:
    return f"{difference:+.2f}" if abs(difference) < 1000 else f"{difference:+.1e}"


def interval(score: Figure | None) -> str:
    """From where to where, or nothing where one seed of a loss says nothing."""
    if score is None or score.low == score.high:
        return ""
    return f"{score.low:.3f} to {score.high:.3f}" if abs(score.high) < 1000 else "wide"


def _epochs(row: Row) -> str:
    if row.thesis.epoch is None:
        return ""
    if row.epoch in (None, row.thesis.epoch):
        return str(row.thesis.epoch)
    return f"{row.thesis.epoch} (here {row.epoch})"


def _row(result: ThesisResult, one: Published) -> Row:
    if one.epoch is None:
        found = [m for m in result.teacher.measured if m.part == one.part] if result.teacher else []
        return Row(one, None, _mean(found, one.metric) if found else None, None, None)
    # At another scale, what was measured after the same part of the training.
    epoch = round(one.epoch * result.options.students.epochs / EPOCHS)

    def at_epoch(trials: Sequence[TrialRecord]) -> Figure | None:
        found = [m for t in trials for m in t.measured if (m.part, m.epoch) == (one.part, epoch)]
        return _mean(found, one.metric) if found else None

    body = BODIES[EXPERIMENTS[one.experiment][0]]
    in_scope = [t for t in result.trials if t.study == "in-scope" and t.body == body]
    last = epoch == result.options.students.epochs
    return Row(
        one,
        epoch,
        at_epoch(experiment_trials(result, one.experiment)),
        at_epoch(experiment_trials(result, one.experiment, "recovered-logits")),
        at_epoch(in_scope) if last else None,
    )


def _mean(found: Sequence[Measured], metric: str) -> Figure:
    """Over seeds; the interval of a loss knows the seeds alone, so one seed has none."""
    if metric == "loss":
        return mean_over_seeds([Figure(m.loss, m.loss, m.loss, m.images) for m in found])
    return mean_over_seeds([accuracy_of(m) for m in found])


def accuracy_of(one: Measured) -> Figure:
    """An accuracy with its interval over images."""
    # Wilson's interval needs the number of hits, and not which they are.
    return rate(np.arange(one.images) < round(one.accuracy * one.images))


def is_reduced(options: Options) -> bool:
    """Whether data or epochs of the teacher or an experiment are fewer than the thesis has."""
    full = read_options()
    sizes = (
        *((options.images, full.images, n) for n in ("large", "small", "owned", "evaluated")),
        *((options.teacher, full.teacher, n) for n in ("first_epochs", "second_epochs")),
        (options.students, full.students, "epochs"),
    )
    return any(getattr(here, name) < getattr(there, name) for here, there, name in sizes)


def _note(result: ThesisResult, number: int) -> str:
    """What is not as in the thesis."""
    words = []
    options = result.options
    images, students, teacher = options.images, options.students, options.teacher
    if is_reduced(options):
        sizes = (
            f"{images.large:,} images for 50,000, {images.small:,} for 10,000, {students.epochs} "
            f"epochs for 100, {images.evaluated:,} images of each part of CIFAR-10"
        )
        if result.teacher and not result.teacher.stand_in:
            sizes += (
                f", the teacher from {images.owned:,} images in {teacher.first_epochs} and "
                f"{teacher.second_epochs} epochs"
            )
        words.append(f"SMALL SCALE, every measured number: {sizes}.")
    if result.teacher and result.teacher.stand_in:
        words.append(f"The teacher is a STAND-IN, not the thesis's ({result.teacher.name}).")
    trials = experiment_trials(result, number - 1) if number > 1 else []
    if trials:
        precisions = ", ".join(sorted({t.precision for t in trials}))
        seconds = sum(t.seconds for t in trials) / len(trials)
        words.append(
            f"Student from {trials[0].initial} weights; seeds: {len(trials)}; {precisions}; "
            f"{duration(seconds)} a training."
        )
    return " ".join(words)
