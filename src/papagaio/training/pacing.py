"""A training within a time: how many epochs fit, judged by the speed of a few steps."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from papagaio import files
from papagaio.training.recipe import Recipe
from papagaio.training.selection import steps_of_choice

__all__ = ["paced"]

_STEPS = 10


def paced(
    recipe: Recipe, images: int, train_on: Callable[[int, Recipe], object], kept: Path
) -> Recipe:
    """Return the recipe with no more epochs than fit into its minutes, and at least one.

    The choice of the recipe is part of this time; where it would take more than half, there is
    none. The speed is measured once: a training that is resumed keeps its number of epochs, because
    that decides its weights.

    Args:
        recipe: how to train, and what to try before. Without minutes, it is returned as it is.
        images: how many images the training shows in an epoch.
        train_on: trains a network to throw away on the first so many images by a recipe.
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


def _seconds_per_image(
    recipe: Recipe, images: int, train_on: Callable[[int, Recipe], object]
) -> float:
    """The difference of two short trainings: what a training begins with is in both."""
    for changes in recipe.rounds:
        recipe = replace(recipe, **changes[-1])  # the last changes the most, and is the slowest
    # At such rates no loss stops being finite that would not in the training itself.
    slow = replace(
        recipe, rate=recipe.rate / 1000, muon=recipe.muon / 1000, schedule="constant", rounds=()
    )
    shown = min(_STEPS * recipe.batch, images)

    def seconds_for(epochs: int) -> float:
        started = time.monotonic()
        train_on(shown, replace(slow, epochs_given=epochs))
        return time.monotonic() - started

    seconds_for(1)  # the first training of a process is slower
    return max(seconds_for(3) - seconds_for(1), 1e-6) / (2 * shown)
