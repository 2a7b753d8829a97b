"""A finer answer never teaches less than a coarser one derived from it, beyond noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.networks.named import build_student
from papagaio.responses import Answers, derive
from papagaio.training.inference import infer
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named
from papagaio.vocabulary import Response

# Each is derived from the one before it.
CHAINS: tuple[tuple[Response, ...], ...] = (
    ("probabilities", "rounded-2", "rounded-1", "label"),
    ("probabilities", "top-3", "top-1", "label"),
)
SHAPE, MACHINE, SEEDS, LEARNED = (6, 6, 1), Machine(), (0, 1), 300


@dataclass(frozen=True)
class Box:
    """A random network of one hidden layer: its classes, and how sure it is of them."""

    classes: int
    scale: float

    def answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        random = np.random.default_rng(self.classes)
        first, second = random.normal(0, 1, (36, 16)), random.normal(0, 1, (16, self.classes))
        pixels = images.reshape(len(images), 36) / 255 - 0.5
        logits = np.maximum(pixels @ first, 0) @ second
        return np.asarray(softmax(self.scale * logits, axis=1), np.float32)


def images_of() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (LEARNED + 1000, *SHAPE), np.uint8)


def taught(box: Box, answers: Answers, recipe: Recipe, seeds: Sequence[int]) -> tuple[float, float]:
    """The mean fidelity of several copies, and the largest loss of a first epoch."""
    images, shares, losses = images_of(), [], []
    expected = box.answers(images[LEARNED:]).argmax(1)
    for seed in seeds:
        student = build_student("small-cnn", "random", images, box.classes, seed=seed)
        epochs = train(student, images[:LEARNED], answers, recipe, seed=seed, machine=MACHINE)
        named = infer(student, images[LEARNED:], MACHINE).argmax(1)
        shares.append((named == expected).mean())
        losses.append(epochs[0].loss)
    return float(np.mean(shares)), max(losses)


def short(name: str) -> Recipe:
    return replace(recipe_named(name, SHAPE), epochs=10, least_steps=0, batch=32, augmentation=())


@pytest.mark.parametrize("box", [Box(6, 2.0), Box(20, 3.0)])
def test_a_finer_answer_never_teaches_less_than_a_coarser_one(box: Box) -> None:
    full = box.answers(images_of()[:LEARNED])
    reached = {}
    for response in dict.fromkeys(response for chain in CHAINS for response in chain):
        answers = derive(full, "probabilities", response)
        reached[response], _ = taught(box, answers, short(default_recipe(response)), SEEDS)
    for chain in CHAINS:
        for finer, coarser in pairwise(chain):
            # Two standard deviations of a difference of two rates of 1,000 images.
            assert reached[finer] > reached[coarser] - 0.04, reached


def test_answers_in_eight_bits_teach_no_less_than_the_same_rounded_to_two_decimals() -> None:
    box, step = Box(10, 2.0), 1 / 256
    full = box.answers(images_of()[:LEARNED])
    stored = np.asarray(np.round(full * 256).clip(0, 255) / 256, np.float32)
    assert 0.4 < (stored == 0).mean() < 0.8
    recipe = short(default_recipe("probabilities", step))
    eight_bits = derive(stored, "probabilities", "probabilities", step)
    finer, first_loss = taught(box, eight_bits, recipe, (0, 1, 2))
    coarser, _ = taught(box, derive(stored, "probabilities", "rounded-2", step), recipe, (0, 1, 2))
    assert finer > coarser - 0.04, (finer, coarser)
    # Zeros that count as 1e-30 make it hundreds.
    assert first_loss < 30
    plain = Answers.of(stored)
    unaware = replace(short("recovered-logits"), epochs=1)
    assert taught(box, plain, unaware, (0,))[1] > 200
