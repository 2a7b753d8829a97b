"""One training step, run directly or as a captured CUDA graph."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from papagaio.training.cuda_graphs import CapturedStep
from papagaio.training.losses import loss_of
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe

__all__ = ["Batch", "StepFunction", "step_function", "training_step"]

# From the parts of a batch to the loss and the logits.
StepFunction = Callable[..., tuple[Tensor, ...]]


class Batch(NamedTuple):
    """What a step learns from, on the device.

    Attributes:
        images: uint8 or float32 from 0 to 255 (N, C, H, W), already augmented; or features.
        targets: float32, N rows, from `losses.targets_of`.
        labels: int64 (N,), the true classes, for recipes with `alpha`.
    """

    images: Tensor
    targets: Tensor
    labels: Tensor | None = None


def training_step(
    network: nn.Module,
    optimisers: Sequence[Optimizer],
    batch: Batch,
    recipe: Recipe,
    machine: Machine,
) -> tuple[Tensor, Tensor]:
    """Take one step on a batch.

    Args:
        network: from images to logits (N, K).
        optimisers: the optimisers of its weights.
        batch: what it learns from.
        recipe: names the loss.
        machine: names the precision.

    Returns:
        the loss (a scalar) and the logits (N, K), both on the device and without gradient.
    """
    with machine.autocast():
        logits = network(batch.images)
    loss = loss_of(recipe.loss, recipe.temperature, logits, batch.targets)
    if batch.labels is not None:
        loss = loss + recipe.alpha * functional.cross_entropy(logits.float(), batch.labels)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if recipe.clip:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    for optimiser in optimisers:
        optimiser.step()
    return loss.detach(), logits.detach()


def step_function(
    network: nn.Module, optimisers: Sequence[Optimizer], recipe: Recipe, machine: Machine
) -> StepFunction:
    """Return a step as a function of a batch's parts, captured as a CUDA graph where possible."""

    def step(*batch: Tensor) -> tuple[Tensor, ...]:
        return training_step(network, optimisers, Batch(*batch), recipe, machine)

    if torch.device(machine.device).type != "cuda" or recipe.muon:
        return step
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            # On the device, a captured step sees it change. A checkpoint may come from a CPU.
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=machine.device)
    return CapturedStep(step)
