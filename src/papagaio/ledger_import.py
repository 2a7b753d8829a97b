"""Bringing the answers of another machine's ledger into this one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadLedger
from papagaio.ledger import Ledger, Question, SentRequest

__all__ = ["Imported", "import_ledger", "refuse_unsound"]


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    Attributes:
        answers: answers that were not known here.
        requests: the requests that they came in.
        known: answers that were known here, with the same scores.
        interrupted: images of interrupted requests that were not known here.
    """

    answers: int
    requests: int
    known: int
    interrupted: int


def refuse_unsound(source: Ledger) -> None:
    """Refuse a ledger that contradicts itself.

    Raises:
        BadLedger: it does.
    """
    problem = next(source.problems(), None)
    if problem:
        raise BadLedger(
            f"{source.path}: {problem}; see papagaio ledger verify, and import an earlier copy"
        )


def import_ledger(source: Ledger, into: Ledger) -> Imported:
    """Bring every answer of a ledger into another one, once, in one transaction.

    Requests keep their times. A request of which some answers are known here comes with the others
    and its canaries alone. Interrupted requests come along. The same ledger imported again changes
    nothing.

    Args:
        source: where answers are read from, after `refuse_unsound`. It stays as it is.
        into: where they are brought.

    Returns:
        what was brought.

    Raises:
        BadLedger: `source` holds other answers to images that are answered here. Nothing is
            brought then.
        NoSpace: the disk is full. Nothing is brought then.
    """
    questions = [totals.question for totals in source.totals()]
    held = sum(totals.answers for totals in source.totals())
    new = [request for question in questions for request in _new(question, source, into)]
    into.add(new)
    answers = sum(len(request.digests) for request in new)
    interrupted = [request.images for request in new if not request.answered]
    return Imported(answers, len(new) - len(interrupted), held - answers, sum(interrupted))


def _new(question: Question, source: Ledger, into: Ledger) -> list[SentRequest]:
    """The requests about a question that are not in `into`, without the answers that are there."""
    requests = source.requests(question)
    digests = np.concatenate([request.digests for request in requests])
    is_new = np.zeros(len(digests), np.bool_)
    is_new[into.missing(question, digests)] = True
    _refuse_other_answers(question, digests[~is_new], source, into)
    ends = np.cumsum([len(request.digests) for request in requests])
    parts = [*zip(requests, np.split(is_new, ends[:-1]), strict=True)]
    answered = [_only(request, rows) for request, rows in parts if rows.any()]
    ours = into.requests(question)
    # The canaries of a request were paid for even where other requests brought all its answers.
    spent = [
        _only(request, rows)
        for request, rows in parts
        if len(rows) and not rows.any() and request.canaries
    ]
    alone, ours_alone = (
        [request for request in some if not len(request.digests)] for some in (requests, ours)
    )
    return [*answered, *_not_among(ours, spent, _times), *_not_among(ours_alone, alone, _size)]


def _only(request: SentRequest, rows: NDArray[np.bool_]) -> SentRequest:
    digests, scores = request.digests[rows], request.scores[rows]
    images = len(digests) + request.canaries
    return replace(request, images=images, digests=digests, scores=scores)


def _times(request: SentRequest) -> tuple[object, ...]:
    return request.sent, request.answered


def _size(request: SentRequest) -> tuple[object, ...]:
    return request.images, *_times(request)


def _not_among(
    ours: Iterable[SentRequest],
    theirs: Iterable[SentRequest],
    key: Callable[[SentRequest], tuple[object, ...]],
) -> Iterator[SentRequest]:
    """Those of their requests that are not among ours; several may have been sent at once."""
    known = Counter(map(key, ours))
    for request in theirs:
        if known[key(request)]:
            known[key(request)] -= 1
        else:
            yield request


def _refuse_other_answers(
    question: Question, known: NDArray[np.uint8], source: Ledger, into: Ledger
) -> None:
    """Refuse a ledger that contradicts this one about the images that both hold."""
    advice = "give one of the two models another identity; nothing was imported"
    theirs, ours = source.classes(question), into.classes(question)
    if None not in (theirs, ours) and theirs != ours:
        raise BadLedger(
            f"{source.path}: {question.box} has {theirs} classes there, and {ours} in {into.path}: "
            + advice
        )
    if not len(known):
        return
    differ = (source.read(question, known) != into.read(question, known)).any(1)
    if differ.any():
        image = known[differ.argmax()].tobytes().hex()[:16]
        raise BadLedger(
            f"{source.path}: image {image} of {question.box} has other scores in {into.path}: "
            + advice
        )
