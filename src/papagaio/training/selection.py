"""Which augmentation a copy is trained with: chosen by short trainings, on held-out answers.

An augmented image is paired with the answer to the original. That is a wrong example unless the
black box would have given the same answer, and nothing but its answers can show whether it would.
So each candidate trains a short copy on some of the answers, and its predictions are compared with
answers that no short copy learned. Augmentation is used only where it is shown to help.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, copysign, inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papagaio.errors import Diverged
from papagaio.networks.classifier import Classifier
from papagaio.progress import Progress, Step, no_progress
from papagaio.responses import Answers
from papagaio.training.inference import infer
from papagaio.training.loop import train
from papagaio.training.losses import loss_of, targets_of
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import Augmentation

__all__ = ["Candidate", "Selection", "select_augmentation"]

# The share of the final training's steps that each short training takes, and its limits. Fewer
# steps than the least show nothing. More than the most are not needed: with 10,000 answers, 100
# steps told candidates apart by 13 standard errors.
_SHARE = 0.08
_LEAST_STEPS = 40
_MOST_STEPS = 100

# A short copy learns few images often instead of every image once or twice: augmentation helps a
# copy that has begun to learn its images by heart, as the final one will.
_EPOCHS = 10

# With fewer answers, what is held out decides nothing.
_LEAST_ANSWERS = 100
_MOST_HELD_OUT = 2000

# Factors of a short copy's logits. The loss is taken at the best one: a factor changes no class
# that the copy names, but logits that are too large raise the loss by themselves, and augmentation
# makes them smaller.
_FACTORS = np.geomspace(1 / 16, 4, 49).tolist()

# How many standard errors of the paired difference count as noise: the one-standard-error rule of
# Breiman et al. (1984), "Classification and Regression Trees". Two kept useful augmentation away.
_NOISE = 1.0


@dataclass(frozen=True)
class Candidate:
    """One augmentation, and how its short copy did on the held-out images.

    Attributes:
        augmentation: what the short copy was trained with.
        hits: bool (N,), whether the copy names the class that the black box named.
        losses: float64 (N,), the recipe's loss of each held-out image, with all logits scaled by
            the factor that suits the copy best.
        seconds: the duration of that training and its inference.
    """

    augmentation: tuple[Augmentation, ...]
    hits: NDArray[np.bool_]
    losses: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class Selection:
    """What was chosen, and from what.

    Attributes:
        augmentation: the choice.
        candidates: in the recipe's order, the least augmented first; those that diverged are left
            out.
        epochs: the number of epochs of each short training.
        share: the steps of all short trainings, divided by those of the final training.
    """

    augmentation: tuple[Augmentation, ...]
    candidates: tuple[Candidate, ...]
    epochs: int
    share: float


@dataclass(frozen=True)
class _Division:
    """How many images a short copy learns, how many it is judged by, and for how many epochs."""

    learned: int
    held_out: int
    epochs: int


def select_augmentation(
    build: Callable[[], Classifier],
    images: NDArray[np.uint8],
    answers: Answers,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    progress: Progress = no_progress,
) -> Selection | None:
    """Choose among a recipe's augmentations the one that is shown to help.

    The choice is the first candidate whose loss on held-out images is not above the best one's by
    more than noise: one standard error of the paired difference. A candidate whose short training
    diverges is not chosen.

    Args:
        build: makes the network that will be trained, each time with the same initial weights.
        images: uint8 (N, H, W, C), what the copy may learn from.
        answers: the N answers to them.
        recipe: how the copy will be trained.
        seed: the seed of the division into learned and held-out images, and of the short trainings.
        machine: where they run.
        progress: told before the first and after every candidate.

    Returns:
        the choice; None with fewer than 100 answers, which decide nothing.

    Raises:
        Diverged: the loss of every short training is no longer finite.
    """
    if len(images) < _LEAST_ANSWERS:
        return None
    division = _divided(recipe, len(images))
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = order[: division.held_out]
    learned = order[division.held_out : division.held_out + division.learned]
    choices = recipe.augmentation_choices
    task, unit = "choosing the augmentation", "short trainings"
    candidates: list[Candidate] = []
    diverged: list[Diverged] = []
    progress(Step(task, 0, len(choices), unit))
    for done, augmentation in enumerate(choices, 1):
        started = time.monotonic()
        short = replace(recipe, augmentation=augmentation, epochs=division.epochs, least_steps=0)
        copy = build()
        try:
            train(copy, images[learned], answers[learned], short, seed=seed, machine=machine)
            logits = _finite(infer(copy, images[held_out], machine))
        except Diverged as error:
            diverged.append(error)
            result = "diverged"
        else:
            hits = logits.argmax(1) == answers[held_out].labels
            losses = _losses(short, logits, answers[held_out])
            candidates.append(Candidate(augmentation, hits, losses, time.monotonic() - started))
            result = f"loss {losses.mean():.3g}"
        note = f"{'+'.join(augmentation) or 'none'}: {result}"
        progress(Step(task, done, len(choices), unit, note))
    if not candidates:
        raise diverged[0]
    chosen = _least_augmented(candidates)
    steps = len(choices) * division.epochs * recipe.steps_per_epoch(division.learned)
    final = recipe.epochs_for(len(images)) * recipe.steps_per_epoch(len(images))
    return Selection(chosen.augmentation, tuple(candidates), division.epochs, steps / final)


def _least_augmented(candidates: Sequence[Candidate]) -> Candidate:
    """The first candidate that is not worse than the best one by more than noise."""
    best = min(candidates, key=lambda candidate: float(candidate.losses.mean()))
    return next(c for c in candidates if _standard_errors(c.losses - best.losses) <= _NOISE)


def _divided(recipe: Recipe, images: int) -> _Division:
    epochs = recipe.epochs_for(images)
    final = epochs * recipe.steps_per_epoch(images)
    steps = min(max(_SHARE * final, _LEAST_STEPS), _MOST_STEPS, final)
    held_out = min(images // 2, _MOST_HELD_OUT)
    batches = ceil(steps / min(_EPOCHS, epochs))
    learned = min(batches * recipe.batch, images - held_out)
    return _Division(learned, held_out, max(1, round(steps / recipe.steps_per_epoch(learned))))


def _finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse logits that a last step has ruined: no loss was computed after it."""
    if not np.isfinite(logits).all():
        raise Diverged("the logits of a short training are no longer finite")
    return logits


def _losses(recipe: Recipe, logits: NDArray[np.float32], answers: Answers) -> NDArray[np.float64]:
    """The recipe's loss of each image (N,), from logits (N, K) and answers, at the best factor."""
    rows = torch.from_numpy(logits)
    targets = torch.from_numpy(
        targets_of(recipe.loss, recipe.temperature, recipe.smoothing, answers)
    )

    def loss(factor: float, some: Tensor, theirs: Tensor) -> float:
        return loss_of(recipe.loss, recipe.temperature, factor * some, theirs).item()

    best = min(_FACTORS, key=lambda factor: loss(factor, rows, targets))
    return np.array(
        [loss(best, *pair) for pair in zip(rows[:, None], targets[:, None], strict=True)]
    )


def _standard_errors(differences: NDArray[np.float64]) -> float:
    """A mean in units of its standard error; 0 for a mean of 0."""
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    if not mean:
        return 0.0
    return mean / error if error else copysign(inf, mean)
