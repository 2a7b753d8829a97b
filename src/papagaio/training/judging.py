"""How predictions for held-out images are compared, whatever loss a copy was trained with."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papagaio.responses import Answers
from papagaio.training.losses import loss_of, targets_of
from papagaio.training.recipe import Recipe

__all__ = ["held_out_losses"]

# Factors of a copy's logits. The loss is taken at the best one: a factor changes no class that the
# copy names, but logits that are too large raise the loss by themselves, and augmentation makes
# them smaller.
_FACTORS = np.geomspace(1 / 16, 4, 49).tolist()


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
