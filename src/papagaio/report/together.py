"""Copies together: what the same answers allow somebody who trains several copies."""

from dataclasses import dataclass

from papagaio.report.copies import copies
from papagaio.report.numbers import count, percent, share
from papagaio.result import EnsembleRecord, Result, SummaryRow

__all__ = ["Together", "strongest", "together"]

_SAME = {"student", "recipe", "response", "budget"}


@dataclass(frozen=True)
class Together:
    """An ensemble, beside the copies that it consists of.

    Attributes:
        copies: their mean.
        ensemble: their common answer.
    """

    copies: SummaryRow
    ensemble: EnsembleRecord


def together(result: Result) -> list[Together]:
    """Every ensemble, in the order of the summary."""
    found = {str(one.model_dump(include=_SAME)): one for one in result.ensembles}
    pairs = [(row, found.get(str(row.model_dump(include=_SAME)))) for row in copies(result)]
    return [Together(row, ensemble) for row, ensemble in pairs if ensemble]


def strongest(result: Result, row: SummaryRow) -> str:
    """What the copies of a summary row reach together, as a sentence; empty without an ensemble."""
    line = next((one for one in together(result) if one.copies == row), None)
    if line is None or line.ensemble.scores.fidelity is None:
        return ""
    fidelity = line.ensemble.scores.fidelity
    return (
        f" {count(len(line.ensemble.seeds))} such copies that answer together, which needs no"
        f" further query, reproduce {percent(fidelity.value)} ({share(fidelity).interval})."
    )
