"""Learning curves: known curves are found again, and the band covers what it says."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from papagaio.learning_curve import LearningCurve, Needed, Point, fit_curve
from papagaio.scores import Figure, mean_over_seeds, rate

BUDGETS = (60, 120, 250, 500)


def exact(value: float) -> Figure:
    return Figure(value, value - 1e-4, value + 1e-4, 10**6)


def line(budget: float, slope: float = 0.8) -> float:
    """A share whose logit is a line over the logarithm of the budget; 0.5 at 100 answers."""
    return 1 / (1 + math.pow(budget / 100, -slope))


def curve_of(share: Callable[[int], float], budgets: tuple[int, ...] = BUDGETS) -> LearningCurve:
    curve = fit_curve([Point(budget, exact(share(budget))) for budget in budgets])
    assert curve is not None
    return curve


def test_no_points_are_no_curve() -> None:
    assert fit_curve([]) is None


@pytest.mark.parametrize("budget", [60, 90, 250, 499])
def test_between_the_points_the_curve_is_the_true_one(budget: int) -> None:
    assert curve_of(line).at(budget).value == pytest.approx(line(budget), abs=0.01)


@pytest.mark.parametrize("slope", [0.3, 0.8, 1.3])
def test_beyond_the_points_the_band_holds_a_line_and_widens(slope: float) -> None:
    curve = curve_of(lambda budget: line(budget, slope))
    widths = []
    for budget in (600, 1000, 2000, 5000):
        found = curve.at(budget)
        assert found.low < line(budget, slope) < found.high
        odds = [share / (1 - share) for share in (found.low, found.high)]
        widths.append(math.log(odds[1] / odds[0]))
    assert widths == sorted(widths)


def test_the_number_needed_for_a_goal_is_where_the_curve_and_its_band_reach_it() -> None:
    curve, goal = curve_of(line), line(350)
    needed = curve.needed(goal)
    assert needed is not None
    assert needed.value == pytest.approx(350, rel=0.05)
    assert not needed.at_most
    assert needed.high is not None
    assert needed.low < 350 < needed.high
    for budget, end in ((needed.low, "high"), (needed.value, "value"), (needed.high, "low")):
        assert budget is not None
        assert getattr(curve.at(budget), end) == pytest.approx(goal, abs=2e-3)
    beyond = curve.needed(line(1500))
    assert beyond is not None
    assert beyond.value is not None
    assert 500 < beyond.low < 1500 < beyond.value * 1.3 < 1.6 * 1500


def test_a_measured_budget_whose_copies_reach_a_goal_bounds_what_it_needs() -> None:
    wide = [Point(100, Figure(0.70, 0.60, 0.80, 100)), Point(600, Figure(0.95, 0.85, 1.0, 100))]
    curve = fit_curve(wide)
    assert curve is not None
    needed = curve.needed(0.9)
    assert needed is not None
    assert needed.value is not None
    assert needed.value < 600
    assert curve.at(600).low < 0.9
    assert needed.high == 600


def test_a_goal_beyond_ten_times_the_data_is_not_told() -> None:
    flat = curve_of(lambda _: 0.3)
    assert flat.needed(0.99) is None
    assert flat.farthest == 5000
    # Reached by the curve perhaps, by its lower end not.
    unsure = curve_of(line).needed(line(4000))
    assert unsure is not None
    assert unsure.high is None


def test_a_goal_that_the_smallest_budget_reaches_needs_no_more_than_this() -> None:
    needed = curve_of(line).needed(0.1)
    assert needed is not None
    assert needed == Needed(60, 60, 60, at_most=True)
    # Between two poor figures a good one is measured, and the curve does not go up to it.
    shares = {100: 0.70, 200: 0.90, 400: 0.80}
    curve = fit_curve([Point(b, Figure(s, s - 0.05, s + 0.05, 200)) for b, s in shares.items()])
    assert curve is not None
    needed = curve.needed(0.88)
    assert needed is not None
    assert (needed.value, needed.at_most) == (200, True)


def test_one_point_gives_a_wide_band_and_more_points_a_narrower_one() -> None:
    widths = []
    for count in (1, 2, 4):
        found = curve_of(line, BUDGETS[-count:]).at(5000)
        assert found.n == count
        assert found.low < line(5000) < found.high
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.15


def test_points_may_come_in_any_order_and_a_budget_twice() -> None:
    points = [Point(budget, exact(line(budget))) for budget in (250, 60, 120, 60)]
    curve = fit_curve(points)
    assert curve is not None
    assert (curve.smallest, curve.measured) == (60, 250)
    assert curve.at(120).value == pytest.approx(line(120), abs=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.02])
def test_shares_at_the_ends_and_ratios_above_one_give_a_finite_curve(value: float) -> None:
    figure = Figure(value, max(value - 0.01, 0), value + 0.01, 500)
    curve = fit_curve([Point(100, figure), Point(200, figure)])
    assert curve is not None
    found = curve.at(2000)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert abs(curve.at(200).value - min(value, 1)) < 0.02


def test_what_the_curve_does_not_tell_is_refused() -> None:
    curve = curve_of(line)
    for budget in (59, 5001):
        with pytest.raises(ValueError, match="from 60 to 5000 answers"):
            curve.at(budget)
    for goal in (0.0, 1.0, 90.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            curve.needed(goal)


def test_the_band_covers_power_laws_with_noise_of_images_and_seeds() -> None:
    """Errors that fall as a power of the budget towards a floor of their own."""
    random = np.random.default_rng(0)
    covered = {2: 0, 8: 0}
    for _ in range(200):
        floor, power = random.uniform(0, 0.2), random.uniform(0.2, 1.0)
        start = random.uniform(0.3, 0.7)

        def truth(budget: float, f: float = floor, p: float = power, s: float = start) -> float:
            return 1 - f - s * math.pow(budget / 60, -p)

        points = []
        for budget in BUDGETS:
            shares = np.clip(truth(budget) + random.normal(0, 0.01, 3), 0, 1)
            figures = [rate(random.random(1000) < share) for share in shares]
            points.append(Point(budget, mean_over_seeds(figures)))
        curve = fit_curve(points)
        assert curve is not None
        for farther in covered:
            found = curve.at(BUDGETS[-1] * farther)
            covered[farther] += found.low <= truth(BUDGETS[-1] * farther) <= found.high
    assert min(covered.values()) >= 180
