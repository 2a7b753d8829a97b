"""How predictions for held-out images are compared, whatever loss a copy was trained with."""

from math import copysign, inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papagaio.responses import Answers
from papagaio.training.losses import loss_of, targets_of
from papagaio.training.recipe import Recipe

__all__ = ["held_out_losses", "is_noise", "standard_errors"]

# Factors of a copy's logits. The loss is taken at the best one: a factor changes no class that the
# copy names, but logits that are too large raise the loss by themselves, and augmentation makes
# them smaller.
_FACTORS = np.geomspace(1 / 16, 4, 49).tolist()

# How many standard errors of the paired difference count as noise: the one-standard-error rule of
# Breiman et al. (1984), "Classification and Regression Trees". Two kept useful augmentation away.
_NOISE = 1.0


def held_out_losses(
    recipe: Recipe, logits: NDArray[np.float32], answers: Answers
) -> NDArray[np.float64]:
    """Return a recipe's loss of each image, with all logits scaled by the best common factor.

    Args:
        recipe: names the loss.
        logits: float32 (N, K), of a copy that may have been trained with another loss.
        answers: the N answers.

    Returns:
        float64 (N,).
    """
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


def is_noise(differences: NDArray[np.float64]) -> bool:
    """Whether the mean of paired differences (N,) is not above 0 by more than noise."""
    return standard_errors(differences) <= _NOISE


def standard_errors(differences: NDArray[np.float64]) -> float:
    """Return the mean of differences (N,) in units of its standard error; 0 for a mean of 0."""
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    if not mean:
        return 0.0
    return mean / error if error else copysign(inf, mean)
