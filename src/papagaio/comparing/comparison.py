"""Two runs -> what changed from the first to the second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from papagaio.comparing.differences import (
    Measured,
    mcnemar,
    paired_difference,
    unpaired_difference,
)
from papagaio.comparing.runs import Run, check_comparable, named_by
from papagaio.findings.copies import copies, strength, way_of
from papagaio.findings.strongest import black_box_fault
from papagaio.result import SummaryRow
from papagaio.scores import Figure

__all__ = ["Change", "Comparison", "Fact", "compare"]

_SCORES = ("fidelity", "accuracy", "relative_accuracy")
# Where a run is written and how it is run, which change no figure.
_UNIMPORTANT = {
    "out",
    "ledger",
    "data-dir",
    "checkpoint-seconds",
    "workers",
    "executor",
    "address",
    "gpu-share",
    "log-to",
}
_FACTS = ("black box", "identity", "it shows", "started", "papagaio", "transfer images")


@dataclass(frozen=True)
class Fact:
    """Something in which two runs differ."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Change:
    """One score of two copies, or of two black boxes.

    Attributes:
        subject: what is compared.
        score: the name of the score.
        first, second: the figures of the two runs.
        difference: the second minus the first.
        paired: whether it rests on the same images, one by one.
        p: of the exact McNemar test, where there is one training each; else None.
    """

    subject: str
    score: str
    first: Figure
    second: Figure
    difference: Figure
    paired: bool
    p: float | None

    @property
    def direction(self) -> Literal["higher", "lower", "not decided"]:
        """Whether the second is higher or lower: where its whole interval says so."""
        if self.difference.low > 0:
            return "higher"
        return "lower" if self.difference.high < 0 else "not decided"


@dataclass(frozen=True)
class Comparison:
    """A second run beside a first.

    Attributes:
        first, second: their folders.
        facts: in what they differ.
        changes: of the black box, then of the strongest copies and of equal ones by budget.
        cautions: what could make it meaningless.
    """

    first: str
    second: str
    facts: tuple[Fact, ...]
    changes: tuple[Change, ...]
    cautions: tuple[str, ...]


def compare(first: Run, second: Run) -> Comparison:
    """What changed from one run to another.

    Raises:
        BadSettings: they cannot be compared; the message says why and how to mend it.
    """
    check_comparable(first, second)
    changes = [_of_the_boxes(first, second)]
    for subject, one, other in _pairs(first, second):
        changes += [
            _of_copies(subject, score, (first, one), (second, other))
            for score in _SCORES
            if getattr(one, score) is not None and getattr(other, score) is not None
        ]
    return Comparison(
        str(first.folder),
        str(second.folder),
        tuple(_facts(first, second)),
        tuple(changes),
        tuple(_cautions(first, second, changes)),
    )


def _pairs(first: Run, second: Run) -> Iterator[tuple[str, SummaryRow, SummaryRow]]:
    """At each common budget the strongest copies, then those that are made alike."""
    rows, others = copies(first.result), copies(second.result)
    for budget in sorted(first.budgets & second.budgets):
        here = [row for row in rows if row.budget == budget]
        there = {way_of(row): row for row in others if row.budget == budget}
        strongest, its_strongest = max(here, key=strength), max(there.values(), key=strength)
        alike = [(row, there[way_of(row)]) for row in here if way_of(row) in there]
        if alike != [(strongest, its_strongest)]:
            shown = dict.fromkeys((strongest.response, its_strongest.response))
            subject = f"strongest copy ({' to '.join(shown)}), {budget:,} answers"
            yield subject, strongest, its_strongest
        for row, other in alike:
            yield f"{', '.join(way_of(row))}, {budget:,} answers", row, other


def _of_the_boxes(first: Run, second: Run) -> Change:
    figures = first.result.black_box.accuracy, second.result.black_box.accuracy
    return _change("black box", "accuracy", figures, (_box(first), _box(second)))


def _of_copies(
    subject: str, score: str, one: tuple[Run, SummaryRow], other: tuple[Run, SummaryRow]
) -> Change:
    figures: tuple[Figure, Figure] = getattr(one[1], score), getattr(other[1], score)
    return _change(subject, score, figures, (_measured(*one, score), _measured(*other, score)))


def _change(
    subject: str,
    score: str,
    figures: tuple[Figure, Figure],
    measured: tuple[Measured | None, Measured | None],
) -> Change:
    first, second = measured
    if first is None or second is None:
        return Change(subject, score, *figures, unpaired_difference(*figures), paired=False, p=None)
    p = None if score == "relative_accuracy" else mcnemar(first, second)
    return Change(subject, score, *figures, paired_difference(first, second), paired=True, p=p)


def _box(run: Run) -> Measured | None:
    if run.named is None or run.labels is None:
        return None
    right = (run.named == run.labels)[None].astype(np.float64)
    return Measured(right, np.ones(len(run.labels)))


def _measured(run: Run, row: SummaryRow, score: str) -> Measured | None:
    named = named_by(run, row)
    if named is None or run.named is None or run.labels is None:
        return None
    hits = named == (run.named if score == "fidelity" else run.labels)
    of = run.named == run.labels if score == "relative_accuracy" else np.ones(len(run.labels))
    return Measured(hits.astype(np.float64), of.astype(np.float64))


def _facts(first: Run, second: Run) -> Iterator[Fact]:
    for name, one, other in zip(_FACTS, _values(first), _values(second), strict=True):
        if one != other:
            yield Fact(name, one, other)
    settings = [
        {name: value for name, value in run.result.settings.items() if name not in _UNIMPORTANT}
        for run in (first, second)
    ]
    for name in dict.fromkeys([*settings[0], *settings[1]]):
        values = [one.get(name) for one in settings]
        if values[0] != values[1]:
            yield Fact(name, *(_setting(value) for value in values))


def _values(run: Run) -> tuple[str, ...]:
    result, box = run.result, run.result.black_box
    transfer = f"{result.transfer.name}, digest {result.transfer.digest[:12]}"
    shown = box.name, box.identity, box.shows
    return (*shown, f"{result.started[:19].replace('T', ' ')} UTC", result.papagaio, transfer)


def _setting(value: Any) -> str:  # noqa: ANN401  # the value of any setting
    if value is None:
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cautions(first: Run, second: Run, changes: Sequence[Change]) -> Iterator[str]:
    for run in (first, second):
        if not run.result.complete:
            yield f"{run.folder} is incomplete: a copy that is stronger may be missing"
        if fault := black_box_fault(run.result):
            yield f"{run.folder}: {fault}"
    if not all(change.paired for change in changes):
        yield (
            "Some differences are not paired, and their intervals are wider: a run lacks what"
            " its copies answer to each image (cells/ID/test-logits.npy), which its audit did not"
            " write yet"
        )
    if min(row.seeds for run in (first, second) for row in copies(run.result)) == 1:
        yield "Copies of one training each: the intervals do not include a change of the seed"
