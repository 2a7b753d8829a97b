"""The parts of the report's page: cost, advice, gauge, confusion, CSV, script."""

import csv
import io
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from example_results import EXAMPLE, FLOOR, HARDER_FLOOR, SEEDS, cell, figure, result
from pages import HOSTILE, PAGES, with_classes

from papagaio.auditing.detail import copy_detail
from papagaio.auditing.frozen import ScoringSet, TrainingSet
from papagaio.learning_curve import LearningCurve
from papagaio.report.confusion import confused, matrix
from papagaio.report.cost import curve_of, goals, in_a_sentence, offers
from papagaio.report.export import as_csv
from papagaio.report.gauge import gauge
from papagaio.report.lowering import fewer_answers, first_step, no_help, untried
from papagaio.report.page import render
from papagaio.report.showing_less import showing_less
from papagaio.result import CopyDetail, NamedPair, Result, Scores, read_result
from papagaio.scores import Figure
from papagaio.standards import STANDARDS
from papagaio.verdict import Floor, Standing

# 4,000 answers cost 6.00 and take 2 s each.
PAID = {"spent": 4000, "price": 6.0, "price_total": 9.0, "seconds_per_image": 2.0}
THREE = [cell(budget=b, fidelity=f) for b, f in ((250, 0.6), (1000, 0.8), (4000, 0.9))]


def test_each_budget_has_its_strongest_copy_its_price_and_its_time() -> None:
    weaker = cell(budget=1000, fidelity=0.7, recipe="thesis")
    bought = offers(result([*THREE, weaker], queries=PAID))
    assert [(one.copy.budget, one.price, one.seconds) for one in bought] == [
        (250, 0.375, 500.0),
        (1000, 1.5, 2000.0),
        (4000, 6.0, 8000.0),
    ]
    assert bought[1].copy.recipe == "recovered-logits"
    assert offers(result(THREE, black_box={"better_than_majority": False})) == []


def test_a_goal_says_whether_it_was_measured_or_extrapolated() -> None:
    lines = {one.share: one for one in goals(result(THREE, queries=PAID))}
    # A copy from 1,000 answers reaches 0.80 of the accuracy, and one from 4,000 reaches 0.90.
    assert (lines[0.8].answers, lines[0.8].basis) == ("1,000 answers", "measured")
    assert lines[0.95].basis == "extrapolated"
    steep = [cell(budget=b, fidelity=f) for b, f in ((250, 0.6), (4000, 0.95))]
    lines = {one.share: one for one in goals(result(steep, queries=PAID))}
    assert lines[0.8].basis == "by the curve"
    assert 250 < int(lines[0.8].answers.split()[0].replace(",", "")) < 4000
    sentence = nine_tenths(result(SEEDS, queries=PAID))
    assert sentence == (
        "90 % of the model\u2019s accuracy takes at most 4,000 answers: 6.00 at your price, 2 h to"
        " collect."
    )
    free = nine_tenths(result(SEEDS, queries={"price": None}))
    assert free == "90 % of the model\u2019s accuracy takes at most 4,000 answers."


def test_a_goal_far_beyond_the_budgets_is_out_of_reach() -> None:
    flat = [cell(budget=b, fidelity=0.3) for b in (250, 1000, 4000)]
    assert {one.basis for one in goals(result(flat))} == {"out of reach"}
    assert "out of reach" in nine_tenths(result(flat))


def test_two_seeds_that_differ_do_not_tell_less_than_one() -> None:
    """Student's t over two seeds is so wide that a curve through their mean says nothing."""
    shares = ((500, 0.60), (1000, 0.70), (2000, 0.78), (5000, 0.86))
    pairs = [
        cell(budget=b, fidelity=f + (0.02, -0.02)[seed], seed=seed)
        for b, f in shares
        for seed in (0, 1)
    ]
    band = required_curve(result(pairs)).at(20_000)
    alone = required_curve(result([one for one in pairs if one.seed == 0])).at(20_000)
    assert 0.9 < band.value < 0.98
    assert band.high - band.low < 1.25 * (alone.high - alone.low)


