"""Checkpoints: all that a training needs to go on as if it had never stopped."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from papagaio import files

__all__ = ["restore", "save"]


def save(
    path: Path, network: nn.Module, optimisers: Sequence[Optimizer], curve: list[list[float]]
) -> None:
    """Write weights, optimiser, random state and the curve so far, in place of an older one."""
    state: dict[str, Any] = {
        "network": network.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "curve": curve,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write(path, buffer.getvalue())


def restore(path: Path, network: nn.Module, optimisers: Sequence[Optimizer]) -> list[list[float]]:
    """Put everything back as `save` found it; returns the curve so far, or nothing."""
    if not path.exists():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    for optimiser, own in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(own)
    torch.set_rng_state(state["random"])
    if state["cuda_random"]:
        torch.cuda.set_rng_state_all(state["cuda_random"])
    curve: list[list[float]] = state["curve"]
    return curve
