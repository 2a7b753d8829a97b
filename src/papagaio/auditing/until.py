"""Buying answers in rounds, until held-out answers show that a fidelity goal is reached.

Each round asks about more images. Its copies do not learn the last of the answers: on these they
are measured, and the next round's copies learn them. The test set decides nothing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from papagaio.auditing.points import groups_of, held_out_fidelity, points_of
from papagaio.auditing.querying import frozen_transfer_set
from papagaio.errors import BadSettings, Diverged
from papagaio.learning_curve import LearningCurve, Point
from papagaio.numbers import with_interval
from papagaio.progress import Message, Progress
from papagaio.result import Result, RoundRecord, UntilOutcome, UntilRecord
from papagaio.scores import Figure

__all__ = ["audit_until"]

# The first round's copies learn this part of the budget, and no fewer answers than this.
_FIRST_PART, _FIRST = 1 / 16, 200
# What a round holds out, as a part of what its copies learn, and at most.
_HELD_OUT, _MOST_HELD_OUT = 1 / 4, 1000
# How much more the next copies learn.
_LEAST_GROWTH, _MOST_GROWTH = 1.25, 2.0

# Audits one round: asks about the last of the budgets, and trains copies at the others; at the end,
# when asking has an outcome, at all of them. Finished trainings are not repeated.
Round = Callable[[Sequence[int], UntilRecord], Result]


def audit_until(audit: Round, out: Path, most: int, goal: float, progress: Progress) -> Result:
    """Audit with as many answers as a fidelity goal needs.

    Args:
        audit: audits a round.
        out: the run directory.
        most: the largest number of answers.
        goal: fidelity on held-out answers.
        progress: told what each round shows.

    Returns:
        the result of the end.

    Raises:
        BadSettings: of so few answers, none can be held out.
        Diverged: every training did.
    """
    largest = _learned(most)
    if not largest:
        raise BadSettings("one answer cannot be held out", field="until", value=goal)
    learned = [min(largest, max(_FIRST, round(_FIRST_PART * most)))]
    until = UntilRecord(goal=goal, outcome=None, rounds=[])
    while True:
        bought = most if learned[-1] == largest else learned[-1] + _held_out(learned[-1])
        result = audit([*learned, bought], until)
        points = _best_points(result, out, learned[-1])
        found = _round(points, learned[-1], bought, most)
        progress(Message(f"until {goal:g}: {_in_words(found)}"))
        outcome = _outcome(found, goal, most)
        until = UntilRecord(goal=goal, outcome=outcome, rounds=[*until.rounds, found])
        if outcome:
            return audit([*learned, bought], until)
        learned.append(_next_budget(LearningCurve(points), goal, learned[-1], largest))


def _held_out(learned: int) -> int:
    return min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * learned)))


def _learned(bought: int) -> int:
    """How many answers copies learn where so many are bought; 0 where none can be held out."""
    return min(bought - 1, max(round(bought / (1 + _HELD_OUT)), bought - _MOST_HELD_OUT))


def _best_points(result: Result, out: Path, learned: int) -> tuple[Point, ...]:
    """The fidelity on held-out answers, by budget, of the way of making copies that is best now."""
    figures = held_out_fidelity(result, out, *frozen_transfer_set(out / "inputs"), learned)
    ways = [points_of(cells, figures) for cells in groups_of(result)]
    ways = [points for points in ways if points and points[-1].budget == learned]
    if not ways:
        raise Diverged("every training diverged; the answers are kept: try another recipe")
    return max(ways, key=lambda points: _mean(points, learned).value)


def _mean(points: Sequence[Point], budget: int) -> Figure:
    """The mean over seeds at a budget, of the interval's ends too: the interval is over images."""
    figures = [point.figure for point in points if point.budget == budget]
    value, low, high = (
        float(np.mean([getattr(figure, end) for figure in figures]))
        for end in ("value", "low", "high")
    )
    return Figure(value, low, high, figures[0].n)


def _round(points: tuple[Point, ...], learned: int, bought: int, most: int) -> RoundRecord:
    curve = LearningCurve(points)
    whole = curve.at(most) if most <= curve.farthest else None
    fidelity = _mean(points, learned)
    return RoundRecord(budget=learned, bought=bought, fidelity=fidelity, whole_budget=whole)


def _in_words(found: RoundRecord) -> str:
    words = (
        f"copies from {found.budget:,} answers agree on {with_interval(found.fidelity)} of "
        f"{found.fidelity.n:,} held-out transfer images"
    )
    if found.whole_budget:
        words += f"; {with_interval(found.whole_budget)} is expected from the whole budget"
    return words


def _outcome(found: RoundRecord, goal: float, most: int) -> UntilOutcome | None:
    """Why asking stops after this round; None where it goes on."""
    if found.fidelity.low >= goal:
        return "reached"
    if found.bought == most:
        return "budget spent"
    if found.whole_budget and found.whole_budget.high < goal:
        return "out of reach"
    return None


def _next_budget(curve: LearningCurve, goal: float, learned: int, largest: int) -> int:
    """Where the curve is expected to reach the goal, within the limits of growth."""
    needed = curve.needed(goal)
    wanted = needed.value if needed and needed.value else largest
    least, limit = _LEAST_GROWTH * learned, _MOST_GROWTH * learned
    return min(largest, round(min(max(wanted, least), limit)))
