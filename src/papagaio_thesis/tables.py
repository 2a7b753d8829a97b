"""Tables 1 to 5: the thesis's numbers next to the measured ones."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from papagaio.numbers import duration
from papagaio.scores import Figure, mean_over_seeds, rate
from papagaio_thesis.experiments import BODIES, EXPERIMENTS, title_of
from papagaio_thesis.options import StudyOptions, read_options
from papagaio_thesis.published import EPOCHS, Metric, Published, published
from papagaio_thesis.records import Measurement, ThesisResult, TrialRecord

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
    """One number of the thesis, and what was measured for it.

    Attributes:
        thesis: the printed number.
        epoch: after which epoch it was measured. At another scale, it is the same fraction of the
            training.
        measured: mean and 95 % interval over seeds and images; None if it was not run.
        beyond: the same with recovered logits and augmentation.
        in_scope: the same architecture on the teacher's own data by equation 1, at the end.
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
    """One of the five tables; `note` names the differences from the thesis and must be shown."""

    number: int
    title: str
    note: str
    rows: tuple[Row, ...]


def tables(result: ThesisResult) -> list[Table]:
    """Return all five tables, whether or not anything was measured for them."""
    by_table: dict[int, list[Published]] = {}
    for printed in published():
        by_table.setdefault(printed.table, []).append(printed)
    return [
        Table(
            number,
            title_of(number - 1) if number > 1 else "the teacher",
            _note(result, number),
            tuple(_row(result, printed) for printed in rows),
        )
        for number, rows in by_table.items()
    ]


def experiment_trials(
    result: ThesisResult, number: int, variant: str = "thesis"
) -> list[TrialRecord]:
    """Return the trials of an experiment, one per seed."""
    study = f"experiment {number}"
    return [t for t in result.trials if (t.study, t.variant) == (study, variant)]


def _shown_trials(result: ThesisResult, number: int, variant: str = "thesis") -> list[TrialRecord]:
    """The finished trials of an experiment; if there are none, the unfinished ones."""
    study = f"experiment {number}"
    return experiment_trials(result, number, variant) or [
        t for t in result.unfinished if (t.study, t.variant) == (study, variant)
    ]


def mean_accuracy(trials: Sequence[TrialRecord]) -> Figure | None:
    """Return the final accuracy on the test part over seeds; None without trials."""
    return _mean([trial.at("test") for trial in trials], "accuracy")


def to_csv(table: Table) -> str:
    """Return a table as CSV, in full precision; what was not measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in table.rows:
        printed, measured = row.thesis, row.measured
        figures: tuple[float | None, ...] = (None,) * 4
        if measured:
            ends = (measured.low, measured.high) if _has_interval(measured) else (None, None)
            figures = (measured.value, *ends, measured.n)
        beyond, in_scope = (figure and figure.value for figure in (row.beyond, row.in_scope))
        first = printed.where, printed.part, printed.metric, printed.epoch, printed.value
        writer.writerow((*first, row.epoch, *figures, row.difference, beyond, in_scope))
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """Return a table as Markdown, with its note."""
    header = ["part", "metric", "epoch", "thesis", "measured", "95 % interval", "difference"]
    header += ["recovered-logits", "in scope (equation 1)"]
    lines = [header, ["---"] * len(header), *cells(table)]
    title = f"**Table {table.number}, {table.title}.** {table.note}".rstrip()
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def cells(table: Table) -> list[list[str]]:
    """Return a table's rows as text."""
    return [
        [
            row.thesis.part,
            row.thesis.metric,
            _epochs(row),
            number(row.thesis.value),
            number(row.measured.value) if row.measured else "not run",
            _interval(row.measured),
            "" if row.difference is None else _signed(row.difference),
            number(row.beyond.value) if row.beyond else "",
            number(row.in_scope.value) if row.in_scope else "",
        ]
        for row in table.rows
    ]


def number(value: float) -> str:
    """Format a number as the thesis does: two decimals, or a power of ten for large ones."""
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.2e}"


def _signed(difference: float) -> str:
    return f"{difference:+.2f}" if abs(difference) < 1000 else f"{difference:+.1e}"


def _interval(figure: Figure | None) -> str:
    if figure is None or not _has_interval(figure):
        return ""
    return f"{figure.low:.3f} to {figure.high:.3f}" if abs(figure.high) < 1000 else "wide"


