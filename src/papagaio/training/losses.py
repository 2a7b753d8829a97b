"""Losses between a student's logits and a black box's answers.

Each has two halves: what is made of the answers once, before training, and what is computed in
every step.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from papagaio.responses import centred_log

__all__ = ["Loss", "loss_of", "spread_of", "targets_of"]

Loss = Literal["cross-entropy", "centred-l1", "centred-l2"]


def targets_of(
    loss: Loss, temperature: float, smoothing: float, probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the student is held to.

    Args:
        loss: the loss.
        temperature: of a cross-entropy.
        smoothing: the share of a cross-entropy's target that is spread over all classes.
        probabilities: float32 (N, K), what the black box showed.

    Returns:
        float32 (N, K): for `cross-entropy` probabilities at that temperature, for the others
        centred logits.
    """
    if loss != "cross-entropy":
        return centred_log(probabilities)
    targets = probabilities.astype(np.float64)
    if temperature != 1:
        # softmax(ln p / T): the answer at temperature T, exactly, whatever constant is lost.
        targets = softmax(centred_log(probabilities) / temperature, axis=1)
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return np.asarray(smoothed, np.float32)


def spread_of(loss: Loss, answers: NDArray[np.float32]) -> float:
    """How far the logits that a loss aims at lie apart: their standard deviation, or 1.

    Args:
        loss: the loss.
        answers: float32 (N, K), probabilities.
    """
    return 1.0 if loss == "cross-entropy" else float(centred_log(answers).std())


def loss_of(loss: Loss, temperature: float, logits: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a batch, in float32.

    * `cross-entropy`: -sum(targets * ln softmax(logits / T)); at T = 1 the thesis's equation 2.
    * `centred-l1`, `centred-l2`: mean absolute, or squared, difference between centred logits.

    Args:
        loss: the loss.
        temperature: of a cross-entropy.
        logits: (N, K), the student's.
        targets: float32 (N, K), from `targets_of`.
    """
    logits = logits.float()
    if loss == "cross-entropy":
        return functional.cross_entropy(logits / temperature, targets)
    centred = logits - logits.mean(1, keepdim=True)
    if loss == "centred-l1":
        return functional.l1_loss(centred, targets)
    return functional.mse_loss(centred, targets)
