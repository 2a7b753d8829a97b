"""What a copy costs: the strongest at each budget, and what a goal takes."""

from dataclasses import dataclass

from papagaio.findings.copies import copies, rivals, strength, trainings
from papagaio.findings.strongest import black_box_fault, strongest_copy
from papagaio.findings.understating import Understated, understated
from papagaio.learning_curve import LearningCurve, Point, fit_curve
from papagaio.numbers import about, count, money, plural
from papagaio.result import Result, SummaryRow
from papagaio.verdict import price_of, verdict_of

__all__ = [
    "Goal",
    "Offer",
    "curve_of",
    "goals",
    "in_a_sentence",
    "offers",
    "seconds_of",
]

_GOALS = (0.8, 0.9, 0.95, 0.99)
_MAIN = 0.9


@dataclass(frozen=True)
class Offer:
    """The strongest copy from so many answers, and what these take.

    Attributes:
        copy: the copy.
        price: of the answers; None where no price was given.
        seconds: until the black box has given them; None where not known.
    """

    copy: SummaryRow
    price: float | None
    seconds: float | None


@dataclass(frozen=True)
class Goal:
    """What a share of the black box's accuracy takes.

    Attributes:
        share: of the black box's accuracy.
        answers: how many, in words, with a band.
        price: in words; empty where unknown.
        time: in words; empty where unknown.
        basis: `measured` (a budget of the audit is enough), `by the curve`, `extrapolated` or `out
            of reach`.
    """

    share: float
    answers: str
    price: str
    time: str
    basis: str


def offers(result: Result) -> list[Offer]:
    """The strongest copy that the first response allows, for each budget; none if it means nothing.

    The same choice as the verdict's, at every budget.
    """
    every = [] if black_box_fault(result) else copies(result)
    if not every:
        return []
    response = max(every, key=lambda row: row.budget).response
    budgets = sorted({row.budget for row in every if row.fidelity})
    strongest = [max(rivals(result, response, one), key=strength, default=None) for one in budgets]
    return [
        Offer(row, price_of(result, row.budget), seconds_of(result, row.budget))
        for row in strongest
        if row is not None and row.fidelity
    ]


def seconds_of(result: Result, budget: int) -> float | None:
    """How long the black box takes for so many answers; None where it was not measured."""
    each = result.queries.seconds_per_image
    return None if each is None else each * budget


def curve_of(result: Result, measure: str) -> LearningCurve | None:
    """The learning curve of the strongest copies' trainings; `measure` is a score of theirs."""
    cells = [cell for one in offers(result) for cell in trainings(result, one.copy)]
    scored = [(cell.budget, getattr(cell.scores, measure)) for cell in cells]
    return fit_curve([Point(budget, figure) for budget, figure in scored if figure])


def goals(result: Result) -> list[Goal]:
    """What each share of the black box's accuracy takes, by the learning curve.

    Empty where the copies are poorer than their answers allow.
    """
    curve = None if _understated(result) else curve_of(result, "relative_accuracy")
    return [_goal(result, curve, share) for share in _GOALS] if curve else []


def in_a_sentence(result: Result, lines: list[Goal]) -> str:
    """What nine tenths of the model\u2019s accuracy take, in a sentence; empty without a curve."""
    if only := _understated(result):
        return f"This audit does not tell what a good copy costs: {only.reason}."
    line = next((one for one in lines if one.share == _MAIN), None)
    if line is None:
        return ""
    what = f"{100 * line.share:.0f} % of the model\u2019s accuracy"
    if line.basis == "out of reach":
        return f"{what} is out of reach by the curve of this audit: {line.answers}."
    about_cost = [f"{line.price} at your price"] if line.price else []
    about_cost += [f"{line.time} to collect"] if line.time else []
    cost = f": {', '.join(about_cost)}" if about_cost else ""
    marked = ", extrapolated beyond what was measured" if line.basis == "extrapolated" else ""
    how = "at most" if line.basis == "measured" else "about"
    return f"{what} takes {how} {line.answers}{marked}{cost}."


def _understated(result: Result) -> Understated | None:
    """Why the copies are poorer than their answers allow, where that leaves the verdict open."""
    row = strongest_copy(result)
    if row is None or verdict_of(result).level != "not decided" or black_box_fault(result):
        return None
    return understated(result, row)


def _goal(result: Result, curve: LearningCurve, share: float) -> Goal:
    needed = curve.needed(share)
    if needed is None or needed.value is None:
        return Goal(share, f"not from {count(curve.farthest)} answers", "", "", "out of reach")
    if needed.at_most:
        return _of(result, share, needed.value, plural(needed.value, "answer"), "measured")
    value = max(_rounded(needed.value), curve.smallest)
    high = "more than " + count(curve.farthest)
    high = high if needed.high is None else count(_rounded(needed.high))
    words = f"{plural(value, 'answer')} ({count(_rounded(needed.low))} to {high})"
    basis = "extrapolated" if value > curve.measured else "by the curve"
    return _of(result, share, value, words, basis)


def _of(result: Result, share: float, answers: int, words: str, basis: str) -> Goal:
    price, seconds = price_of(result, answers), seconds_of(result, answers)
    return Goal(
        share,
        words,
        "" if price is None else money(price),
        "" if seconds is None else about(seconds),
        basis,
    )


def _rounded(number: int) -> int:
    """To two significant digits: a curve does not know more."""
    return int(float(f"{number:.1e}"))
