"""Muon: orthogonalised momentum, for convolutions that a normalisation follows.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, as used in
K. Jordan's CIFAR-10 speed runs: the weights keep one norm, because the normalisation after them
cancels their size anyway.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Muon", "convolutions_before_norm"]

_MOMENTUM = 0.6
# Coefficients of the quintic Newton-Schulz iteration, from the source.
_ITERATION = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3


class Muon(Optimizer):
    """Nesterov momentum whose step is replaced by the nearest orthogonal matrix."""

    def __init__(self, weights: Iterable[Tensor], rate: float) -> None:
        """Optimise 4-dimensional weights with this learning rate."""
        super().__init__(weights, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take one step; a closure is not supported and not called."""
        for group in self.param_groups:
            for weight in group["params"]:
                momentum: Tensor = self.state[weight].setdefault(
                    "momentum", torch.zeros_like(weight)
                )
                momentum.mul_(_MOMENTUM).add_(weight.grad)
                ahead = weight.grad.add(momentum, alpha=_MOMENTUM)
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(orthogonal(ahead.flatten(1)).view_as(weight), alpha=group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximate the orthogonal matrix closest to this one (rows x columns), in float32."""
    a, b, c = _ITERATION
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    # Rounding to bfloat16 changes little here and is faster on a GPU. A CPU without instructions
    # for it takes 15 times longer: two thirds of a training step of `residual_cnn`.
    if wide.device.type != "cpu":
        wide = wide.bfloat16()
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    nearest: Tensor = wide.T if matrix.shape[0] > matrix.shape[1] else wide
    return nearest.float()


def convolutions_before_norm(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that Muon trains.

    They belong to convolutions without bias (so a normalisation follows) that are neither grouped
    nor the first layer.
    """
    weights: list[Any] = [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
        and module.bias is None
        and module.groups == 1
        and module.in_channels > 3
        and module.weight.requires_grad
    ]
    return weights
