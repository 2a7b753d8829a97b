"""An audit that asks in rounds, in which what copies answer decides what is asked next."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from papagaio.acquisition import ACQUISITION
from papagaio.auditing.points import copies_logits
from papagaio.errors import Diverged
from papagaio.images.imageset import ImageSet
from papagaio.progress import Message, Progress
from papagaio.result import Result, UntilRecord
from papagaio.vocabulary import Selection

__all__ = ["AuditRound", "Round", "audit_selected"]

# The budgets of the rounds, as parts of the whole.
_PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


@dataclass(frozen=True)
class Round:
    """What one round asks and trains.

    Attributes:
        transfer: the transfer images, in the order in which they are asked.
        asked: how many of them are asked.
        learned: the budgets of its copies.
        is_last: whether controls and students are trained too; the result of any other round is
            incomplete.
        until: the goal and the rounds so far, if there is a goal.
    """

    transfer: ImageSet
    asked: int
    learned: tuple[int, ...]
    is_last: bool
    until: UntilRecord | None = None


# Asks and trains what is missing.
AuditRound = Callable[[Round], Result]


def audit_selected(
    audit: AuditRound,
    transfer: ImageSet,
    budget: int,
    selection: Selection,
    out: Path,
    progress: Progress,
) -> Result:
    """Audit with transfer images that copies choose.

    The first round asks about the first images, a sixteenth of the budget, and every further one
    doubles what is asked. The first way of making copies chooses, its seeds together.

    Args:
        audit: audits a round.
        transfer: the candidates, at least as many as the budget.
        budget: how many are asked in all.
        selection: how copies choose.
        out: the run directory.
        progress: told what each round asks.

    Returns:
        the last round's result.

    Raises:
        Diverged: all copies that were to choose did.
    """
    budget = min(budget, len(transfer))
    sizes = sorted({max(1, round(part * budget)) for part in _PARTS})
    for number, (asked, more) in enumerate(pairwise(sizes), 1):
        result = audit(Round(transfer, asked, tuple(sizes[:number]), is_last=False))
        logits = copies_logits(result, out, transfer.pixels, asked)
        if logits is None:
            raise Diverged("every training diverged; the answers are kept: try another recipe")
        chosen = ACQUISITION[selection](logits[asked:], logits[:asked], more - asked)
        rest = np.delete(np.arange(asked, len(transfer)), chosen)
        transfer = transfer.take(np.concatenate([np.arange(asked), asked + chosen, rest]))
        progress(Message(f"selection {selection}: {asked:,} answers chose {more - asked:,} images"))
    return audit(Round(transfer, budget, tuple(sizes), is_last=True))
