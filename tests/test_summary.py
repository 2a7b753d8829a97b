"""Cells -> summary rows, compared with means calculated by hand."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from papagaio.result import CellRecord, Scores
from papagaio.scores import Figure
from papagaio.summary import summarise

SHARES = ("accuracy", "fidelity", "fidelity_where_wrong", "calibration_error")
OTHERS = ("relative_accuracy", "kl", "cross_entropy")


def about(value: float, reach: float = 0.0, n: int = 100) -> Figure:
    return Figure(value=value, low=value - reach, high=value + reach, n=n)


def cell(seed: int = 0, scores: dict[str, Figure] | None = None, **changes: Any) -> CellRecord:  # noqa: ANN401
    values: dict[str, Any] = {
        "id": f"cell-{seed}",
        "kind": "copy",
        "student": "small-cnn",
        "initial": "random",
        "recipe": "labels",
        "augmentation": [],
        "undertrained": False,
        "response": "label",
        "budget": 100,
        "seed": seed,
        "seconds": 1.0,
        "epochs": 3,
        "recipe_epochs": 3,
        "steps": 12,
        "parameters": 5,
        "scores": Scores(**(scores or {})),
        "per_class": [],
        "curve": [],
    }
    return CellRecord(**(values | changes))


def test_no_cells_make_no_rows() -> None:
    assert summarise([]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "floor:noise"},
        {"student": "residual-cnn"},
        {"recipe": "thesis"},
        {"response": "top-1"},
        {"budget": 99},
    ],
)
def test_cells_that_differ_in_more_than_their_seed_are_separate_rows(
    change: dict[str, Any],
) -> None:
    rows = summarise([cell(0), cell(0, **change), cell(1), cell(1, **change), cell(2)])
    assert [row.seeds for row in rows] == [3, 2]
    for name, value in change.items():
        assert getattr(rows[0], name) == getattr(cell(), name)
        assert getattr(rows[1], name) == value


def test_rows_keep_the_order_of_their_first_cells() -> None:
    budgets = [300, 5, 1000, 5, 300, 20]
    assert [row.budget for row in summarise([cell(budget=b) for b in budgets])] == [
        300,
        5,
        1000,
        20,
    ]


@pytest.mark.parametrize("name", SHARES + OTHERS)
def test_one_seed_keeps_its_own_figure(name: str) -> None:
    (row,) = summarise([cell(scores={name: about(0.4, 0.1)})])
    assert getattr(row, name) == about(0.4, 0.1)
    assert row.seeds == 1


@pytest.mark.parametrize("name", SHARES + OTHERS)
def test_several_seeds_give_their_mean_and_an_interval_over_seeds_and_images(name: str) -> None:
    values = [0.4, 0.5, 0.6]
    (row,) = summarise([cell(i, {name: about(v, 0.03)}) for i, v in enumerate(values)])
    # The values' standard deviation is 0.1; Student's t with two degrees of freedom is 4.303.
    reach = float(np.hypot(stats.t.ppf(0.975, 2) * 0.1 / 3**0.5, 0.03))
    row_figure = getattr(row, name)
    assert row_figure.value == pytest.approx(0.5)
    assert (row_figure.low, row_figure.high) == pytest.approx((0.5 - reach, 0.5 + reach))
    assert (row_figure.n, row.seeds) == (3, 3)
    assert reach == pytest.approx(0.2502, abs=1e-4)


@pytest.mark.parametrize("name", SHARES)
def test_the_interval_of_a_share_is_cut_at_zero_and_one(name: str) -> None:
    for values in ([0.0, 0.3], [0.7, 1.0], [0.0, 1.0]):
        (row,) = summarise([cell(i, {name: about(v)}) for i, v in enumerate(values)])
        row_figure = getattr(row, name)
        reach = stats.t.ppf(0.975, 1) * abs(values[1] - values[0]) / 2
        assert row_figure.low == pytest.approx(max(0, row_figure.value - reach))
        assert row_figure.high == pytest.approx(min(1, row_figure.value + reach))
        assert {row_figure.low, row_figure.high} & {0, 1}


@pytest.mark.parametrize("name", OTHERS)
def test_the_interval_of_other_figures_is_not_cut(name: str) -> None:
    (row,) = summarise([cell(i, {name: about(v)}) for i, v in enumerate([0.0, 2.4])])
    row_figure = getattr(row, name)
    assert row_figure.low < 0
    assert 1 < row_figure.value < row_figure.high


def test_the_interval_of_one_seeds_share_is_cut_too() -> None:
    (row,) = summarise([cell(scores={"accuracy": about(0.95, 0.2), "kl": about(0.1, 0.2)})])
    assert row.accuracy == Figure(value=0.95, low=0.75, high=1, n=100)
    assert row.kl is not None
    assert row.kl.low == pytest.approx(-0.1)


def test_a_score_that_one_seed_lacks_is_absent_and_the_others_are_not() -> None:
    both = {"accuracy": about(0.5), "fidelity_where_wrong": about(0.5)}
    (row,) = summarise([cell(0, both), cell(1, {"accuracy": about(0.7)})])
    assert row.fidelity_where_wrong is None
    assert row.kl is None
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(0.6)


def test_seconds_are_the_mean_of_a_training() -> None:
    (row,) = summarise([cell(i, seconds=s) for i, s in enumerate([1.0, 2.0, 4.0])])
    assert row.seconds == 2.333