def required_curve(audited: Result) -> LearningCurve:
    curve = curve_of(audited, "fidelity")
    assert curve
    return curve


def test_copies_that_are_poorer_than_their_answers_allow_tell_no_cost() -> None:
    poor = [cell(budget=b, fidelity=0.3) for b in (250, 1000)]
    audited = result([*poor, cell(kind=HARDER_FLOOR.kind, budget=1000, fidelity=0.6)])
    assert goals(audited) == []
    assert nine_tenths(audited) == (
        "This audit does not tell what a good copy costs: as many answers about random images give"
        " a copy that decides like the model on 60.0 % of the test images: the transfer images were"
        " a bad choice."
    )
    assert first_step(audited, []).endswith(
        "repeat the audit with other transfer images, nearer to those of your service."
    )
    assert 'class="large"' not in render(audited)
    assert 'class="large"' in render(result([cell(budget=1000, fidelity=0.3)]))


def nine_tenths(audited: Result) -> str:
    return in_a_sentence(audited, goals(audited))


def test_the_extrapolation_is_marked_in_the_curve_and_only_with_several_budgets() -> None:
    assert ">extrapolated</text>" in render(result(THREE))
    assert ">extrapolated</text>" not in render(result(SEEDS))


def test_the_gauge_puts_the_figure_into_its_quarter() -> None:
    # Borders at 0.6, 0.84 and 0.96.
    standing = Standing("fidelity", Figure(0.9, 0.72, 0.98, 100), Floor("chance", 0.2))
    shown = gauge(standing)
    assert shown.left == pytest.approx(25 + 12.5)
    assert shown.at == pytest.approx(50 + 12.5)
    assert shown.left + shown.width == pytest.approx(75 + 12.5)
    assert [one.where for one in shown.segments] == [
        "below 60.0 %",
        "from 60.0 %",
        "from 84.0 %",
        "from 96.0 %",
    ]


def test_the_advice_follows_from_the_numbers() -> None:
    floor = cell(kind=FLOOR.kind, fidelity=0.1)
    label = cell(fidelity=0.5, response="label")
    audited = result([*THREE, label, floor])
    assert first_step(audited, showing_less(audited)).startswith(
        "Show less: with \u201clabel\u201d alone, the risk is less than high. The strongest copy"
        " reaches 50.0 % of the model\u2019s decisions (95 % interval "
    )
    assert not untried(audited)
    only = result([*THREE, floor])
    assert untried(only)
    assert first_step(only, showing_less(only)).startswith("Limit the answers. From 250")
    assert "a fidelity of 60.0 % instead of 90.0 %" in fewer_answers(only)
    assert len(no_help(only)) == 2
    copied = result([cell(budget=b, fidelity=f) for b, f in ((250, 0.985), (4000, 0.99))] + [floor])
    assert first_step(copied, []).startswith(
        "Nothing that this audit tried is shown to make the risk less than critical: even from 250"
        " answers, a copy reaches 98.7 % of the model\u2019s own accuracy (95 % interval"
    )
    labels = [cell(budget=b, fidelity=f, response="label") for b, f in ((250, 0.7), (4000, 0.99))]
    both = result([*(cell(budget=b, fidelity=0.99) for b in (250, 4000)), *labels, floor])
    assert first_step(both, showing_less(both)).startswith(
        "Show less and limit the answers: only with both is the risk less than critical. From 250"
        " answers of \u201clabel\u201d alone, a copy reaches 70.1 % of the model\u2019s"
    )
    at_floor = result([cell(fidelity=0.11), floor])
    assert "no proof of safety" in first_step(at_floor, [])
    assert no_help(at_floor) == []
    assert "supports no decision" in first_step(result(THREE), [])
    between = result([cell(fidelity=0.82), floor])
    assert first_step(between, []).startswith("Treat the risk as high until it is decided")
    assert "moderate to high</span>" in render(between)


