"""Copies choose which transfer images are asked about next."""

import json
import shutil

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from test_until import EASY

from papagaio.acquisition import ACQUISITION
from papagaio.result import read_result


def logits(rows: list[list[float]]) -> NDArray[np.float32]:
    found = np.array(rows, np.float32)
    return np.asarray(found - found.mean(1, keepdims=True))


def test_the_most_uncertain_have_the_smallest_margin() -> None:
    # Margins of probabilities, from two equal scores to a sure one.
    candidates = logits([[0, 0, 9], [3, 3, 0], [0, 1, 0], [0, 0.1, -5]])
    chosen = ACQUISITION["uncertain"](candidates, candidates[:0], 2)
    assert chosen.tolist() == [1, 3]


def test_balanced_fills_the_classes_that_have_least() -> None:
    answered = logits([[9, 0, 0], [9, 0, 0], [0, 9, 0]])
    candidates = logits([[9, 0, 0], [0, 0, 9], [0, 9, 0], [0, 0, 9], [0, 0, 9], [0, 0, 9]])
    chosen = ACQUISITION["balanced"](candidates, answered, 3)
    # Then there are two of each class.
    assert sorted(chosen.tolist()) == [1, 2, 3]


def test_diverse_takes_the_farthest_from_all_before() -> None:
    answered = logits([[0, 0, 0]])
    candidates = logits([[1, 0, -1], [10, 0, -10], [10, 0, -9.9], [-5, 0, 5], [0, 0, 0.1]])
    assert ACQUISITION["diverse"](candidates, answered, 2).tolist() == [1, 3]


@pytest.mark.parametrize("name", ACQUISITION)
def test_whatever_chooses_chooses_different_images_as_many_as_asked(name: str) -> None:
    random = np.random.default_rng(0)
    for candidates in (random.normal(size=(40, 5)), np.zeros((40, 5))):
        rows = candidates.astype(np.float32)
        for count in (0, 7, 40):
            chosen = ACQUISITION[name](rows, rows[:3], count)  # type: ignore[index]
            assert len(set(chosen.tolist())) == len(chosen) == count


@pytest.fixture(autouse=True)
def _box_that_is_easy_to_copy(tiny: Tiny) -> None:
    tiny.box(EASY)


def command(tiny: Tiny, **more: object) -> list[str]:
    images = np.random.default_rng(5).integers(0, 256, (400, 8, 8, 1), np.uint8)
    np.savez(tiny.folder / "many.npz", images=images)
    options: dict[str, object] = {
        "transfer": tiny.folder / "many.npz",
        "budget": 160,
        "batch": 64,
        "epochs": 2,
        "augmentation": "none",
    }
    return tiny.audit(**options | more)


def asked_about(tiny: Tiny) -> NDArray[np.uint8]:
    images = np.load(tiny.out / "inputs" / "transfer-images.npy")
    return np.asarray(images.reshape(len(images), -1))


def test_copies_choose_what_is_asked_in_rounds_that_double(tiny: Tiny, papagaio: Papagaio) -> None:
    assert papagaio(*command(tiny)).code == 0
    drawn = asked_about(tiny)
    shutil.rmtree(tiny.out)
    before = sum(tiny.asked())
    words = command(tiny, selection="uncertain", controls="shuffled", seeds="0,1", distil=True)
    ended = papagaio(*words, "--json")
    assert ended.code == 0, ended.stderr
    found = read_result(tiny.out / "result.json")
    assert found.complete
    assert found.queries.spent == 160
    assert {row.budget for row in found.summary if row.kind == "copy"} == {10, 20, 40, 80, 160}
    assert found.settings_given["selection"] == "uncertain"
    # Images that nobody asked about are shown to students.
    assert found.unanswered is not None
    assert found.unanswered.images == 240
    chosen = asked_about(tiny)
    assert len(np.unique(chosen, axis=0)) == 160
    assert np.array_equal(chosen[:10], drawn[:10])
    assert not np.array_equal(np.sort(chosen, 0), np.sort(drawn, 0))
    asked = sum(tiny.asked())
    assert asked - before < 200
    assert json.loads(ended.stdout)["until"] is None
    # Again, the same images are chosen, and nothing is asked.
    assert papagaio(*words).code == 0
    assert sum(tiny.asked()) == asked
    assert np.array_equal(asked_about(tiny), chosen)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--selection=uncertain", "--budgets=5"], "its rounds are the smaller budgets"),
        (["--selection=uncertain", "--until=0.9"], "no fair sample"),
        (["--selection=best"], "--selection best: should be 'random', 'uncertain'"),
    ],
)
def test_a_selection_that_makes_no_sense_is_one_line(
    tiny: Tiny, papagaio: Papagaio, words: list[str], complaint: str
) -> None:
    ended = papagaio(*tiny.audit(), *words)
    assert ended.code == 2
    assert complaint in ended.stderr.splitlines()[-1]
    assert not tiny.asked()
