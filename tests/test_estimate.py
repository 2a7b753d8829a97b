"""`papagaio estimate`: a sample is asked once, and everything that is foretold rests on it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from example_results import figure

from papagaio.asking import ask
from papagaio.auditing.estimating import Prediction, _Request, _seconds, _tested
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.cli.estimate import _needed
from papagaio.images.imageset import ImageSet
from papagaio.learning_curve import LearningCurve, Point
from papagaio.ledger import Ledger
from papagaio.result import read_result


def command(tiny: Tiny, *more: str) -> list[str]:
    _, *options = tiny.audit(budget=None, controls=None, ledger=tiny.folder / "ledger")
    return ["estimate", *options, *more]


def test_a_sample_is_asked_and_the_audit_does_not_pay_for_it_again(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    ended = papagaio(*command(tiny, "--budget=100", "--price-per-1000=5", "--json"))
    assert ended.code == 0, ended.stderr
    found = json.loads(ended.stdout)
    # Two canaries among 14 transfer images; the test set has 9.
    assert (found["sample"], found["tested"], found["sent"]) == (14, 9, 25)
    assert sum(tiny.asked()) == 25
    assert (found["wanted"], found["budget"], found["price"]) == (100, 100, 0.5)
    (one,) = found["predictions"]
    assert [point["budget"] for point in one["measured"]] == [2, 2, 4, 4, 7, 7, 14, 14]
    assert {point["figure"]["n"] for point in one["measured"]} == {9}
    assert [point["budget"] for point in one["held_out"]] == [2, 2, 4, 4, 7, 7]
    assert {point["figure"]["n"] for point in one["held_out"]} == {7}
    band = [one["fidelity"][end] for end in ("low", "value", "high")]
    assert band == sorted(band)
    assert 0 <= band[0] < band[2] <= 1
    assert one["farthest"] == 140
    # Its report has a floor for the verdict, at no query, and only what was given as given.
    own = read_result(tiny.out / "result.json")
    assert [row.kind for row in own.summary if row.kind != "copy"] == ["floor:shuffled"]
    given = own.settings_given
    assert (given["controls"], given["budget"]) == (["shuffled"], 14)
    assert not {"resize", "seeds", "sample"} & given.keys()
    assert own.settings["seeds"] == [0, 1]
    listed = papagaio("list", tiny.out, "--json")
    assert json.loads(listed.stdout)[0]["kind"] == "estimate"
    again = papagaio(*command(tiny, "--seeds=0"))
    assert again.code == 0, again.stderr
    assert "0 were sent now" in again.stdout
    assert "from 14 answers" in again.stdout
    audited = papagaio(*tiny.audit(ledger=tiny.folder / "ledger", out=tiny.folder / "audit"))
    assert audited.code == 0, audited.stderr
    assert sum(tiny.asked()) == 25


def test_more_than_ten_times_the_sample_is_not_foretold(tiny: Tiny, papagaio: Papagaio) -> None:
    ended = papagaio(*command(tiny, "--budget=5000", "--seeds=0"))
    assert ended.code == 0, ended.stderr
    assert "from 140 answers" in ended.stdout
    assert "not told\twhat 5,000 answers give" in ended.stdout


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("--sample=10", "--sample 10: should be"), ("--budgets=3", "budgets"), ("--budget=0", "0")],
)
def test_an_option_that_makes_no_sense_is_one_line(
    tiny: Tiny, papagaio: Papagaio, option: str, complaint: str
) -> None:
    ended = papagaio(*command(tiny, option))
    assert ended.code == 2
    assert complaint in ended.stderr
    assert not tiny.asked()


def test_test_images_whose_answers_are_known_are_taken_first(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 2, 2, 1), np.uint8)
    images = ImageSet.of("test", pixels, np.zeros(1200, np.int64))
    contract = Contract(2, 2, 1, classes=2, batch=600)
    box = FunctionBox("box", "1", contract, lambda x: np.full((len(x), 2), 0.5, np.float32))
    with Ledger(tmp_path / "ledger") as ledger:
        assert len(_tested(images, box, ledger)) == 500
        known = replace(images.take(np.arange(900, 1000)), name="known")
        ask(box, known, ledger)
        taken = _tested(images, box, ledger)
        assert len(taken) == 500
        rows = {image.tobytes() for image in taken.digests}
        assert rows > {image.tobytes() for image in known.digests}
        ask(box, images.take(np.arange(700)), ledger)
        assert len(_tested(images, box, ledger)) == 800


def test_a_fidelity_goal_is_reached_at_most_with_about_or_with_more_answers() -> None:
    points = tuple(Point(budget, figure(0.85 + budget / 10_000)) for budget in (62, 125, 250))
    curve = LearningCurve(points)
    needed = {goal: curve.needed(goal) for goal in (0.8, 0.87, 0.999)}
    one = Prediction("s", "r", "label", curve.at(250), None, points, (), needed, 2500, 1.0)
    reached, between, beyond = (_needed(needed[goal], one) for goal in needed)
    assert reached == "needs at most 62 answers"
    assert between.startswith("needs about ")
    assert beyond == "needs more than 2,500 answers"


def test_requests_that_overlap_are_not_counted_twice() -> None:
    assert _seconds([], 1000) is None
    apart = [_Request(10, 0.0, 1.0), _Request(10, 5.0, 6.0)]
    together = [_Request(10, 0.0, 1.0), _Request(10, 0.5, 1.0), _Request(20, 0.2, 0.6)]
    assert _seconds(apart, 1000) == pytest.approx(100)
    assert _seconds(together, 1000) == pytest.approx(25)
