"""Answers are bought in rounds, until held-out answers show a goal or that it is out of reach."""

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from example_results import SEEDS, figure, result

from papagaio.auditing.until import _held_out, _learned, _next_budget, _outcome
from papagaio.findings.stopping import stopping
from papagaio.learning_curve import LearningCurve, Point
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

# Reached in some rounds.
GOAL = 0.85
# Full requests that are answered before the black box fails.
LEFT = "\n\nLEFT = [False, *[True] * 4]\n"


@pytest.fixture(autouse=True)
def _box_that_is_easy_to_copy(tiny: Tiny) -> None:
    tiny.box(EASY)


def command(tiny: Tiny, goal: float, **more: object) -> list[str]:
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
    words = command(tiny, GOAL, controls="shuffled")
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
    assert all(one.fidelity.low < GOAL for one in found.until.rounds[:-1])
    assert found.until.rounds[-1].fidelity.low >= GOAL
    # One run, with all copies of all rounds, the controls once, and no answer bought beyond; the
    # last copies learn the held-out answers too.
    assert found.queries.spent == bought[-1] < 1600
    assert found.complete
    assert {row.budget for row in found.summary if row.kind == "copy"} == {*budgets, bought[-1]}
    assert [row.budget for row in found.summary if row.kind != "copy"] == [bought[-1]]
    assert (found.settings["budget"], found.settings_given["budget"]) == (bought[-1], 1600)
    assert "because the goal of 85.0" in (tiny.out / "report.html").read_text()
    assert f"Asking stopped after {bought[-1]:,} answers" in ended.stdout
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


def test_an_interrupted_round_is_incomplete_and_goes_on(tiny: Tiny, papagaio: Papagaio) -> None:
    words = command(tiny, GOAL, identity="easy")
    assert papagaio(*words).code == 0
    whole = read_result(tiny.out / "result.json").until
    shutil.rmtree(tiny.out)
    # The second round's answers do not come.
    tiny.box(
        EASY.replace("    logits", "    assert len(images) < 64 or LEFT.pop()\n    logits") + LEFT
    )
    assert papagaio(*words).code != 0
    partly = read_result(tiny.out / "result.json")
    assert partly.until is not None
    assert (partly.until.outcome, partly.complete, partly.missing) == (None, False, 1)
    assert stopping(partly) == ""
    tiny.box(EASY)
    # What the run wrote down is the audit as it was meant.
    words = ["audit", "--config", str(tiny.out / "config.toml")]
    assert papagaio(*words).code == 0
    assert read_result(tiny.out / "result.json").until == whole


def test_an_interrupted_repetition_leaves_the_whole_result(tiny: Tiny, papagaio: Papagaio) -> None:
    words = command(tiny, GOAL, identity="easy", budget=400)
    assert papagaio(*words).code == 0
    whole = (tiny.out / "result.json").read_bytes()
    # The copy of the first round cannot be trained again.
    (first,) = (tiny.out / "cells").glob("copy_*_200_0_*")
    shutil.rmtree(first)
    first.write_text("in the way")
    assert papagaio(*words).code != 0
    assert (tiny.out / "result.json").read_bytes() == whole


def test_several_seeds_are_averaged_and_students_see_what_was_not_asked(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    ended = papagaio(*command(tiny, 0.5, seeds="0,1", distil=True, controls="none"))
    assert ended.code == 0, ended.stderr
    found = read_result(tiny.out / "result.json")
    assert found.until is not None
    last = found.until.rounds[-1]
    assert last.fidelity.n == last.bought - last.budget
    assert 0 <= last.fidelity.low < last.fidelity.value < last.fidelity.high <= 1
    assert found.unanswered is not None
    assert found.unanswered.images == 1600 - last.bought


def test_every_round_has_canaries(tiny: Tiny, papagaio: Papagaio) -> None:
    assert papagaio(*command(tiny, GOAL)).code == 0
    with closing(sqlite3.connect(tiny.ledger)) as db:
        rows = db.execute("SELECT images, canaries FROM requests ORDER BY number").fetchall()
    found = read_result(tiny.out / "result.json")
    assert found.until is not None
    assert len(found.until.rounds) > 1
    # The first request about each round's images has two, whatever its size.
    assert sum(canaries >= 2 for _, canaries in rows) >= len(found.until.rounds)


@pytest.mark.parametrize("most", [2, 3, 13, 303, 1600, 5003, 20_000])
def test_the_largest_round_buys_the_whole_budget(most: int) -> None:
    learned = _learned(most)
    assert 0 < learned < most
    assert most - learned <= 1000
    assert most - learned == pytest.approx(_held_out(learned), abs=1)


def round_of(value: float, reach: float, budget: int, whole: Figure | None = None) -> RoundRecord:
    fidelity = figure(value, reach, n=budget // 4)
    return RoundRecord(budget=budget, bought=5 * budget // 4, fidelity=fidelity, whole_budget=whole)


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
        "Asking stopped after 500 answers, because the budget will not reach the goal of 95.0 %:"
        " copies from 400 name the model\u2019s class on 80.0 % (75.0 to 85.0) of 100 held-out"
        " transfer images."
    )
    assert stopping(result(SEEDS)) == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--until=1.5"], "--until 1.5: should be less than 1"),
        (["--until=0.9", "--budgets=5"], "its rounds are the smaller budgets"),
        (["--until=0.9", "--gate=gate.toml"], "the rounds decide which budgets are measured"),
        (["--until=0.9", "--budget=1"], "--until 0.9: one answer cannot be held out"),
    ],
)
def test_a_goal_that_makes_no_sense_is_one_line(
    tiny: Tiny, papagaio: Papagaio, words: list[str], complaint: str
) -> None:
    (tiny.folder / "gate.toml").write_text('rules = ["fidelity <= 0.9 at 12"]\n')
    words = [word.replace("gate.toml", str(tiny.folder / "gate.toml")) for word in words]
    ended = papagaio(*tiny.audit(), *words)
    assert ended.code == 2
    assert complaint in ended.stderr.splitlines()[-1]
    assert not tiny.asked()
