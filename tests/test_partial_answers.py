"""A finer answer never teaches less than a coarser one derived from it, beyond noise."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.networks.named import build_student
from papagaio.responses import derive
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


def fidelity(box: Box, response: Response, recipe: Recipe) -> float:
    """The mean of several copies."""
    images = np.random.default_rng(1).integers(0, 256, (LEARNED + 1000, *SHAPE), np.uint8)
    full = box.answers(images)
    answers = derive(full[:LEARNED], "probabilities", response)
    shares = []
    for seed in SEEDS:
        student = build_student("small-cnn", "random", images, box.classes, seed=seed)
        train(student, images[:LEARNED], answers, recipe, seed=seed, machine=MACHINE)
        named = infer(student, images[LEARNED:], MACHINE).argmax(1)
        shares.append((named == full[LEARNED:].argmax(1)).mean())
    return float(np.mean(shares))


def short(name: str) -> Recipe:
    return replace(recipe_named(name, SHAPE), epochs=10, least_steps=0, batch=32, augmentation=())


@pytest.mark.parametrize("box", [Box(6, 2.0), Box(10, 4.0), Box(20, 3.0)])
def test_a_finer_answer_never_teaches_less_than_a_coarser_one(box: Box) -> None:
    reached = {
        response: fidelity(box, response, short(default_recipe(response)))
        for response in dict.fromkeys(response for chain in CHAINS for response in chain)
    }
    for chain in CHAINS:
        for finer, coarser in pairwise(chain):
            # Two standard deviations of a difference of two rates of 1,000 images.
            assert reached[finer] > reached[coarser] - 0.04, reached
