"""The table of the study `readings`: every teacher beside Table 1, the nearest first."""

import csv
import io

from papagaio_thesis.options import read_options
from papagaio_thesis.published import published
from papagaio_thesis.reading import ReadingRecord
from papagaio_thesis.records import ThesisResult

__all__ = ["RULE", "readings_cells", "readings_note", "readings_to_csv", "readings_to_markdown"]

RULE = (
    "The distance is the root of the mean of four squared differences from Table 1: accuracies in "
    "units of 0.05, logarithms of losses in units of ln(0.59 / 0.40) = 0.39. These are Table 1's "
    "own steps from train to test."
)

_READING = ("side", "pooling", "widths", "dropout", "normalisation", "unfrozen", "brightness")
_FIGURES = ("train accuracy", "train loss", "test accuracy", "test loss")
_HEADER = ("distance", *_READING, "parameters", *_FIGURES)


def readings_note(result: ThesisResult) -> str:
    """Return what a reader of the table has to know: what is reduced, the rule, the weights."""
    first = result.readings[0]
    note = f"{RULE} Convolutional layers from {first.start}; trained in {first.precision}; seed 0."
    here, full = result.options, read_options()
    phases = here.teacher
    if (here.images.owned, here.images.evaluated) == (
        full.images.owned,
        full.images.evaluated,
    ) and (phases.epochs == full.teacher.epochs):
        return note
    return (
        f"REDUCED, so no reading is named the thesis's: {first.owned:,} images for 50,000, "
        f"{phases.first_epochs} and {phases.second_epochs} epochs for 10 and 7, measured on "
        f"{first.train.images:,} and {first.test.images:,} images. {note}"
    )


def readings_cells(result: ThesisResult) -> list[list[str]]:
    """Return header, printed numbers and readings, nearest first, as text."""
    printed = [f"{one.value:.2f}" for one in published() if one.table == 1]
    return [
        list(_HEADER),
        ["0", "Table 1", *[""] * len(_READING), *printed],
        *(_cells(one) for one in result.readings),
    ]


def readings_to_markdown(result: ThesisResult) -> str:
    """Return the table as Markdown, with its note."""
    header, *rows = readings_cells(result)
    lines = ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)]
    return "\n".join([f"**Readings of the teacher.** {readings_note(result)}", "", *lines, ""])


def readings_to_csv(result: ThesisResult) -> str:
    """Return the readings as CSV, in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_HEADER, "train images", "test images"))
    for one in result.readings:
        figures = one.train.accuracy, one.train.loss, one.test.accuracy, one.test.loss
        images = one.train.images, one.test.images
        writer.writerow((one.distance, *_words(one), one.parameters, *figures, *images))
    return text.getvalue()


def _cells(one: ReadingRecord) -> list[str]:
    figures = [
        f"{each:.3f}" for part in (one.train, one.test) for each in (part.accuracy, part.loss)
    ]
    return [f"{one.distance:.2f}", *_words(one), f"{one.parameters:,}", *figures]


def _words(one: ReadingRecord) -> list[str]:
    values = dict(one.reading)
    return [
        " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
        for value in (values[key] for key in _READING)
    ]
