"""Copies together: what the same answers allow somebody who trains several copies."""

from dataclasses import dataclass

from papagaio.findings.copies import Way, copies, way_of
from papagaio.numbers import count, with_interval
from papagaio.result import EnsembleRecord, Result, SummaryRow
from papagaio.vocabulary import DISTILLED

__all__ = ["Together", "strongest", "together"]


@dataclass(frozen=True)
class Together:
    """An ensemble, beside the copies that it consists of.

    Attributes:
        copies: their mean.
        ensemble: their common answer.
        student: the one student distilled from them; None without it.
    """

    copies: SummaryRow
    ensemble: EnsembleRecord
    student: SummaryRow | None


def together(result: Result) -> list[Together]:
    """Every ensemble, in the order of the summary."""
    ensembles = {_key(one): one for one in result.ensembles}
    students = {_key(row): row for row in result.summary if row.kind == DISTILLED}
    return [
        Together(row, ensembles[_key(row)], students.get(_key(row)))
        for row in copies(result)
        if _key(row) in ensembles
    ]


def _key(record: SummaryRow | EnsembleRecord) -> tuple[Way, int]:
    return way_of(record), record.budget


def strongest(result: Result, row: SummaryRow) -> str:
    """What the copies of a summary row reach together, as a sentence; empty without an ensemble."""
    line = next((one for one in together(result) if one.copies == row), None)
    if line is None or line.ensemble.scores.fidelity is None:
        return ""
    fidelity = line.ensemble.scores.fidelity
    sentence = (
        f"{count(len(line.ensemble.seeds))} such copies that answer together reproduce"
        f" {with_interval(fidelity)} of the model\u2019s decisions, at no further query"
    )
    if line.student is None or line.student.fidelity is None:
        return f"{sentence}."
    return (
        f"{sentence}; one student that learned from them reproduces"
        f" {with_interval(line.student.fidelity)}."
    )
