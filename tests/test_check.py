"""The check on the test set: what it refuses before anything is spent on the transfer set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from numpy.typing import NDArray

from papagaio.auditing.check import check_learnable, check_response, check_test_answers
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import BadAnswer

BOX = FunctionBox("box", "box-1", Contract(1, 1, 1, classes=2), lambda _: np.empty((0, 2), "f4"))


def answers_that_name(classes: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)[classes]


def test_a_black_box_that_is_better_than_the_most_frequent_class_passes() -> None:
    labels = np.arange(300) % 3
    named = np.where(np.arange(300) % 10 < 6, labels, (labels + 1) % 3)
    check_test_answers(BOX, answers_that_name(named, 3), labels)


@pytest.mark.parametrize("classes", [2, 10, 43])
def test_one_that_is_no_better_is_refused_whatever_the_number_of_classes(classes: int) -> None:
    labels = np.arange(20 * classes) % classes
    # Right as often as chance, as with folders in another order.
    named = np.where(np.arange(len(labels)) % classes == 0, labels, (labels + 1) % classes)
    with pytest.raises(
        BadAnswer, match=r"most frequent class .*scale of pixels.*kept under box-1: give"
    ):
        check_test_answers(BOX, answers_that_name(named, classes), labels)


def test_one_that_is_only_better_by_luck_is_refused() -> None:
    labels = np.arange(9) % 3
    named = labels.copy()
    named[4:] = (labels[4:] + 1) % 3
    # 4 of 9 is above a third, and its interval is not.
    with pytest.raises(BadAnswer, match=r"44.4 % \(18.9 to 73.3\) of 9 test images"):
        check_test_answers(BOX, answers_that_name(named, 3), labels)


def test_one_that_names_almost_one_class_only_is_refused() -> None:
    labels = np.repeat([0, 1], [6000, 4000])
    named = np.zeros(10000, np.int64)
    named[-300:] = 1
    with pytest.raises(BadAnswer, match=r"names class 0 for 97\.0 % of the test images"):
        check_test_answers(BOX, answers_that_name(named, 2), labels)


WRONG_SCALE = """
from pathlib import Path

import numpy as np


def predict(images):
    with Path(__file__).with_name("asked.log").open("a") as log:
        log.write(f"{len(images)}\\n")
    return np.tile(np.array([[0.9, 0.05, 0.05]], "float32"), (len(images), 1))
"""


def test_an_audit_of_a_misread_black_box_stops_before_the_transfer_set(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    ended = papagaio(*tiny.audit(box=tiny.box(WRONG_SCALE), unchecked=None))
    assert ended.code == 2
    assert "always naming the most frequent class" in ended.complaint
    assert sum(tiny.asked()) == 9  # the test set, and nothing else


def test_unchecked_goes_on_and_the_result_and_headline_say_so(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    ended = papagaio(*tiny.audit(box=tiny.box(WRONG_SCALE)))
    assert ended.code == 0, ended.stderr
    assert sum(tiny.asked()) == 23  # with two canaries
    result = json.loads(Path(tiny.out, "result.json").read_text())
    assert result["unchecked"] is True
    assert result["black_box"]["better_than_majority"] is False
    assert "most frequent class" in ended.stdout


def test_one_that_shows_less_than_it_declares_is_refused() -> None:
    sure = np.random.default_rng(0).dirichlet(np.ones(2), 40).astype(np.float32)
    check_response(BOX, sure)
    with pytest.raises(
        BadAnswer, match=r"^shows: .*fit rounded-2: declare that it shows rounded-2"
    ):
        check_response(BOX, sure.round(2))
    one_hot = answers_that_name(np.arange(40) % 2, 2)
    with pytest.raises(BadAnswer, match="fit label: declare that it shows label"):
        check_response(BOX, one_hot)
    labels = replace(BOX, contract=replace(BOX.contract, response="label"))
    check_response(labels, one_hot)


def test_answers_that_are_all_equal_teach_nothing() -> None:
    equal = np.tile(np.array([0.1, 0.9], np.float32), (10, 1))
    with pytest.raises(
        BadAnswer, match=r"^transfer: .*class 1, to all 10 .*nothing can be learned"
    ):
        check_learnable(BOX, equal)
    # Nine may be equal by chance, and one that differs teaches something.
    check_learnable(BOX, equal[:9])
    check_learnable(BOX, np.concatenate([equal, [[0.2, 0.8]]]).astype(np.float32))
