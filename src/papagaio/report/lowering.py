"""What lowers the risk, by the numbers of this audit, and what does not."""

from collections.abc import Sequence

from papagaio.findings.copies import copy_cells, rivals, strength
from papagaio.findings.strongest import strongest_copy
from papagaio.findings.understating import understated
from papagaio.numbers import count, percent, plural
from papagaio.report.cost import Offer, offers
from papagaio.report.showing_less import ShownResponse
from papagaio.result import Result, SummaryRow
from papagaio.verdict import Standing, standing_of, verdict_of
from papagaio.vocabulary import LEVELS, Level

__all__ = ["fewer_answers", "first_step", "no_help", "untried"]

_COPIED = {"moderate", "high", "critical"}
_ACCOUNTS = "A limit per client helps only against those who cannot have several accounts."


def first_step(result: Result, responses: Sequence[ShownResponse]) -> str:
    """What to do first, in a sentence or two that follow from the numbers."""
    verdict = verdict_of(result)
    level = verdict.level
    if level == "not decided" and verdict.reaches:
        return (
            f"Treat the risk as {verdict.reaches[1]} until it is decided: repeat the audit with"
            f" {_what_decides(result)}."
        )
    if level == "not decided":
        return (
            "This audit supports no decision, and a poor copy in it is no sign of safety. Mend what"
            " stands in the way, as the sentence of the verdict names it, and repeat the audit."
        )
    if level == "low":
        return (
            "Nothing at once. This is no proof of safety: repeat the audit with images nearer to"
            " the model\u2019s task and with more answers, and whenever the model changes."
        )
    return (
        _less(result, responses, level)
        or _fewer(result, level)
        or _less_and_fewer(result, responses, level)
        or _nothing(result, level)
    )


def _less(result: Result, responses: Sequence[ShownResponse], level: Level) -> str:
    """What showing less does, where that is shown to help; or empty."""
    helping = [
        (one, standing) for one in responses if (standing := _below(result, one.copy, level))
    ]
    if not helping:
        return ""
    best, standing = min(helping, key=lambda one: one[0].fidelity.value)
    return (
        f"Show less: with \u201c{best.response}\u201d alone, the risk is less than {level}. The"
        f" strongest copy reaches {standing.reached}, and your clients no longer see"
        f" {best.hidden}."
    )


def _fewer(result: Result, level: Level) -> str:
    """What a limit on the answers does, where that is shown to help; or empty."""
    bought = offers(result)
    if not bought or not _below(result, bought[0].copy, level):
        return ""
    return f"Limit the answers. {fewer_answers(result)}"


def _less_and_fewer(result: Result, responses: Sequence[ShownResponse], level: Level) -> str:
    """What showing less and a limit do together, where that is shown to help; or empty."""
    least = min((one.copy.budget for one in offers(result)), default=0)
    helping = [
        (one, copy, standing)
        for one in responses
        if (copy := max(rivals(result, one.response, least), key=strength, default=None))
        if (standing := _below(result, copy, level))
    ]
    if not helping:
        return ""
    best, copy, standing = min(helping, key=lambda one: strength(one[1]))
    return (
        f"Show less and limit the answers: only with both is the risk less than {level}. From"
        f" {plural(copy.budget, 'answer')} of \u201c{best.response}\u201d alone, a copy reaches"
        f" {standing.reached}. {_ACCOUNTS}"
    )


def _nothing(result: Result, level: Level) -> str:
    already = _already(result, offers(result), level)
    return (
        f"Nothing that this audit tried is shown to make the risk less than {level}{already}. What"
        " remains is outside it: contracts, limits that hold over several accounts, and watching"
        " for clients whose images have nothing to do with your service."
    )


def _what_decides(result: Result) -> str:
    row = strongest_copy(result)
    only = understated(result, row) if row else None
    return only.remedy if only else "more test images or more seeds"


def _below(result: Result, copy: SummaryRow, level: Level) -> Standing | None:
    """Where a copy stands whose whole interval lies below a level; None for any other."""
    standing = standing_of(result, copy)
    if standing is None or LEVELS.index(standing.levels[1]) >= LEVELS.index(level):
        return None
    return standing


def _already(result: Result, bought: Sequence[Offer], level: Level) -> str:
    standing = standing_of(result, bought[0].copy) if bought else None
    if standing is None:
        return ""
    still = "is still" if standing.levels[0] == level else "may still be"
    answers = plural(bought[0].copy.budget, "answer")
    return f": even from {answers}, a copy reaches {standing.reached}, which {still} {level}"


def fewer_answers(result: Result) -> str:
    """What a limit on the answers changes, in a sentence; empty where the intervals overlap."""
    bought = offers(result)
    if len(bought) < 2:
        return ""
    least, most = bought[0].copy, bought[-1].copy
    if not least.fidelity or not most.fidelity or least.fidelity.high >= most.fidelity.low:
        return ""
    return (
        f"From {plural(least.budget, 'answer')} instead of {count(most.budget)}, the strongest copy"
        f" reaches a fidelity of {percent(least.fidelity.value)} instead of"
        f" {percent(most.fidelity.value)}. {_ACCOUNTS}"
    )


def no_help(result: Result) -> list[str]:
    """What did not protect this model; nothing where the audit does not show that it is copied."""
    if verdict_of(result).level not in _COPIED:
        return []
    return [
        "Keeping the network secret: no copy was told what it is.",
        f"Keeping the training images secret: the copies learned from {result.transfer.name}.",
    ]


def untried(result: Result) -> bool:
    """Whether all copies learned from one response, and the black box shows more than labels."""
    return (
        result.black_box.response != "label"
        and len({cell.response for cell in copy_cells(result)}) < 2
    )
