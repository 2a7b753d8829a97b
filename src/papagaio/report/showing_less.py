"""What showing less of each answer changes: the strongest copy of each response."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from papagaio.findings.copies import copies, rivals, strength, trainings
from papagaio.findings.strongest import black_box_fault
from papagaio.numbers import count, percent
from papagaio.responses import is_derivable
from papagaio.result import Result, SummaryRow
from papagaio.scores import Figure
from papagaio.vocabulary import RESPONSES

__all__ = ["ShownResponse", "advice", "showing_less"]


@dataclass(frozen=True)
class ShownResponse:
    """A response and the strongest copy that it allows.

    Attributes:
        response: what each answer shows.
        hidden: what the black box's users no longer see.
        copy: the most faithful copy over recipes, students and the responses derived from it.
        fidelity: the fidelity of that copy.
        compared: the number of copies that it was chosen from.
        enough: the smallest budget at which a copy from the first response of the comparison is
            as faithful.
        undertrained: whether any of the copies compared is undertrained.
        lost: the fidelity lost to the first response, in words; empty for the first.
    """

    response: str
    hidden: str
    copy: SummaryRow
    fidelity: Figure
    compared: int
    enough: int
    undertrained: bool
    lost: str


def showing_less(result: Result) -> list[ShownResponse]:
    """The responses tried, the most informative first, at the largest budget common to them.

    Returns:
        Nothing where fewer than two responses have a scored copy with a common budget, or where
        the black box does not work.
    """
    scored = [] if black_box_fault(result) else [row for row in copies(result) if row.fidelity]
    tried = list(dict.fromkeys(row.response for row in scored))
    tried.sort(key=[*RESPONSES, *tried].index)
    budgets = [{row.budget for row in scored if row.response == response} for response in tried]
    common = set.intersection(*budgets) if len(tried) > 1 else set()
    lines = [_shown(result, response, tried[0], max(common)) for response in tried if common]
    return [replace(line, lost=_lost(lines[0], line)) for line in lines]


def advice(lines: Sequence[ShownResponse]) -> list[str]:
    """One sentence or two about each response that shows less than the first."""
    return [_advice(lines[0], line) for line in lines[1:]]


def _shown(result: Result, response: str, first: str, budget: int) -> ShownResponse:
    compared = rivals(result, response, budget)
    copy = max(compared, key=strength)
    assert copy.fidelity  # noqa: S101  # only responses with a scored copy come here
    as_faithful = {
        row.budget
        for row in copies(result)
        if is_derivable(row.response, first)
        if strength(row) >= copy.fidelity.value
    }
    return ShownResponse(
        response,
        _hidden(response),
        copy,
        copy.fidelity,
        len(compared),
        min(as_faithful, default=budget),
        any(cell.undertrained for row in compared for cell in trainings(result, row)),
        "",
    )


def _lost(first: ShownResponse, less: ShownResponse) -> str:
    if less is first:
        return ""
    if less.copy == first.copy:
        return "nothing"
    if less.fidelity.high >= first.fidelity.low:
        return "nothing that this audit can show"
    return f"{100 * (first.fidelity.value - less.fidelity.value):.1f} points"


def _advice(first: ShownResponse, less: ShownResponse) -> str:
    change = f"Showing \u201c{less.response}\u201d instead of \u201c{first.response}\u201d"
    if less.copy == first.copy:
        return f"{change} changes nothing here: the strongest copy needs no more than that."
    values = f"from {percent(first.fidelity.value)} to {percent(less.fidelity.value)}"
    if less.fidelity.high >= first.fidelity.low:
        return (
            f"{change} moves the strongest copy {values}, but the intervals overlap: this audit"
            " does not show that it helps."
        )
    sentences = [f"{change} lowers the strongest copy {values}."]
    if less.enough < less.copy.budget:
        sentences.append(
            f"A copier needs {count(less.copy.budget)} answers for what"
            f" {count(less.enough)} give with \u201c{first.response}\u201d."
        )
    if less.undertrained:
        sentences.append("Part of this may be due to undertrained copies.")
    return " ".join([*sentences, f"Users no longer see {less.hidden}."])


def _hidden(response: str) -> str:
    kind, _, number = response.partition("-")
    if kind == "rounded":
        return f"differences smaller than {10 ** -int(number):g}"
    if kind == "top":
        return f"any class after the first {number}" if number != "1" else "any class but the first"
    return "how sure the model is, or any class but the first" if kind == "label" else "nothing"
