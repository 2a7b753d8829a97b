"""A training within a time: how many epochs fit, judged by the speed of a few steps."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from papagaio import files
from papagaio.progress import Progress
from papagaio.training.recipe import Recipe
from papagaio.training.selection import steps_of_choice

__all__ = ["paced"]

_STEPS, _EPOCHS = 10, 4

# Trains a network to throw away on the first so many images, and tells how far it is.
TrainOn = Callable[[int, Recipe, Progress], object]


def paced(recipe: Recipe, images: int, train_on: TrainOn, kept: Path) -> Recipe:
    """Return the recipe with no more epochs than fit into its minutes, and at least one.

    The choice of the recipe is part of this time; where it would take more than half, there is
    none. The speed is measured once: a training that is resumed keeps its number of epochs, because
    that decides its weights.

    Args:
        recipe: how to train, and what to try before. Without minutes, it is returned as it is.
        images: how many images the training shows in an epoch.
        train_on: a short training, which tells its progress after every epoch.
        kept: the file in which the seconds per image are kept and looked for.

    Raises:
        Diverged: a loss of the first steps is no longer finite.
        NoSpace: the disk is full.
    """
    if not recipe.minutes:
        return recipe
    if not kept.exists():
        files.write(kept, repr(_seconds_per_image(recipe, images, train_on)))
    fit = recipe.minutes * 60 / (images * float(kept.read_text(encoding="utf-8")))
    cut = replace(recipe, most_epochs=max(1, int(fit)))
    choice = steps_of_choice(cut, images) / cut.steps_per_epoch(images)
    if choice > fit / 2:
        return replace(cut, rounds=())
    return replace(cut, most_epochs=max(1, int(fit - choice)))


def _seconds_per_image(recipe: Recipe, images: int, train_on: TrainOn) -> float:
    """The median over the epochs of a short training, without what it begins with."""
    for changes in recipe.rounds:
        recipe = replace(recipe, **changes[-1])  # the last changes the most, and is the slowest
    # At such rates no loss stops being finite that would not in the training itself.
    slow = replace(
        recipe, rate=recipe.rate / 1000, muon=recipe.muon / 1000, schedule="constant", rounds=()
    )
    shown = min(_STEPS * recipe.batch, images)
    ends: list[float] = []
    train_on(shown, replace(slow, epochs_given=_EPOCHS), lambda _: ends.append(time.monotonic()))
    return median(later - earlier for earlier, later in pairwise(ends[-_EPOCHS:])) / shown
