"""Buying answers in rounds, until held-out answers show that a fidelity goal is reached.

Each round is an audit with a larger budget in the same run directory, so earlier copies are not
trained again. What a round buys, no earlier copy has learned: these copies are measured on it, and
their learning curve tells what copies from all answers reach. The test set decides nothing.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from papagaio.asking import ask
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.points import groups_of, held_out_fidelity, points_of
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import BadSettings, Diverged
from papagaio.learning_curve import LearningCurve
from papagaio.ledger import Ledger
from papagaio.progress import Message, Progress
from papagaio.result import Result, RoundRecord, UntilOutcome, UntilRecord
from papagaio.settings import AuditOptions

__all__ = ["audit_until"]

# The first round buys this part of the budget, and no fewer answers than this. Its copies learn
# half of them and all of them.
_FIRST_PART, _FIRST = 1 / 16, 200
# How much a round enlarges the budget. Twice the answers of a curve's last point are well within
# what it tells.
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
        the result of the last audit, which has the controls and students too, with its rounds.

    Raises:
        BadSettings: there are too few transfer images to hold answers out.
        Diverged: every training did.
    """
    most = min(options.budget, len(images.transfer))
    first = min(most, max(_FIRST, round(_FIRST_PART * most)))
    if first < 2:
        raise BadSettings("one answer cannot be held out", field="until", value=goal)
    budgets, rounds = [first // 2, first], list[RoundRecord]()
    copies_only = options.model_copy(update={"controls": (), "distil": False})
    while True:
        result = audit(*_so_far(images, copies_only, budgets))
        curve = _best_curve(box, images, options, budgets, result)
        rounds.append(_round(curve, budgets[-1], most))
        progress(Message(f"until {goal:g}: {rounds[-1]}"))
        outcome = _outcome(rounds[-1], goal, most)
        if outcome:
            break
        budgets.append(_next_budget(curve, goal, budgets[-1], most))
    result = audit(*_so_far(images, options, budgets))
    return result.model_copy(
        update={"until": UntilRecord(goal=goal, outcome=outcome, rounds=rounds)}
    )


def _so_far(
    images: AuditImages, options: AuditOptions, budgets: list[int]
) -> tuple[AuditImages, AuditOptions]:
    """What an ordinary audit of these budgets is about."""
    some = images.transfer.take(np.arange(budgets[-1]))
    chosen = {"budget": budgets[-1], "budgets": tuple(budgets[:-1]), "until": None}
    return replace(images, transfer=some), options.model_copy(update=chosen)


def _best_curve(
    box: BlackBox, images: AuditImages, options: AuditOptions, budgets: list[int], result: Result
) -> LearningCurve:
    """The curve, over held-out answers, of the way of making copies that gets furthest."""
    asked, start = images.transfer.take(np.arange(budgets[-1])), budgets[-2]
    with Ledger(options.ledger_path) as ledger:
        answers = ask(box, asked, ledger)
    figures = held_out_fidelity(result, options.out, asked.pixels, answers, start)
    points = [points_of(cells, figures) for cells in groups_of(result)]
    curves = [LearningCurve(some) for some in points if some]
    if not curves:
        raise Diverged("every training diverged; the answers are kept: try another recipe")
    return max(curves, key=lambda curve: curve.at(budgets[-1]).value)


def _round(curve: LearningCurve, budget: int, most: int) -> RoundRecord:
    whole = curve.at(most) if most <= curve.farthest else None
    return RoundRecord(budget=budget, fidelity=curve.at(budget), at_most=whole)


def _outcome(found: RoundRecord, goal: float, most: int) -> UntilOutcome | None:
    """Why asking stops after this round; None where it goes on."""
    if found.fidelity.low >= goal:
        return "reached"
    if found.budget == most:
        return "budget spent"
    if found.at_most and found.at_most.high < goal:
        return "out of reach"
    return None


def _next_budget(curve: LearningCurve, goal: float, budget: int, most: int) -> int:
    """Where the band's lower end is expected to reach the goal, within the limits of growth."""
    needed = curve.needed(goal)
    wanted = needed.high if needed and needed.high else most
    least, limit = _LEAST_GROWTH * budget, _MOST_GROWTH * budget
    return min(most, round(min(max(wanted, least), limit)))
