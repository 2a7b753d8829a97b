"""Answers are bought in rounds, until held-out answers show a goal or that it is out of reach."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from example_results import SEEDS, figure, result

from papagaio.auditing.until import _next_budget, _outcome
from papagaio.learning_curve import LearningCurve, Point
from papagaio.report.cost import stopping
from papagaio.result import RoundRecord, UntilRecord, read_result
from papagaio.scores import Figure

# Three classes that a linear model of the pixels decides; copies of it are soon good.
EASY = """
import numpy as np

WEIGHTS = np.random.default_rng(7).normal(size=(64, 3))


def predict(images):
    with open(__file__.replace("box.py", "asked.log"), "a") as log:
        log.write(f"{len(images)}\\n")
    logits = (images.reshape(len(images), -1) / 128 - 1) @ WEIGHTS
    scores = np.exp(logits - logits.max(1, keepdims=True))
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32)
"""


def command(tiny: Tiny, goal: float, **more: object) -> list[str]:
    tiny.box(EASY)
    images = np.random.default_rng(5).integers(0, 256, (1600, 8, 8, 1), np.uint8)
    np.savez(tiny.folder / "many.npz", images=images)
    options: dict[str, object] = {
        "transfer": tiny.folder / "many.npz",
        "budget": 1600,
        "until": goal,
        "batch": 64,
        "epochs": 4,
        "augmentation": "none",
    }
    return tiny.audit(**options | more)


def test_asking_stops_when_held_out_answers_show_the_goal(tiny: Tiny, papagaio: Papagaio) -> None:
    words = command(tiny, 0.6, controls="shuffled")
    ended = papagaio(*words)
    assert ended.code == 0, ended.stderr
    found = read_result(tiny.out / "result.json")
    assert found.until is not None
    assert found.until.outcome == "reached"
    budgets = [one.budget for one in found.until.rounds]
    bought = [one.bought for one in found.until.rounds]
    assert (budgets[0], bought[0]) == (200, 250)
    assert all(one.fidelity.n == one.bought - one.budget for one in found.until.rounds)
    assert budgets == sorted(set(budgets))
    assert all(later <= 2 * earlier for earlier, later in pairwise(budgets))
    assert all(one.fidelity.low < 0.6 for one in found.until.rounds[:-1])
    assert found.until.rounds[-1].fidelity.low >= 0.6
    # One run, with all copies of all rounds, the controls once, and no answer bought beyond; the
    # last copies learn the held-out answers too.
    assert found.queries.spent == bought[-1] < 1600
    assert found.complete
    assert {row.budget for row in found.summary if row.kind == "copy"} == {*budgets, bought[-1]}
    assert [row.budget for row in found.summary if row.kind != "copy"] == [bought[-1]]
    assert (found.settings["budget"], found.settings_given["budget"]) == (bought[-1], 1600)
    assert "Asking stopped, because the goal of 60.0" in (tiny.out / "report.html").read_text()
    # The same command asks nothing again and comes to the same end.
    asked = sum(tiny.asked())
    again = papagaio(*words)
    assert again.code == 0, again.stderr
    assert sum(tiny.asked()) == asked
    assert read_result(tiny.out / "result.json").until == found.until


def test_other_test_images_change_neither_rounds_nor_budget(tiny: Tiny, papagaio: Papagaio) -> None:
    ends = []
    for seed in (1, 2):
        images = np.random.default_rng(seed).integers(0, 256, (9, 8, 8, 1), np.uint8)
        np.savez(tiny.folder / "test.npz", images=images, labels=np.arange(9) % 3)
        shutil.rmtree(tiny.out, ignore_errors=True)
        ended = papagaio(*command(tiny, 0.6))
        assert ended.code == 0, ended.stderr
        ends.append(read_result(tiny.out / "result.json").until)
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("goal", "outcome", "budgets"),
    [(0.9, "budget spent", [200, 240]), (0.9999, "out of reach", [200])],
)
def test_a_goal_that_is_not_reached_is_said(
    tiny: Tiny, papagaio: Papagaio, goal: float, outcome: str, budgets: list[int]
) -> None:
    ended = papagaio(*command(tiny, goal, budget=300), "--json")
    assert ended.code == 0, ended.stderr
    found = read_result(Path(json.loads(ended.stdout)["result"]))
    assert found.until is not None
    assert found.until.outcome == outcome
    assert [one.budget for one in found.until.rounds] == budgets


def round_of(value: float, reach: float, budget: int, whole: Figure | None = None) -> RoundRecord:
    fidelity = figure(value, reach, n=budget // 4)
    return RoundRecord(budget=budget, bought=5 * budget // 4, fidelity=fidelity, at_most=whole)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (round_of(0.92, 0.01, 400), "reached"),
        (round_of(0.92, 0.03, 400, figure(0.95, 0.03)), None),
        (round_of(0.92, 0.03, 1280), "budget spent"),
        (round_of(0.5, 0.1, 400, figure(0.8, 0.05)), "out of reach"),
        (round_of(0.5, 0.1, 400), None),
    ],
)
def test_the_band_decides_why_asking_stops(found: RoundRecord, outcome: str | None) -> None:
    assert _outcome(found, 0.9, 1600) == outcome


def test_the_next_budget_is_where_the_goal_is_expected_within_limits() -> None:
    steep = LearningCurve(tuple(Point(b, figure(f)) for b, f in ((100, 0.6), (200, 0.8))))
    needed = steep.needed(0.85)
    assert needed is not None
    assert needed.value is not None
    assert 250 < needed.value < 400
    assert _next_budget(steep, 0.85, 200, 10_000) == needed.value
    assert _next_budget(steep, 0.3, 200, 10_000) == 250
    assert _next_budget(steep, 0.999, 200, 10_000) == 400
    assert _next_budget(steep, 0.999, 200, 300) == 300


def test_the_report_says_why_no_more_was_asked() -> None:
    rounds = [round_of(0.7, 0.1, 200), round_of(0.8, 0.05, 400)]
    until = UntilRecord(goal=0.95, outcome="out of reach", rounds=rounds)
    assert stopping(result(SEEDS, until=until)) == (
        "Asking stopped, because the budget will not reach the goal of 95.0 %: copies from 400"
        " answers name the model\u2019s class on 80.0 % (75.0 to 85.0) of 100 held-out"
        " transfer images."
    )
    assert stopping(result(SEEDS)) == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--until=1.5"], "--until 1.5: should be less than 1"),
        (["--until=0.9", "--budgets=5"], "its rounds are the smaller budgets"),
        (["--until=0.9", "--budget=1"], "--until 0.9: one answer cannot be held out"),
    ],
)
def test_a_goal_that_makes_no_sense_is_one_line(
    tiny: Tiny, papagaio: Papagaio, words: list[str], complaint: str
) -> None:
    ended = papagaio(*tiny.audit(), *words)
    assert ended.code == 2
    assert complaint in ended.stderr.splitlines()[-1]
    assert not tiny.asked()
