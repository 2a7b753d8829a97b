"""A recipe's optimisers, and their learning rates in the course of a training."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from papagaio.training.muon import Muon, convolutions_before_norm
from papagaio.training.recipe import Recipe

__all__ = ["optimisers_for", "set_rates"]


def optimisers_for(network: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """Return the recipe's optimisers; each trained weight belongs to exactly one.

    Weight decay applies to matrices only. Each group keeps its full learning rate as `peak`.
    """
    convolutions = convolutions_before_norm(network) if recipe.muon else []
    for_muon = set(map(id, convolutions))
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in for_muon]
    decays = {True: recipe.decay, False: 0.0}
    groups = [
        {"params": [p for p in others if (p.ndim > 1) is matrices], "weight_decay": decay}
        for matrices, decay in decays.items()
    ]
    kind = Adam if recipe.optimiser == "adam" else AdamW
    on_cuda = next(network.parameters()).is_cuda
    optimisers: list[Optimizer] = [kind(groups, lr=recipe.rate, fused=True, capturable=on_cuda)]
    if convolutions:
        optimisers.append(Muon(convolutions, recipe.muon))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def set_rates(optimisers: Sequence[Optimizer], share: float) -> None:
    """Set every learning rate to a share (0 to 1) of its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["peak"] * share)
            else:
                group["lr"] = group["peak"] * share
