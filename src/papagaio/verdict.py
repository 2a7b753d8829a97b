"""The verdict: how well the black box can be copied, in one word, and the figure that decides it.

`docs/verdict.md` states the rules and the reason for each. They are conventions.
"""

from dataclasses import dataclass
from typing import Literal

from papagaio.controls import CONTROLS
from papagaio.findings.cautions import cautions
from papagaio.findings.strongest import at_the_floor, black_box_fault, strongest_copy
from papagaio.findings.understating import understated
from papagaio.numbers import count, money, percent, plural, ratio, share
from papagaio.result import Result, SummaryRow
from papagaio.scores import Figure
from papagaio.vocabulary import LEVELS, Level

__all__ = [
    "BORDERS",
    "Floor",
    "Measure",
    "Standing",
    "Verdict",
    "level_of",
    "price_of",
    "standing_of",
    "verdict_of",
]

Measure = Literal["relative_accuracy", "fidelity"]

# Where each level but the first begins, as a share of the way from the floor to the black box.
BORDERS = (0.5, 0.8, 0.95)

# A student that learned nothing of the black box. One that learned its answers about noise is no
# floor of this scale: it is a copy, made with other images.
_IGNORANT = {
    one.kind: one.title for one in CONTROLS if one.side == "floor" and one.answers != "queried"
}

_OF = {
    "relative_accuracy": "the model\u2019s own accuracy",
    "fidelity": "the model\u2019s decisions",
}


@dataclass(frozen=True)
class Floor:
    """What is reached without the black box's knowledge: a name and a share."""

    name: str
    value: float


@dataclass(frozen=True)
class Standing:
    """Where a copy stands between the floor and the black box, which is 1.

    Attributes:
        measure: `relative_accuracy` or `fidelity`.
        figure: the copy's.
        floor: the highest floor of this measure.
    """

    measure: Measure
    figure: Figure
    floor: Floor

    @property
    def covered(self) -> float:
        """The share of the way from the floor to the black box that the copy covers."""
        way = 1 - self.floor.value
        return (self.figure.value - self.floor.value) / way if way > 0 else 0.0

    @property
    def borders(self) -> tuple[float, ...]:
        """Where `moderate`, `high` and `critical` begin, on the scale of the figure."""
        return tuple(self.floor.value + part * (1 - self.floor.value) for part in BORDERS)

    @property
    def levels(self) -> tuple[Level, Level]:
        """The levels of the low and of the high end of the figure's interval."""
        return self._level(self.figure.low), self._level(self.figure.high)

    @property
    def reached(self) -> str:
        """What the copy reaches, in words: a share of the model's accuracy or decisions."""
        shown = (share if self.measure == "fidelity" else ratio)(self.figure)
        return f"{shown.value} of {_OF[self.measure]} (95 % interval {shown.interval})"

    def _level(self, value: float) -> Level:
        return LEVELS[sum(value >= border for border in self.borders)]


@dataclass(frozen=True)
class Verdict:
    """How well the black box can be copied.

    Attributes:
        level: `low`, `moderate`, `high`, `critical` or `not decided`.
        reason: one sentence.
        standing: the figure that decides, with its interval and n, and its floor; None where there
            is none.
        budget: the number of answers at which it stands; None where no copy was scored.
        price: of that many answers; None where no price was given.
        cautions: what could make it meaningless, the most serious first.
        reaches: the levels at both ends of the interval; None where nothing is decided for another
            reason. Where the figure is only a lower bound, the upper one is `critical`, and the
            lower one is at least what as many answers about other images are known to give.
    """

    level: Level
    reason: str
    standing: Standing | None
    budget: int | None
    price: float | None
    cautions: tuple[str, ...]
    reaches: tuple[Level, Level] | None

    def __str__(self) -> str:
        return f"{self.level}: {self.reason}"


