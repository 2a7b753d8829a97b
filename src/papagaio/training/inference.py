"""Inference: a network's logits and probabilities on images."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.progress import Progress, Step, no_progress
from papagaio.training.augmentation import views
from papagaio.training.machine import Machine
from papagaio.training.products import placed
from papagaio.vocabulary import Augmentation

__all__ = ["ROWS_AT_ONCE", "infer", "predict", "softmax"]

ROWS_AT_ONCE = 500

Probabilities = NDArray[np.float32]
Logits = NDArray[np.float32]


def predict(
    network: nn.Module,
    images: NDArray[np.uint8],
    machine: Machine,
    augmentation: Sequence[Augmentation] = (),
    progress: Progress = no_progress,
) -> Probabilities:
    """Return a network's probabilities, float32 (N, K): the softmax of what `infer` returns."""
    return softmax(infer(network, images, machine, augmentation=augmentation, progress=progress))


def softmax(logits: Logits) -> Probabilities:
    """Return the probabilities of logits, both float32 (N, K)."""
    return np.asarray(torch.from_numpy(logits).softmax(1))


def infer(
    network: nn.Module,
    images: NDArray[np.uint8],
    machine: Machine,
    *,
    augmentation: Sequence[Augmentation] = (),
    progress: Progress = no_progress,
) -> Logits:
    """Return a network's logits.

    Args:
        network: from uint8 (N, C, H, W) to logits (N, K).
        images: uint8 (N, H, W, C).
        machine: where it runs.
        augmentation: what it was trained with; the logits are the mean over its `views`.
        progress: told after every 500 images.

    Returns:
        float32 (N, K).
    """
    device = machine.use()
    placed(network, device).eval()
    seen = views(augmentation)
    parts = []
    with torch.inference_mode(), machine.autocast():
        for start in range(0, len(images), ROWS_AT_ONCE):
            rows = torch.from_numpy(np.array(images[start : start + ROWS_AT_ONCE])).to(device)
            logits = [network(view(rows).permute(0, 3, 1, 2)).float() for view in seen]
            parts.append(torch.stack(logits).mean(0).cpu().numpy())
            progress(Step("predicting", start + len(rows), len(images), "images"))
    return np.concatenate(parts)