def _has_interval(figure: Figure) -> bool:
    """A loss from one seed has none."""
    return figure.low < figure.high


def _epochs(row: Row) -> str:
    if row.thesis.epoch is None:
        return ""
    if row.epoch in (None, row.thesis.epoch):
        return str(row.thesis.epoch)
    return f"{row.thesis.epoch} (here {row.epoch})"


def _row(result: ThesisResult, printed: Published) -> Row:
    if printed.epoch is None:
        measured = result.teacher.measurements if result.teacher else []
        same_part = [one for one in measured if one.part == printed.part]
        return Row(printed, None, _mean(same_part, printed.metric), None, None)
    epochs = result.options.students.epochs
    epoch = round(printed.epoch * epochs / EPOCHS)

    def after_epoch(trials: Iterable[TrialRecord]) -> Figure | None:
        same = [
            one
            for trial in trials
            for one in trial.measurements
            if (one.part, one.epoch) == (printed.part, epoch)
        ]
        return _mean(same, printed.metric)

    body = BODIES[EXPERIMENTS[printed.experiment].architecture]
    in_scope = [t for t in result.trials if t.study == "in-scope" and t.body == body]
    return Row(
        printed,
        epoch,
        after_epoch(_shown_trials(result, printed.experiment)),
        after_epoch(_shown_trials(result, printed.experiment, "recovered-logits")),
        after_epoch(in_scope) if epoch == epochs else None,
    )


def _mean(measurements: Sequence[Measurement], metric: Metric) -> Figure | None:
    """The mean over seeds; a loss's interval is over seeds only, so one seed has none."""
    if not measurements:
        return None
    if metric == "loss":
        return mean_over_seeds([Figure(m.loss, m.loss, m.loss, m.images) for m in measurements])
    return mean_over_seeds([accuracy_of(m) for m in measurements])


def accuracy_of(measured: Measurement) -> Figure:
    """Return an accuracy with its interval over images."""
    # Wilson's interval needs only the number of hits.
    return rate(np.arange(measured.images) < round(measured.accuracy * measured.images))


def is_reduced(options: StudyOptions) -> bool:
    """Return whether there are fewer images or epochs than in the thesis."""
    full = read_options()
    sizes = (
        *((options.images, full.images, n) for n in ("large", "small", "owned", "evaluated")),
        *((options.teacher, full.teacher, n) for n in ("first_epochs", "second_epochs")),
        (options.students, full.students, "epochs"),
    )
    return any(getattr(here, name) < getattr(there, name) for here, there, name in sizes)


def _note(result: ThesisResult, number: int) -> str:
    """The differences from the thesis."""
    sentences = []
    teacher = result.teacher
    if is_reduced(result.options):
        sentences.append(_sizes(result))
    if teacher and teacher.stand_in:
        sentences.append(f"The teacher is a STAND-IN, not the thesis's ({teacher.name}).")
    elif teacher and teacher.start:
        form = result.options.images.normalisation
        sentences.append(f"Teacher from {teacher.start}, colours in the form {form}.")
    trials = _shown_trials(result, number - 1) if number > 1 else []
    if trials:
        if trials[0] in result.unfinished:
            reached = " and ".join(str(len(trial.curve)) for trial in trials)
            epochs = result.options.students.epochs
            sentences.append(f"UNFINISHED: measured up to epoch {reached} of {epochs}.")
        precisions = ", ".join(sorted({trial.precision for trial in trials}))
        seconds = sum(trial.seconds for trial in trials) / len(trials)
        start = trials[0].start or f"{trials[0].initial} weights"
        sentences.append(
            f"Student from {start}; seeds: {len(trials)}; {precisions}; "
            f"{duration(seconds)} per training."
        )
    return " ".join(sentences)


def _sizes(result: ThesisResult) -> str:
    options, teacher = result.options, result.teacher
    images, phases = options.images, options.teacher
    sizes = (
        f"{images.large:,} images for 50,000, {images.small:,} for 10,000, "
        f"{options.students.epochs} epochs for 100, {images.evaluated:,} images of each part of "
        "CIFAR-10"
    )
    if teacher and not teacher.stand_in:
        sizes += (
            f", the teacher from {images.owned:,} images in {phases.first_epochs} and "
            f"{phases.second_epochs} epochs"
        )
    return f"SMALL SCALE, every measured number: {sizes}."