def detail(pairs: dict[tuple[int, int], int]) -> CopyDetail:
    records = [NamedPair(black_box=b, copied=c, images=n) for (b, c), n in pairs.items()]
    return CopyDetail(cell="x", pairs=records, calibration=[], differing=[], agreeing=[])


def test_few_classes_are_a_matrix_and_many_a_list_of_differences() -> None:
    counted = detail({(0, 0): 30, (1, 1): 20, (0, 1): 10})
    three = result(named=[{"name": n, "images": 1} for n in "abc"])
    assert [(row.name, row.cells) for row in matrix(three, counted)] == [
        ("a", ((30, 0.75), (10, 0.25), (0, 0.0))),
        ("b", ((0, 0.0), (20, 1.0), (0, 0.0))),
        ("c", ((0, 0.0), (0, 0.0), (0, 0.0))),
    ]
    assert [(one.black_box, one.copied, one.images) for one in confused(three, counted)] == [
        ("a", "b", 10)
    ]
    assert matrix(with_classes([str(i) for i in range(13)]), counted) == []


def test_what_the_strongest_copy_names_is_read_from_its_folder(tmp_path: Path) -> None:
    audited = result(named=[{"name": n, "images": 1} for n in "abc"])
    named, labels = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])
    copied, sure = np.array([0, 1, 1, 2]), np.array([0.9, 0.62, 0.95, 0.66], np.float32)
    folder = tmp_path / SEEDS[0].id
    folder.mkdir()
    for path, array in (
        (tmp_path / "images.npy", np.zeros((4, 8, 8, 1), np.uint8)),
        (tmp_path / "answers.npy", np.eye(3, dtype=np.float32)[named]),
        (tmp_path / "labels.npy", labels),
    ):
        np.save(path, array)
    answered = TrainingSet(tmp_path / "images.npy", tmp_path / "answers.npy", "label", "")
    test = ScoringSet(answered, tmp_path / "labels.npy")
    assert copy_detail(audited, tmp_path, test) is None
    rest = (1 - sure) / 2
    shares = np.where(np.eye(3, dtype=bool)[copied], sure[:, None], rest[:, None])
    np.save(folder / "test-logits.npy", np.log(shares))
    found = copy_detail(audited, tmp_path, test)
    assert found is not None
    pairs = {(one.black_box, one.copied): one.images for one in found.pairs}
    assert pairs == {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 2): 1}
    assert [(one.black_box, one.copied, one.truth) for one in found.differing] == [("a", "b", "a")]
    assert [one.black_box for one in found.agreeing] == ["b", "a", "c"]
    bins = [(round(one.confidence, 3), one.right, one.images) for one in found.calibration]
    assert bins == [(0.64, 0.0, 2), (0.925, 1.0, 2)]


def test_the_trainings_as_csv_hold_every_score_and_no_formula() -> None:
    cells = [cell(), cell(student="=cmd()", scores=Scores())]
    rows = list(csv.DictReader(io.StringIO(b64decode(as_csv(result(cells))).decode())))
    assert [rows[0][name] for name in ("fidelity", "fidelity_low", "fidelity_high")] == [
        "0.989",
        "0.979",
        "0.999",
    ]
    assert rows[1]["student"] == "'=cmd()"
    assert rows[1]["fidelity"] == ""
    assert as_csv(result(cells)) in render(result(cells))


def test_only_the_pages_own_script_may_run() -> None:
    text = render(result(black_box={"name": HOSTILE}))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]


def test_the_page_of_200_trainings_stays_under_a_megabyte() -> None:
    audited = PAGES["cells-200"]()
    assert len(audited.cells) == 200
    assert len(render(audited).encode()) < 1_000_000


def test_the_threat_is_named_in_the_result_and_in_the_page() -> None:
    audited = read_result(EXAMPLE)
    assert audited.standards == list(STANDARDS)
    text = render(audited)
    for one in STANDARDS:
        assert one.name in text
        assert one.id in text


def test_a_figure_without_copies_leaves_the_large_number_out() -> None:
    assert 'class="large"' not in render(result([]))
    assert 'class="large"' in render(result([cell(scores=Scores(fidelity=figure(0.5)))]))
