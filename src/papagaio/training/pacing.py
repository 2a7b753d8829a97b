"""A training within a time: how many epochs fit, judged by the speed of a few steps."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from papagaio import files
from papagaio.training.recipe import Recipe

__all__ = ["paced"]

_STEPS = 20


def paced(
    recipe: Recipe,
    images: int,
    train_on: Callable[[int, Recipe], object],
    kept: Path,
    *,
    spent: float = 0.0,
) -> Recipe:
    """Return the recipe with no more epochs than fit in its minutes, and at least one.

    The speed is measured once; a training that is resumed keeps its number of epochs, because it
    decides the weights.

    Args:
        recipe: how to train. Without minutes, it is returned as it is.
        images: how many images the training shows in an epoch.
        train_on: trains a network to throw away on the first so many images by a recipe.
        kept: the file in which the number of epochs is kept and looked for.
        spent: seconds that the choice of the recipe has taken of these minutes.

    Raises:
        Diverged: a loss of the first steps is no longer finite.
        NoSpace: the disk is full.
    """
    if not recipe.minutes:
        return recipe
    if not kept.exists():
        left = recipe.minutes * 60 - spent
        fit = int(left / (images * _seconds_per_image(recipe, images, train_on)))
        files.write(kept, str(min(max(1, fit), recipe.epochs_for(images))))
    return replace(recipe, epochs_given=int(kept.read_text(encoding="utf-8")))


def _seconds_per_image(
    recipe: Recipe, images: int, train_on: Callable[[int, Recipe], object]
) -> float:
    one_epoch = replace(recipe, epochs_given=1)
    train_on(min(recipe.batch, images), one_epoch)  # the first step pays for set-up
    shown = min(_STEPS * recipe.batch, images)
    started = time.monotonic()
    train_on(shown, one_epoch)
    return (time.monotonic() - started) / shown
