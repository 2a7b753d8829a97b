"""Black boxes whose scores have a step, and what an error advises about what was returned."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from papagaio.auditing.check import check_response
from papagaio.auditing.plan import AttackConfig, Plan, Training, attack_configs
from papagaio.auditing.querying import freeze_test_set, freeze_training_sets
from papagaio.blackboxes.contract import Contract, Declaration, checked_answers
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.outputs import recognised
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.imageset import ImageSet
from papagaio.options import read_toml, validated
from papagaio.settings import AuditOptions, BlackBoxOptions
from papagaio.training.recipes import recipe_named
from papagaio.vocabulary import Response, Returned

if TYPE_CHECKING:
    from papagaio.controls import Purpose

EIGHT_BITS = 1 / 256
CONTRACT = Contract(2, 2, 1, classes=10)
IMAGES = np.zeros((40, 2, 2, 1), np.uint8)
LOGITS = np.random.default_rng(5).normal(0, 2, (40, 10))
FULL = np.asarray(softmax(LOGITS, axis=1), np.float32)
SIGMOIDS = np.asarray(1 / (1 + np.exp(-LOGITS)), np.float32)
TOP = np.where(FULL.argsort(1).argsort(1) >= 7, FULL, 0)


def quantised(scores: NDArray[np.float32], steps: int = 256) -> NDArray[np.float32]:
    return np.asarray(np.round(scores * steps) / steps, np.float32)


def box(scores: object, response: Response = "probabilities", step: float = 0.0) -> FunctionBox:
    contract = replace(CONTRACT, response=response, resolution=step)
    return FunctionBox("box", "box", contract, lambda _: scores)  # type: ignore[arg-type, return-value]


# What is declared.


@pytest.mark.parametrize("steps", [100, 255, 256, 10_000])
def test_scores_in_declared_steps_are_accepted_although_they_do_not_sum_to_one(steps: int) -> None:
    scores = quantised(FULL, steps)
    assert checked_answers(box(scores, step=1 / steps), IMAGES) is scores
    highest = np.where(TOP > 0, scores, 0)
    checked_answers(box(highest, "top-3", 1 / steps), IMAGES)


def test_scores_that_are_not_in_the_declared_steps_are_refused() -> None:
    with pytest.raises(BadAnswer, match=r"returned scores that are not multiples of 1/256 for ima"):
        checked_answers(box(FULL, step=EIGHT_BITS), IMAGES)
    with pytest.raises(
        BadAnswer, match=r"(?s)^resolution: .*multiples of 1/256 .*resolution 1/255$"
    ):
        checked_answers(box(quantised(FULL, 255), step=EIGHT_BITS), IMAGES)


def test_sums_may_be_off_by_half_a_step_per_class_and_no_more() -> None:
    row = np.full((40, 10), 0.1, np.float32)
    row[:, 0] = 0.14
    checked_answers(box(row, step=0.01), IMAGES)
    row[:, 0] = 0.16
    with pytest.raises(
        BadAnswer, match=r"returned scores that sum to 1\.06 and not to 1 for image"
    ):
        checked_answers(box(row, step=0.01), IMAGES)


@pytest.mark.parametrize(
    "declared",
    [
        Declaration((2, 2, 1), 10, "label"),
        Declaration((2, 2, 1), 10, "rounded-2"),
        Declaration((2, 2, 1), 10, returned="logits"),
        Declaration((2, 2, 1), 10, returned="labels"),
    ],
)
def test_a_step_of_scores_that_have_none_or_state_it_is_refused(declared: Declaration) -> None:
    assert declared.contract("box").resolution == 0
    with pytest.raises(BadSettings, match=r"^resolution 1/256: .* have no step, and round"):
        replace(declared, resolution=EIGHT_BITS).contract("box")


def test_a_black_box_that_declares_itself_has_the_step_that_it_declares() -> None:
    own = replace(CONTRACT, resolution=EIGHT_BITS)
    assert Declaration(resolution=EIGHT_BITS).agreed("box", own).resolution == EIGHT_BITS
    with pytest.raises(BadSettings, match=r"^resolution: box declares 0.0; leave it out"):
        Declaration(resolution=EIGHT_BITS).agreed("box", CONTRACT)


@pytest.mark.parametrize(("text", "step"), [("1/256", EIGHT_BITS), ("0.01", 0.01), (0.25, 0.25)])
def test_a_step_is_a_fraction_or_a_decimal(text: object, step: float) -> None:
    options = validated(BlackBoxOptions, {"black-box": "b.py:f", "resolution": text})
    assert options.resolution == step


@pytest.mark.parametrize("text", ["1/0", "fine", "2", "0", "-1/256", "1/100000000", "1e400"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match=r"^resolution -?[0-9a-z.]+"):
        validated(BlackBoxOptions, {"black-box": "b.py:f", "resolution": text})


# What an error advises.


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (FULL.argmax(1), r"^shows: .*the numbers of classes; return numpy.eye\(10, "),
        (np.eye(10, dtype=np.int64)[FULL.argmax(1)], "^shows: .* int64; these are labels"),
        (np.eye(10, dtype=bool)[FULL.argmax(1)], "^shows: .* bool; these are labels"),
        (np.round(FULL * 255).astype(np.uint8), "uint8; these are parts of 255: .* 1/255$"),
        (np.round(FULL * 100).astype(np.int32), "int32; these are parts of 100: .* 1/100$"),
        (np.round(FULL * 256 - 128).clip(-128, 127).astype(np.int8), r"int8; these are whole num"),
        (np.round(FULL * 250 - 128).astype(np.float32), r"negative score .*these are whole num"),
        (FULL.astype(np.float64), r"float64; return float32, for example scores.astype"),
        (FULL.astype(str), "return float32, for example scores.astype"),
        (LOGITS.astype(np.float32), "negative score .*probabilities: the softmax of logits"),
        (log_softmax(LOGITS, 1).astype(np.float32), "negative score .*return their exponential"),
        (LOGITS.astype(np.float32) + 20, r"sum to \d+\.?\d* and not to 1 .*of logits their soft"),
        (FULL * 100, "sum to 100 and not to 1 .*return scores divided by 100"),
        (SIGMOIDS, r"sum to [\d.]+ and not to 1 .*; if they are rounded, declare .*top-k$"),
        (quantised(FULL), r"^resolution: .* sum to [\d.]+ and not to 1 .*the resolution 1/256$"),
        (quantised(FULL, 255), r"^resolution: .*declare the resolution 1/255$"),
        (quantised(FULL, 100), r"^shows: .* sum to [\d.]+ and .*declare that it shows rounded-2$"),
        (TOP, r"^shows: .* sum to 0\.\d+ and not to 1 .*declare that it shows top-3$"),
    ],
)
def test_what_an_error_advises_fits_what_was_returned(
    returned: NDArray[np.generic], words: str
) -> None:
    with pytest.raises(BadAnswer, match=f"(?s){words}") as refused:
        checked_answers(box(returned), IMAGES)
    if returned.dtype.kind in "biu":
        assert "softmax" not in str(refused.value)


@pytest.mark.parametrize(
    ("output", "returned"),
    [
        (quantised(FULL), "probabilities"),
        (quantised(FULL, 255).astype(np.float64), "probabilities"),
        (quantised(FULL, 100), "probabilities"),
        (np.round(LOGITS * 16) / 16, "logits"),
        (SIGMOIDS, "logits"),
    ],
)
def test_an_output_in_steps_is_recognised(output: NDArray[np.generic], returned: Returned) -> None:
    assert recognised(output) == returned


def test_a_black_box_that_hides_its_steps_is_refused_on_its_test_answers() -> None:
    check_response(box(FULL), FULL)
    # Four classes: these sums are 1 within what the contract allows.
    halves = np.tile(np.array([[0.5, 0.25, 0.25]], np.float32), (40, 1))
    scores = np.concatenate([halves, quantised(FULL[:, :7]) * 0], 1)
    scores[:20, 0] -= 3 / 256
    scores[:20, 1] += 3 / 256
    words = "fit probabilities in steps of 1/256: declare the resolution 1/256; nothing was spent"
    with pytest.raises(BadAnswer, match=f"^resolution: .*{words}"):
        check_response(box(scores), scores)
    check_response(box(scores, step=EIGHT_BITS), scores)


# What is learned and recorded.


def test_the_recipe_of_scores_in_steps_is_that_of_rounded_ones() -> None:
    options = AuditOptions(budget=5)
    losses = [
        attack_configs(options, replace(CONTRACT, resolution=step))[0].recipe.loss
        for step in (0.0, EIGHT_BITS)
    ]
    assert losses == ["centred-l2", "censored-l2"]


def test_only_a_step_changes_the_digests_of_what_is_learned(tmp_path: Path) -> None:
    images = ImageSet.of("images", np.arange(160, dtype=np.uint8).reshape(40, 2, 2, 1))
    attack = AttackConfig("probabilities", recipe_named("thesis", (2, 2, 1)))
    kinds = (("copy", "queried"), ("ceiling", "labels"))
    trainings = tuple(
        Training(kind, "small-cnn", "random", attack, 40, 0, "transfer", source)  # type: ignore[arg-type]
        for kind, source in kinds
    )
    labelled = replace(images, labels=np.arange(40) % 10)
    plan = Plan({"transfer": labelled, "test": labelled}, ("test", "transfer"), trainings)
    tenths = np.full((40, 10), 0.1, np.float32)
    answers: dict[Purpose, NDArray[np.float32]] = {"transfer": tenths, "test": tenths}
    plain = freeze_training_sets(plan, answers, CONTRACT, tmp_path)
    stepped = freeze_training_sets(plan, answers, replace(CONTRACT, resolution=0.01), tmp_path)
    assert [one.resolution for one in plain] == [0, 0]
    assert [one.resolution for one in stepped] == [0.01, 0]
    assert plain[0].digest != stepped[0].digest
    assert plain[1] == stepped[1]  # true labels have no step
    # The digest of an earlier version, so that its runs keep their trainings.
    assert plain[0].digest.startswith("9385d6604943c864")
    tests = [
        freeze_test_set(labelled, FULL, replace(CONTRACT, resolution=step), tmp_path).answered
        for step in (0.0, 0.01)
    ]
    assert [one.resolution for one in tests] == [0, 0.01]
    assert tests[0].digest != tests[1].digest


EIGHT_BIT_BOX = """
import numpy as np


