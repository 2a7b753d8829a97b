"""What changed between runs: the statistics against SciPy, and runs of files."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from example_results import cell, result
from numpy.typing import NDArray
from scipy import stats

from papagaio.comparing.comparison import Comparison, compare
from papagaio.comparing.differences import (
    _ADDED,
    Measured,
    mcnemar,
    paired_difference,
    unpaired_difference,
)
from papagaio.comparing.page import html
from papagaio.comparing.runs import Run, read_run
from papagaio.result import CellRecord, Result, Scores, write_result
from papagaio.scores import Figure, fidelity, rate, score_student

IMAGES, CLASSES = 200, 10
Array = NDArray[Any]


def hits(share: float, seed: int, images: int = IMAGES, trainings: int = 1) -> Measured:
    drawn = np.random.default_rng(seed).random((trainings, images)) < share
    return Measured(drawn.astype(float), np.ones(images))


# statistics


def test_the_interval_is_that_of_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(5)
    right = (rng.random((2, IMAGES)) < 0.9).astype(float)
    box = (rng.random((2, IMAGES)) < 0.95).astype(float)
    first, second = (Measured(right[i : i + 1], box[i]) for i in (0, 1))
    found = paired_difference(first, second)

    def difference(hits: Array, of: Array, others: Array, of_others: Array, axis: int) -> Array:
        ratios = [
            a.mean(axis=axis) / b.mean(axis=axis) for a, b in ((hits, of), (others, of_others))
        ]
        change: Array = ratios[1] - ratios[0]
        return change

    columns = np.concatenate([np.stack([right[0], box[0], right[1], box[1]], 1), _ADDED])
    expected = stats.bootstrap(
        tuple(columns.T), difference, paired=True, method="percentile", n_resamples=4000, rng=0
    ).confidence_interval
    assert found.value == pytest.approx(
        right[1].sum() / box[1].sum() - right[0].sum() / box[0].sum()
    )
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert found.n == IMAGES


def test_mcnemars_p_is_that_of_the_binomial_test_of_the_images_that_differ() -> None:
    first, second = hits(0.8, 1), hits(0.7, 2)
    one, other = first.hits[0] > 0, second.hits[0] > 0
    b, c = int((one & ~other).sum()), int((~one & other).sum())
    assert mcnemar(first, second) == pytest.approx(2 * stats.binom.cdf(min(b, c), b + c, 0.5))
    assert mcnemar(first, first) == 1.0
    assert mcnemar(first, hits(0.7, 2, trainings=2)) is None


def test_copies_that_never_differ_have_an_interval_with_width() -> None:
    same = hits(0.8, 1)
    found = paired_difference(same, same)
    assert found.value == 0
    assert -0.05 < found.low < 0 < found.high < 0.05


def test_pairs_that_agree_on_most_images_give_a_narrower_interval_than_unpaired_figures() -> None:
    first = hits(0.8, 1)
    changed = first.hits.copy()
    changed[0, :20] = 0
    second = Measured(changed, first.of)
    paired = paired_difference(first, second)
    unpaired = unpaired_difference(*(rate(one.hits[0] > 0) for one in (first, second)))
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)
    assert paired.high < 0


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(300):
        drawn = np.random.default_rng(seed).random(100)
        first, second = (
            Measured((drawn < share)[None].astype(float), np.ones(100)) for share in (0.9, 0.95)
        )
        found = paired_difference(first, second)
        held += found.low <= 0.05 <= found.high
    assert 0.92 < held / 300 <= 0.99


def test_the_seeds_widen_the_interval() -> None:
    first = hits(0.8, 1, trainings=3)
    apart = first.hits.copy()
    apart[0, :60] = 0
    same = paired_difference(first, first)
    spread = paired_difference(first, Measured(apart, first.of))
    assert spread.high - spread.low > 2 * (same.high - same.low)


def test_unpaired_distances_are_added_in_quadrature() -> None:
    found = unpaired_difference(Figure(0.5, 0.4, 0.6, 100), Figure(0.8, 0.7, 0.85, 90))
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - np.hypot(0.1, 0.1))
    assert found.high == pytest.approx(0.3 + np.hypot(0.05, 0.1))


# runs


def answers(named: Array) -> Array:
    return np.eye(CLASSES, dtype=np.float32)[named]


def written(
    folder: Path, wrong: int, *, seed: int = 0, response: str = "probabilities", **changes: object
) -> Run:
    """A run whose copy names another class than the black box on the first `wrong` images."""
    labels = np.arange(IMAGES) % CLASSES
    box = np.where(np.arange(IMAGES) < 5, (labels + 1) % CLASSES, labels)
    named = np.where(np.arange(IMAGES) < wrong, (box + 2) % CLASSES, box)
    scored = score_student(answers(named), answers(box), labels)
    scores = Scores(
        **{name: scored[name] for name in ("accuracy", "relative_accuracy", "fidelity")}
    )
    made = cell(seed=seed, scores=scores, response=response)
    test = {"images": IMAGES, "digest": "0" * 64}
    own = {"accuracy": rate(box == labels)}
    audited = result([made], test=test, black_box=own).model_copy(update=changes)
    write_result(audited, folder / "result.json")
    (folder / "inputs").mkdir()
    (folder / "cells" / made.id).mkdir(parents=True)
    np.save(folder / "inputs" / "test-queried-answers.npy", answers(box))
    np.save(folder / "inputs" / "test-labels.npy", labels)
    np.save(folder / "cells" / made.id / "test-logits.npy", answers(named))
    return read_run(folder)


@pytest.fixture
def first(tmp_path: Path) -> Run:
    return written(tmp_path / "first", 20)


def test_a_difference_is_paired_where_both_runs_kept_what_their_copies_name(
    first: Run, tmp_path: Path
) -> None:
    compared = compare(first, written(tmp_path / "second", 60))
    scores = {(one.subject, one.score): one for one in compared.changes}
    assert [*scores] == [
        ("black box", "accuracy"),
        *(
            ("probabilities, recovered-logits, small, 4,000 answers", score)
            for score in ("fidelity", "accuracy", "relative_accuracy")
        ),
    ]
    box, same, *_ = scores.values()
    assert (box.difference.value, box.direction, box.p) == (0, "not decided", 1)
    assert same.difference.value == pytest.approx(-0.2)
    assert (same.direction, same.paired) == ("lower", True)
    assert same.p == pytest.approx(2 * 0.5**40)


def test_two_defences_are_compared_by_the_strongest_copy_each_allows(
    first: Run, tmp_path: Path
) -> None:
    compared = compare(first, written(tmp_path / "second", 60, response="label"))
    subjects = {one.subject for one in compared.changes}
    assert subjects == {"black box", "strongest copy (probabilities to label), 4,000 answers"}
    assert "not decided" not in {one.direction for one in compared.changes[1:]}


def test_a_run_without_what_its_copies_name_is_compared_unpaired_and_says_so(
    first: Run, tmp_path: Path
) -> None:
    second = written(tmp_path / "second", 60)
    next(second.folder.rglob("test-logits.npy")).unlink()
    compared = compare(first, read_run(second.folder))
    assert [one.paired for one in compared.changes] == [True, False, False, False]
    assert any("not paired" in caution for caution in compared.cautions)
    paired, unpaired = (
        next(one for one in each.changes if one.score == "fidelity").difference
        for each in (compare(first, second_again(second)), compared)
    )
    assert paired.value == pytest.approx(unpaired.value)


def second_again(second: Run) -> Run:
    """The run as it was, with the file back."""
    assert second.named is not None
    named = np.where(np.arange(IMAGES) < 60, (second.named + 2) % CLASSES, second.named)
    (record,) = second.result.cells
    np.save(second.folder / "cells" / record.id / "test-logits.npy", answers(named))
    return read_run(second.folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"black_box": {"classes": 9}}, "about 9 classes, the other about 10"),
        ({"black_box": {"input": (9, 9, 1)}}, "takes images of 9x9x1, the other of 8x8x1"),
        ({"black_box": {"class_names": [*"abcdefghij"]}}, "classes have other names"),
        ({"test": {"digest": "1" * 64}}, "other images or labels than .*audit it again with the"),
    ],
)
def test_runs_that_are_about_different_things_say_why(
    changes: dict[str, dict[str, object]],
    complaint: str,
    first: Run,
    tmp_path: Path,
    papagaio: Papagaio,
) -> None:
    values = first.result.model_dump(by_alias=True)
    for name, change in changes.items():
        values[name] |= change
    write_result(Result.model_validate(values), tmp_path / "other" / "result.json")
    ended = papagaio("compare", first.folder, tmp_path / "other")
    assert (ended.code, ended.stdout) == (2, "")
    assert re.search(complaint, ended.complaint), ended.complaint


def test_runs_without_a_common_budget_or_with_other_labels_say_why(
    first: Run, tmp_path: Path, papagaio: Papagaio
) -> None:
    second = written(tmp_path / "second", 60)
    np.save(second.folder / "inputs" / "test-labels.npy", np.zeros(IMAGES, np.int64))
    ended = papagaio("compare", first.folder, second.folder)
    assert "other images or labels" in ended.complaint
    other = result([cell(budget=300)], test=first.result.test.model_dump())
    write_result(other, tmp_path / "third" / "result.json")
    ended = papagaio("compare", first.folder, tmp_path / "third")
    assert "budgets 300, the other's 4,000; add a common one with --budgets" in ended.complaint
    assert "name two runs or more" in papagaio("compare", first.folder).complaint
    assert "there is no result" in papagaio("compare", first.folder, tmp_path).complaint


def test_what_differs_between_the_runs_is_listed(first: Run, tmp_path: Path) -> None:
    elsewhere = {"out": "x", "executor": "ray", "address": "h:1", "gpu-share": 0.5, "log-to": ["x"]}
    settings = {**first.result.settings, "epochs": 3, **elsewhere}
    compared = compare(
        first, written(tmp_path / "second", 20, settings=settings, started="2026-01-01T00:00:00")
    )
    facts = {fact.name: fact.second for fact in compared.facts}
    assert facts == {"started": "2026-01-01 00:00:00 UTC", "epochs": "3"}


# text, JSON, HTML


def test_text_and_json_have_every_change_of_every_run(
    first: Run, tmp_path: Path, papagaio: Papagaio
) -> None:
    others = [written(tmp_path / name, wrong).folder for name, wrong in (("b", 60), ("c", 21))]
    ended = papagaio("compare", first.folder, *others)
    assert (ended.code, ended.stderr) == (0, "")
    lines = [line.split("\t") for line in ended.stdout.splitlines()]
    states = [line[0] for line in lines if line[0] in ("higher", "lower", "not decided")]
    assert states == ["not decided", *["lower"] * 3, *["not decided"] * 4]
    read = json.loads(papagaio("compare", first.folder, *others, "--json").stdout)
    changes = [change for one in read["comparisons"] for change in one["changes"]]
    assert [change["direction"] for change in changes] == states
    assert changes[1]["difference"]["value"] == pytest.approx(-0.2)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and v[:5] != "data:"]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_loads_nothing_and_shows_hostile_names_as_text(first: Run, tmp_path: Path) -> None:
    second = written(tmp_path / "<script>x", 60)
    compared = compare(first, second)
    page = html([compared, Comparison("a", "<script>x", (), (), ())])
    read = Page(page)
    assert (read.open, read.scripts, read.outside) == ([], 0, [])
    assert "-0.2000 (-0.2" in page
    assert "p &lt; 0.001" in page


def test_an_audit_leaves_what_its_copies_name(tiny: Tiny, papagaio: Papagaio) -> None:
    papagaio(*tiny.audit())
    papagaio(*tiny.audit(out=tiny.folder / "second", seeds=1))
    run = read_run(tiny.out)
    (path,) = tiny.out.glob("cells/*/test-logits.npy")
    named, (record,) = np.load(path).argmax(1), run.result.cells
    assert run.named is not None
    assert _fidelity(named, run.named) == _stored(record)
    ended = papagaio("compare", tiny.out, tiny.folder / "second")
    assert ended.code == 0
    changes = [line.split("\t") for line in ended.stdout.splitlines() if "accuracy\t" in line]
    assert {change[-2] for change in changes} == {"paired"}


def _fidelity(named: Array, box: Array) -> float:
    return fidelity(np.eye(3, dtype=np.float32)[named], np.eye(3, dtype=np.float32)[box]).value


def _stored(record: CellRecord) -> float:
    assert record.scores.fidelity
    return record.scores.fidelity.value
