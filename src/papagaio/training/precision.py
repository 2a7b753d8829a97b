"""Which precision a network learns in: measured once, and kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio import files
from papagaio.progress import Progress, no_progress, remark
from papagaio.training.loop import Batch, optimisers_for, placed, training_step
from papagaio.training.machine import Machine, Precision, faster_precision
from papagaio.training.recipe import Recipe

__all__ = ["precision_for", "settled_precision"]


def precision_for(
    network: nn.Module, images: NDArray[np.uint8], recipe: Recipe, machine: Machine
) -> tuple[Precision, str]:
    """The precision in which this network learns faster on this machine, and why; see `machine`.

    Args:
        network: is trained a few steps on nonsense: give one that is not needed any more.
        images: uint8 (N, H, W, C), some of those it would learn from.
        recipe: how it would learn.
        machine: where.
    """
    device = machine.use()
    placed(network, device).train()
    some = torch.from_numpy(np.resize(images[: recipe.batch], (recipe.batch, *images.shape[1:])))
    some = some.to(device).permute(0, 3, 1, 2)
    targets = torch.full_like(network(some[:2]), 0.1).detach()
    batch = Batch(some, targets[:1].expand(recipe.batch, -1))
    optimisers = optimisers_for(network, recipe)

    def step(tried: Machine) -> None:
        # Reading the loss waits until the device has done the step.
        training_step(network, optimisers, batch, recipe, tried)[0].item()

    return faster_precision(step, machine)


def settled_precision(
    kept: Path,
    name: str,
    build: Callable[[], nn.Module],
    images: NDArray[np.uint8],
    machine: Machine,
    progress: Progress = no_progress,
) -> Machine:
    """The machine in the precision that suits a network: measured once, then read from a file.

    A run that goes on must go on in the same precision.

    Args:
        kept: a JSON file of precisions by name and device; made where there is none.
        name: of the network.
        build: makes one to measure with.
        images: uint8 (N, H, W, C), some of those it would learn from.
        machine: device and threads.
        progress: told what was chosen, and why.
    """
    chosen: dict[str, Precision] = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{name} on {machine.device}"
    if key not in chosen:
        chosen[key], why = precision_for(build(), images, Recipe("a measurement"), machine)
        progress(remark(f"precision {chosen[key]} for {name}: {why}"))
        files.write(kept, json.dumps(chosen))
    return replace(machine, precision=chosen[key])