def predict(images):
    level = images.reshape(len(images), -1)[:, :3].astype("float64") / 64
    scores = np.exp(level) / np.exp(level).sum(1, keepdims=True)
    return (np.round(scores * 256).clip(0, 255) / 256).astype("float32")
"""


def test_check_finds_the_step_and_an_audit_with_it_records_it(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    name, found = tiny.box(EIGHT_BIT_BOX), tiny.folder / "found.toml"
    pixels = np.random.default_rng(2).integers(0, 256, (60, 8, 8, 1), np.uint8)
    labels = pixels.reshape(60, -1)[:, :3].argmax(1)
    np.savez(tiny.folder / "test.npz", images=pixels, labels=labels)
    words = (f"--test={tiny.folder / 'test.npz'}", "--input=8x8x1", "--classes=3")
    checked = papagaio("check", name, *words, f"--write={found}")
    assert checked.code == 0, checked.stderr
    assert "shows\tprobabilities in steps of 1/256" in checked.stdout
    assert read_toml(found)["resolution"] == EIGHT_BITS
    # Declared as plain probabilities, the sum of a row is named and the step advised.
    refused = papagaio(*tiny.audit(unchecked=None, batch=60))
    assert refused.code == 2
    assert refused.complaint.startswith("papagaio: --resolution: ")
    assert "and not to 1" in refused.complaint
    assert "declare the resolution 1/256" in refused.complaint
    changes = dict.fromkeys(("box", "input", "classes", "batch", "unchecked"))
    audited = papagaio(*tiny.audit(**changes, config=found))
    assert audited.code == 0, audited.stderr
    result = json.loads(Path(tiny.out, "result.json").read_text())
    assert result["black_box"]["resolution"] == EIGHT_BITS
    (cell,) = result["cells"]
    assert (cell["response"], cell["recipe"]) == ("probabilities", "auto")
    trained = json.loads(Path(tiny.out, "cells", cell["id"], "recipe.json").read_text())
    assert trained["loss"] == "censored-l2"
    assert "kl" not in {name for name, score in cell["scores"].items() if score}


def test_check_finds_what_a_black_box_hides(tiny: Tiny, papagaio: Papagaio) -> None:
    shown = "scores * (scores == scores.max(1, keepdims=True))"
    source = EIGHT_BIT_BOX.replace("(np.round(scores * 256).clip(0, 255) / 256)", f"({shown})")
    pixels = np.random.default_rng(2).integers(0, 256, (60, 8, 8, 1), np.uint8)
    labels = pixels.reshape(60, -1)[:, :3].argmax(1)
    np.savez(tiny.folder / "test.npz", images=pixels, labels=labels)
    words = (f"--test={tiny.folder / 'test.npz'}", "--input=8x8x1", "--classes=3")
    found = tiny.folder / "found.toml"
    checked = papagaio("check", tiny.box(source), *words, f"--write={found}")
    assert checked.code == 0, checked.stderr
    assert "shows\ttop-1; an audit needs --shows top-1\n" in checked.stdout
    assert read_toml(found)["shows"] == "top-1"
