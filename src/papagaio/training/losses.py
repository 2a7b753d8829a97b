"""Losses between a network's logits and the black box's answers.

Each has two halves: targets, computed from the answers once before training, and the loss of a
batch, computed in every step.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from papagaio.responses import Answers, centred_log, complete
from papagaio.vocabulary import Loss

__all__ = ["loss_of", "spread_of", "targets_of"]

# Below this a remainder (1 minus the shown scores) is float32 rounding: only a bound is known.
_LEAST_REMAINDER = 1e-6
_LEAST_PROBABILITY = 1e-30
# A log-probability for classes that do not count: exp gives 0, and gradients stay finite.
_NOTHING = -1e4
_OFFSET_STEPS = 5

_CENTRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "centred-l2": functional.mse_loss,
    "centred-l1": functional.l1_loss,
}


def targets_of(
    loss: Loss, temperature: float, smoothing: float, answers: Answers
) -> NDArray[np.float32]:
    """Compute what the network is trained towards.

    Args:
        loss: the loss.
        temperature: the temperature of a cross-entropy.
        smoothing: the share of a cross-entropy's target that is spread over all classes.
        answers: what the black box showed.

    Returns:
        float32, N rows: for `cross-entropy` probabilities (N, K) at that temperature; for
        `centred-l2` and `centred-l1` centred logits (N, K); for `censored-l2` three planes
        (N, 3, K): lower and upper bounds of log-probabilities, and the share of the remainder of
        each hidden class.
    """
    if loss == "censored-l2":
        return _bounds(answers)
    probabilities = complete(answers)
    if loss in _CENTRED:
        return centred_log(probabilities)
    targets = probabilities.astype(np.float64)
    if temperature != 1:
        # softmax(ln p / T) is the answer at temperature T: softmax ignores the unknown constant.
        targets = softmax(centred_log(probabilities) / temperature, axis=1)
    smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
    return np.asarray(smoothed, np.float32)


def _bounds(answers: Answers) -> NDArray[np.float32]:
    """The targets of `censored-l2`; shown classes have no share of the remainder."""
    scores, hidden = answers.scores.astype(np.float64), ~answers.known
    half = answers.resolution / 2
    remainder = np.maximum(1 - scores.sum(1, keepdims=True), max(_LEAST_REMAINDER, half))
    smallest_shown = np.where(hidden, np.inf, np.maximum(scores, half)).min(1, keepdims=True)
    # A shown 0 is a bound too: less than half a step.
    unseen = np.where(hidden, np.minimum(smallest_shown, remainder), half)
    highest = np.log(np.maximum(np.where(scores > 0, scores, unseen), _LEAST_PROBABILITY))
    lowest = np.where(scores > 0, highest, -np.inf)
    share = np.where(hidden, remainder / np.maximum(hidden.sum(1, keepdims=True), 1), 0)
    return np.stack([lowest, highest, share], 1).astype(np.float32)


def spread_of(loss: Loss, answers: Answers) -> float:
    """Return the standard deviation of the logits that a loss aims at; 1 for a cross-entropy."""
    if loss == "cross-entropy":
        return 1.0
    if loss in _CENTRED:
        return float(centred_log(complete(answers)).std())
    _, highest, share = _bounds(answers).swapaxes(0, 1)
    likely = np.where(share > 0, np.log(np.maximum(share, _LEAST_PROBABILITY)), highest)
    return float((likely - likely.mean(1, keepdims=True)).std())


def loss_of(loss: Loss, temperature: float, logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean loss of a batch, in float32.

    * `cross-entropy`: -sum(targets * ln softmax(logits / T)); at T = 1 the thesis's equation 2.
    * `centred-l2`, `centred-l1`: the mean squared, or absolute, difference between centred logits.
    * `censored-l2`: the mean squared difference between logits and the nearest that the answer
      allows, up to one constant per image; for full answers it equals `centred-l2`. A positive
      score p allows ln p. A score rounded to 0 allows what is below half a step. A hidden class
      allows what is below the smallest score shown and below the remainder (1 minus the shown
      scores); together, hidden classes have the remainder.

    Args:
        loss: the loss.
        temperature: the temperature of a cross-entropy.
        logits: (N, K), the network's.
        targets: float32, from `targets_of`.
    """
    logits = logits.float()
    if loss == "cross-entropy":
        return functional.cross_entropy(logits / temperature, targets)
    if loss in _CENTRED:
        return _CENTRED[loss](_centred(logits), targets)
    # Moving the target with the logits leaves the gradient of a distance: the misfit itself.
    misfit = _misfit(logits.detach().log_softmax(1), targets)
    return functional.mse_loss(logits, logits.detach() - misfit)


def _misfit(logs: Tensor, targets: Tensor) -> Tensor:
    """How far log-probabilities (N, K) are from what the answers allow, up to one offset per row.

    Hidden classes have a known total, which leaves no doubt about the offset. Where scores are
    rounded, the offset that fits best is found by iteration. A class within its bound never counts.
    """
    lowest, highest, share = targets.unbind(1)
    hidden, any_hidden = share > 0, share.sum(1, keepdim=True) > 0
    for _ in range(_OFFSET_STEPS):
        misfit = logs - _nearest_allowed(logs, lowest, highest, share)
        counts = hidden | (misfit != 0)
        offset = misfit.sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
        logs = torch.where(any_hidden, logs, logs - offset)
    return torch.where(counts, misfit - offset, 0)


def _nearest_allowed(logs: Tensor, lowest: Tensor, highest: Tensor, share: Tensor) -> Tensor:
    """Move log-probabilities (N, K) to values that the answers allow; see `loss_of`."""
    hidden, remainder = share > 0, share.sum(1, keepdim=True)
    bounded = torch.where(hidden, logs, _NOTHING).minimum(highest)
    short_of = remainder.clamp(min=_LEAST_REMAINDER).log() - bounded.logsumexp(1, keepdim=True)
    # A remainder of rounding errors is only a bound. Where nothing is hidden, it is 0.
    shift = torch.where(remainder > 2 * _LEAST_REMAINDER, short_of, short_of.clamp(max=0))
    return torch.where(hidden, bounded + shift, logs).minimum(highest).maximum(lowest)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