def verdict_of(result: Result) -> Verdict:
    """The verdict on the strongest copy at the largest budget."""
    row = strongest_copy(result)
    standing = None if row is None or black_box_fault(result) else standing_of(result, row)
    level, reason = _decide(result, row, standing)
    reaches = None
    if row and standing and not _doubt(result, level_of(standing)):
        low, high = standing.levels
        only = understated(result, row)
        # What answers about other images give is possible too.
        other = standing_of(result, only.better) if only and only.better else None
        low = max(low, other.levels[0], key=LEVELS.index) if other else low
        reaches = (low, "critical" if only else high)
    return Verdict(
        level,
        reason,
        standing,
        None if row is None or standing is None else row.budget,
        None if row is None or standing is None else price_of(result, row.budget),
        tuple(cautions(result)),
        reaches,
    )


def standing_of(result: Result, row: SummaryRow) -> Standing | None:
    """Where a copy stands, by the measure in which it gets further; None where it has no scores."""
    measured = [
        Standing(measure, figure, _floor(result, measure))
        for measure in ("relative_accuracy", "fidelity")
        if (figure := getattr(row, measure)) is not None
    ]
    return max(measured, key=lambda one: one.covered, default=None)


def level_of(standing: Standing) -> Level:
    """The level in which the whole interval lies, or `not decided`."""
    low, high = standing.levels
    return low if low == high else "not decided"


def price_of(result: Result, budget: int) -> float | None:
    """What so many answers cost a copier; None where no price was given."""
    queries = result.queries
    if queries.price is None or not queries.spent:
        return None
    return queries.price * budget / queries.spent


def _floor(result: Result, measure: Measure) -> Floor:
    """The highest floor, trained or not."""
    box, given = result.black_box, result.references
    own = box.accuracy.value
    if measure == "fidelity":
        most = box.most_named.images / result.test.images
        floors = [Floor("chance", given.chance.value), Floor("always one class", most)]
    else:
        floors = [
            Floor("chance", given.chance.value / own),
            Floor("always one class", given.majority.value / own),
        ]
    floors += [
        Floor(_IGNORANT[row.kind], figure.value)
        for row in result.summary
        if row.kind in _IGNORANT and (figure := getattr(row, measure)) is not None
    ]
    return max(floors, key=lambda one: one.value)


def _decide(result: Result, row: SummaryRow | None, standing: Standing | None) -> tuple[Level, str]:
    if fault := black_box_fault(result):
        return "not decided", f"This audit allows no verdict: {fault}."
    if row is None or standing is None:
        return "not decided", "No copy has been trained and scored yet."
    level, figures = level_of(standing), _figures(result, row, standing)
    doubt = _doubt(result, level)
    if level != "critical" and (only := understated(result, row)):
        doubt = doubt or only.reason
    if doubt:
        return "not decided", f"{figures}, but {doubt}."
    if level == "not decided":
        low, high = standing.levels
        return level, (
            f"{figures}, and the interval reaches from {low} to {high}: more test images or more"
            " seeds decide."
        )
    if level == "low" and at_the_floor(result):
        return level, f"{figures}: this audit does not show that the model can be copied."
    return level, f"{figures}."


def _doubt(result: Result, level: Level) -> str:
    """Why the figures do not support this level, as a clause; empty where they do."""
    if result.unchecked:
        return "the black box failed the check on the test set"
    if result.missing:
        have = "has" if result.missing == 1 else "have"
        missing = plural(result.missing, "training")
        return f"{missing} of {count(result.trainings)} {have} not ended"
    # A higher floor only lowers a level, so the lowest needs none.
    if level != "low" and not any(one.kind in _IGNORANT for one in result.summary):
        return "no floor was trained to compare it with: add the control \u201cshuffled\u201d"
    return ""


def _figures(result: Result, row: SummaryRow, standing: Standing) -> str:
    floor = standing.floor
    price = price_of(result, row.budget)
    cost = "" if price is None else f", which cost {money(price)},"
    return (
        f"From {plural(row.budget, 'answer')}{cost} a copy reaches {standing.reached},"
        f" against {percent(floor.value)} for the floor ({floor.name})"
    )
