"""The demo: a copy of a digit classifier, learned from its answers about letters only.

The thesis's own thought experiment (its section 4.4 and Figure 3): the digit 6, the letter C and
the digit 0 look alike, so letters could teach digits.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from papagaio.auditing.plan import AttackConfig, AuditImages
from papagaio.auditing.run import audit
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.hardware import cores
from papagaio.images.choosing import choose, load
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.result import Result
from papagaio.settings import AuditOptions
from papagaio.teaching.box import network_box
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import auto_recipe, recipe_named
from papagaio.weights import load_weights, save_weights

__all__ = ["BUDGETS", "SEEDS", "attacks", "demo", "digit_classifier"]

BUDGETS = (100, 500, 4000)
SEEDS = (0, 1, 2)

# An ordinary training; nothing in it knows that it will be copied.
_CLASSIFIER = Recipe(
    "digit classifier",
    optimiser="adamw",
    rate=3e-3,
    decay=1e-3,
    schedule="one-cycle",
    batch=64,
    epochs=32,
    augmentation=("affine",),
)


def demo(out: Path, *, workers: int | None = None, progress: Progress = no_progress) -> Result:
    """Train the digit classifier, audit it with letters, and write the run directory.

    Args:
        out: the run directory; an interrupted demo is resumed.
        workers: trainings at the same time; None is one per processor core.
        progress: told how far it is.

    Returns:
        what `result.json` holds.

    Raises:
        BadImages: the packages of the demo are not installed.
        Busy: another process works in `out`.
        NoSpace: the disk is full.
    """
    options = AuditOptions(
        budget=max(BUDGETS),
        budgets=BUDGETS,
        responses=("probabilities", "label"),
        seeds=SEEDS,
        # An example, so that the report speaks of money; the demo costs nothing.
        price_per_1000=1.5,
        # Networks this small are mostly overhead: one thread each, several at the same time.
        device="cpu",
        precision="float32",
        threads=1,
        workers=workers or cores(),
        out=out,
    )
    letters = open_source("letters", progress=progress)
    own = load(open_source("digits:train"), progress=progress)
    images = AuditImages(
        transfer=choose(letters, max(BUDGETS), progress=progress),
        test=load(open_source("digits:test"), progress=progress),
        own=own,
    )
    box = digit_classifier(own, out / "black-box.safetensors", progress)
    return audit(box, images, options, progress, attacks=attacks(box.contract.shape))


def attacks(shape: tuple[int, int, int]) -> list[AttackConfig]:
    """How copies are made: as by default, from probabilities and labels, and as in the thesis.

    The thesis's recipe is cut from 100 epochs to 10 (and at least 1,000 steps), as its name says.
    """
    thesis = recipe_named("thesis", shape)
    cut = replace(thesis, name="thesis-10-epochs", epochs=10, least_steps=1000)
    return [
        AttackConfig("probabilities", auto_recipe("probabilities", 0, shape)),
        AttackConfig("probabilities", cut),
        AttackConfig("label", auto_recipe("label", 0, shape)),
    ]


def digit_classifier(
    digits: ImageSet, weights: Path, progress: Progress = no_progress
) -> FunctionBox:
    """The black box: trained on the digits' train part, or read back from its weights.

    Args:
        digits: labelled images of digits.
        weights: the safetensors file that is read, or written where there is none.
        progress: told how far the training is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier(_network(), channel_statistics(digits.pixels))
    machine = Machine()
    if weights.exists():
        network.load_state_dict(load_weights(weights))
    else:
        one_hot = np.eye(10, dtype=np.float32)[digits.required_labels]
        answers = Answers.of(one_hot)
        train(
            network, digits.pixels, answers, _CLASSIFIER, seed=0, machine=machine, progress=progress
        )
        save_weights(weights, network)
    contract = Contract(*digits.shape, classes=10, class_names=digits.classes)
    return network_box("the digit classifier", network, contract, machine)


def _network() -> nn.Module:
    """Not the student's architecture: whoever copies does not know it."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 10),
    )
