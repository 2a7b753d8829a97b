"""The demo: a copy of a digit classifier, learned from its answers about letters only.

The thesis's own thought experiment (its section 4.4 and Figure 3): the digit 6, the letter C and
the digit 0 look alike, so letters could teach digits.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from papagaio import files
from papagaio.auditing.cells import Lesson
from papagaio.auditing.opening import Sets
from papagaio.auditing.run import run_audit
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.images.source import load
from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.result import Result
from papagaio.settings import Settings
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine, cores
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio.weights import digest_weights, load_weights, save_weights

__all__ = ["BUDGETS", "demo", "digit_classifier", "lessons"]

BUDGETS = (100, 200, 500, 1000, 2000, 4000)

# An ordinary honest training; nothing in it knows that it will be copied.
_CLASSIFIER = Recipe(
    "the digit classifier",
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
        out: the run directory; an interrupted demo goes on.
        workers: how many trainings run side by side; None takes one a processor core.
        progress: told how far it is.

    Returns:
        what stands in `result.json`.

    Raises:
        Busy: another process works in `out`.
        NoSpace: the disk is full.
    """
    settings = Settings(
        black_box="digit classifier",
        transfer="letters",
        test="digits",
        own_data="digits",
        budget=max(BUDGETS),
        budgets=BUDGETS,
        responses=("probabilities", "label"),
        seeds=(0, 1, 2),
        # Networks this small are all overhead: one thread each, side by side.
        device="cpu",
        precision="float32",
        threads=1,
        workers=workers or cores(),
        out=out,
    )
    with files.lock(out / ".lock"):
        own = _read("digits:train", out)
        sets = Sets(transfer=_read("letters", out), test=_read("digits:test", out), own=own)
        box = digit_classifier(own, out / "black-box.safetensors", progress)
        return run_audit(settings, box, sets, lessons(box.contract.shape), progress)


def lessons(shape: tuple[int, int, int]) -> Sequence[Lesson]:
    """What copies are made from: probabilities by two recipes, and labels.

    The thesis's recipe is cut from 100 epochs to 10 (and at least 1,000 steps), and named so.
    """
    thesis = recipe_named("thesis", shape)
    return (
        ("probabilities", recipe_named("recovered-logits", shape)),
        ("probabilities", replace(thesis, name="thesis-10-epochs", epochs=10, least_steps=1000)),
        ("label", recipe_named("labels", shape)),
    )


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
        answers = Answers.of(np.eye(10, dtype=np.float32)[digits.truth])
        train(
            network, digits.pixels, answers, _CLASSIFIER, seed=0, machine=machine, progress=progress
        )
        save_weights(weights, network)
    return FunctionBox(
        name="the digit classifier",
        identity=digest_weights(network.state_dict()),
        contract=Contract(*digits.shape, classes=10, class_names=digits.classes),
        function=partial(predict, network, machine=machine),
    )


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


def _read(name: str, out: Path) -> ImageSet:
    return load(open_source(name), out / "images" / f"{name.replace(':', '-')}.npy")
