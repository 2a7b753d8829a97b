"""Checkpoints: the state with which an interrupted training continues bit for bit."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from papagaio import files

__all__ = ["Checkpoints"]


@dataclass
class Checkpoints:
    """A checkpoint file, how often it is written, and where frozen features are kept.

    Attributes:
        path: the file; each checkpoint replaces the last.
        seconds: the minimum time between two checkpoints, in seconds.
        features: a folder for the features of frozen layers, which other trainings may share; None
            keeps them in memory only.
    """

    path: Path
    seconds: float = 10.0
    features: Path | None = None
    _saved: float = field(default_factory=time.monotonic, init=False, repr=False)

    def restore(self, network: nn.Module, optimisers: Sequence[Optimizer]) -> list[list[float]]:
        """Load weights, optimisers and random state; return the curve so far, or an empty list."""
        self._saved = time.monotonic()
        if not self.path.exists():
            return []
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        for optimiser, own in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        torch.set_rng_state(state["random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        curve: list[list[float]] = state["curve"]
        return curve

    def after_epoch(
        self, network: nn.Module, optimisers: Sequence[Optimizer], curve: list[list[float]]
    ) -> None:
        """Write a checkpoint if the last one is old enough.

        Raises:
            NoSpace: the disk is full.
        """
        if time.monotonic() - self._saved < self.seconds:
            return
        state: dict[str, Any] = {
            "network": network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "curve": curve,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        files.write(self.path, buffer.getvalue())
        self._saved = time.monotonic()
