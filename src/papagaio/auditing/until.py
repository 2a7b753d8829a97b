"""Buying answers in rounds, until held-out answers show that a fidelity goal is reached.

Each round is an audit with a larger budget in the same run directory, so earlier copies are not
trained again. Then it buys a few answers more, which no copy has learned yet: these are the
held-out answers of the round, and the next round's copies learn them. The test set decides nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from papagaio.asking import ask
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.points import groups_of, held_out_fidelity, points_of
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import BadSettings, Diverged
from papagaio.learning_curve import LearningCurve, Point
from papagaio.ledger import Ledger
from papagaio.progress import Message, Progress
from papagaio.result import Result, RoundRecord, UntilOutcome, UntilRecord
from papagaio.scores import Figure, mean_over_seeds
from papagaio.settings import AuditOptions

__all__ = ["audit_until"]

# The first round's copies learn this part of the budget, and no fewer answers than this.
_FIRST_PART, _FIRST = 1 / 16, 200
# What a round holds out, as a part of what its copies learn, and at most.
_HELD_OUT, _MOST_HELD_OUT = 1 / 4, 1000
# How much more the next copies learn.
_LEAST_GROWTH, _MOST_GROWTH = 1.25, 2.0

# One audit, with everything else fixed.
Audit = Callable[[AuditImages, AuditOptions], Result]


def audit_until(
    audit: Audit,
    box: BlackBox,
    images: AuditImages,
    options: AuditOptions,
    goal: float,
    progress: Progress,
) -> Result:
    """Audit with as many answers as a fidelity goal needs, and at most the budget.

    Args:
        audit: does one audit; finished trainings are not repeated.
        box: the black box.
        images: the first transfer images are asked first.
        options: the largest budget, and everything else.
        goal: fidelity on held-out answers.
        progress: told what each round shows.

    Returns:
        the result of the last audit, whose copies learn the held-out answers too, and which has
        the controls and students, with its rounds.

    Raises:
        BadSettings: there are too few transfer images to hold answers out.
        Diverged: every training did.
    """
    most = min(options.budget, len(images.transfer))
    largest = _learned(most)
    if not largest:
        raise BadSettings("one answer cannot be held out", field="until", value=goal)
    budgets, rounds = [min(largest, max(_FIRST, round(_FIRST_PART * most)))], list[RoundRecord]()
    copies_only = options.model_copy(update={"controls": (), "distil": False})
    while True:
        result = audit(*_so_far(images, copies_only, budgets))
        bought = min(most, budgets[-1] + _held_out(budgets[-1]))
        copies = _best_copies(box, images, options, result, bought)
        rounds.append(_round(copies, budgets[-1], bought, most))
        progress(Message(f"until {goal:g}: {rounds[-1]}"))
        outcome = _outcome(rounds[-1], goal, most)
        if outcome:
            break
        budgets.append(_next_budget(LearningCurve(copies), goal, budgets[-1], largest))
    result = audit(*_so_far(images, options, [*budgets, bought]))
    return result.model_copy(
        update={"until": UntilRecord(goal=goal, outcome=outcome, rounds=rounds)}
    )


def _held_out(learned: int) -> int:
    return min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * learned)))


def _learned(bought: int) -> int:
    """How many answers copies learn where so many are bought; 0 where none can be held out."""
    return min(bought - 1, max(round(bought / (1 + _HELD_OUT)), bought - _MOST_HELD_OUT))


def _so_far(
    images: AuditImages, options: AuditOptions, budgets: list[int]
) -> tuple[AuditImages, AuditOptions]:
    """What an ordinary audit of these budgets is about."""
    some = images.transfer.take(np.arange(budgets[-1]))
    chosen = {"budget": budgets[-1], "budgets": tuple(budgets[:-1]), "until": None}
    return replace(images, transfer=some), options.model_copy(update=chosen)


def _best_copies(
    box: BlackBox, images: AuditImages, options: AuditOptions, result: Result, bought: int
) -> tuple[Point, ...]:
    """Buy the held-out answers, and measure on them the way of making copies that gets furthest."""
    asked, learned = images.transfer.take(np.arange(bought)), result.transfer.images
    with Ledger(options.ledger_path) as ledger:
        answers = ask(box, asked, ledger)
    figures = held_out_fidelity(result, options.out, asked.pixels, answers, learned)
    ways = [points_of(cells, figures) for cells in groups_of(result)]
    ways = [points for points in ways if points and points[-1].budget == learned]
    if not ways:
        raise Diverged("every training diverged; the answers are kept: try another recipe")
    return max(ways, key=lambda points: _mean(points, learned).value)


def _mean(points: Sequence[Point], budget: int) -> Figure:
    """The mean over seeds at a budget."""
    return mean_over_seeds([point.figure for point in points if point.budget == budget])


def _round(points: tuple[Point, ...], budget: int, bought: int, most: int) -> RoundRecord:
    curve = LearningCurve(points)
    whole = curve.at(most) if most <= curve.farthest else None
    return RoundRecord(budget=budget, bought=bought, fidelity=_mean(points, budget), at_most=whole)


def _outcome(found: RoundRecord, goal: float, most: int) -> UntilOutcome | None:
    """Why asking stops after this round; None where it goes on."""
    if found.fidelity.low >= goal:
        return "reached"
    if found.bought == most:
        return "budget spent"
    if found.at_most and found.at_most.high < goal:
        return "out of reach"
    return None


def _next_budget(curve: LearningCurve, goal: float, budget: int, largest: int) -> int:
    """Where the curve is expected to reach the goal, within the limits of growth."""
    needed = curve.needed(goal)
    wanted = needed.value if needed and needed.value else largest
    least, limit = _LEAST_GROWTH * budget, _MOST_GROWTH * budget
    return min(largest, round(min(max(wanted, least), limit)))
