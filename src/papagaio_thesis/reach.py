"""`reach`: how large a logit a network's answer can be brought to by some image or other."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.training.machine import Machine
from papagaio.training.products import placed

__all__ = ["reach"]

_STEPS, _LEVELS = 20, 16


def reach(network: nn.Module, images: NDArray[np.uint8], machine: Machine) -> float:
    """Bring images to the largest logits that 20 steps in the sign of the gradient find.

    The steps are those of projected gradient ascent (Madry et al. 2018, equation 1) without a bound
    on the distance: any image is allowed. What a loss could come to, were a network to meet the
    wrong image, shows here long before a test set happens to hold one.

    Args:
        network: from uint8 (N, C, H, W) to logits (N, K).
        images: uint8 (N, H, W, C), where to begin.
        machine: where; always in float32.

    Returns:
        the largest absolute logit on the way.
    """
    device = machine.use()
    placed(network, device).eval()
    pixels = torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float()
    largest = 0.0
    for _ in range(_STEPS):
        pixels.requires_grad_()
        logits = network(pixels).abs().amax(1)
        largest = max(largest, logits.max().item())
        (slope,) = torch.autograd.grad(logits.sum(), pixels)
        # Whole levels within a byte: an image at every step.
        pixels = (pixels.detach() + _LEVELS * slope.sign()).clamp(0, 255)
    return largest
