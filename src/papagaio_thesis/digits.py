"""Digits from letters: do round letters teach round digits, and angular ones angular digits?

The conjecture of the thesis's Appendix C (claim C6), which it did not measure.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.demo import digit_classifier
from papagaio.images.letters import LETTERS, draw_letters
from papagaio.images.named import open_source
from papagaio.images.source import load
from papagaio.networks.named import build_student
from papagaio.progress import Progress, Step, no_progress
from papagaio.responses import Answers
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio_thesis.records import DigitRecord

__all__ = ["ANGULAR", "KINDS", "ROUND", "study_digits"]

# Appendix C's own lists of digits and letters.
ROUND, ANGULAR = (5, 8, 0, 6), (1, 4, 7)
KINDS = {"round": "BCOS", "angular": "AVWL", "all": LETTERS}

_EACH = 250  # drawings of each letter to choose from
_IMAGES = 500  # that a copy learns from


def study_digits(seeds: int, folder: Path, progress: Progress = no_progress) -> list[DigitRecord]:
    """Copy the demo's digit classifier from three kinds of letters, equally many images of each.

    Args:
        seeds: so many copies of each kind and recipe. A seed decides which drawings are taken and
            how the copy is trained.
        folder: where it keeps what it found.
        progress: told after every seed.

    Raises:
        BadImages: the packages of the demo are not installed.
    """
    decides = repr((seeds, _recipes(), KINDS, _EACH, _IMAGES)).encode()
    kept = folder / f"digits-{hashlib.sha256(decides).hexdigest()[:8]}.json"
    if kept.exists():
        return [DigitRecord(**one) for one in json.loads(kept.read_text())]
    own = load(open_source("digits:train"), folder / "digits-train.npy")
    test = load(open_source("digits:test"), folder / "digits-test.npy")
    box = digit_classifier(own, folder / "black-box.safetensors", progress)
    drawings, letter = draw_letters(_EACH * len(LETTERS), seed=1)
    found = []
    for seed in range(seeds):
        for kind, letters in KINDS.items():
            rows = _chosen(letter, letters, seed)
            images = drawings[rows]
            answers = box.answer(images)
            for recipe in _recipes():
                probabilities = _copy(images, answers, recipe, seed, test.pixels)
                found.append(_record(kind, recipe, seed, probabilities, test.truth))
        progress(Step("digits from letters", seed + 1, seeds, "seeds"))
    files.write(kept, json.dumps([record.model_dump() for record in found]))
    return found


def _recipes() -> Sequence[Recipe]:
    """By recovered logits, and by the thesis's recipe cut to 1,000 steps."""
    shape = (8, 8, 1)
    thesis = replace(recipe_named("thesis", shape), name="thesis-1000-steps", epochs=1)
    return recipe_named("recovered-logits", shape), replace(thesis, least_steps=1000)


def _chosen(letter: NDArray[np.int64], letters: str, seed: int) -> NDArray[np.int64]:
    """Rows of drawings of some letters, each as often as the others or once more."""
    random = np.random.default_rng(seed)
    each = [random.permutation(np.flatnonzero(letter == LETTERS.index(one))) for one in letters]
    # Letter by letter in turns: wherever the list is cut, each stands in it as often.
    order = [rows[i] for i in range(_EACH) for rows in each]
    return np.asarray(order[:_IMAGES], np.int64)


def _copy(
    images: NDArray[np.uint8],
    answers: NDArray[np.float32],
    recipe: Recipe,
    seed: int,
    test: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """What a copy says of the test digits: float32 (N, 10)."""
    student = build_student("small-cnn", "random", images, answers.shape[1], seed=seed)
    train(student, images, Answers.of(answers), recipe, seed=seed, machine=Machine())
    return predict(student, test, Machine(), recipe.augmentation)


def _record(
    kind: str, recipe: Recipe, seed: int, said: NDArray[np.float32], truth: NDArray[np.int64]
) -> DigitRecord:
    hits = said.argmax(1) == truth
    return DigitRecord(
        letters=kind,
        recipe=recipe.name,
        images=_IMAGES,
        seed=seed,
        accuracy=float(hits.mean()),
        per_digit=[float(hits[truth == digit].mean()) for digit in range(10)],
    )
