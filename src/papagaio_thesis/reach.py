"""`reach`: how large a logit any image can produce, by gradient ascent on the image."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.training.machine import Machine
from papagaio.training.products import placed

__all__ = ["reach"]

_STEPS, _LEVELS = 20, 16


def reach(network: nn.Module, images: NDArray[np.uint8], machine: Machine) -> float:
    """Return the largest absolute logit in 20 steps of gradient ascent on images.

    The steps are those of projected gradient descent (Madry et al. 2018, equation 1) without a
    bound on the distance: any image is allowed. This shows what loss the wrong image could
    cause, even if no test set happens to contain such an image.

    Args:
        network: from uint8 (N, C, H, W) to logits (N, K).
        images: uint8 (N, H, W, C), where ascent starts.
        machine: where it runs, always in float32.
    """
    device = machine.use()
    placed(network, device).eval()
    pixels = torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2).float()
    largest = 0.0
    for _ in range(_STEPS):
        pixels.requires_grad_()
        logits = network(pixels).abs().amax(1)
        largest = max(largest, logits.max().item())
        (gradient,) = torch.autograd.grad(logits.sum(), pixels)
        # Whole levels within a byte, so that each step ends at an image.
        pixels = (pixels.detach() + _LEVELS * gradient.sign()).clamp(0, 255)
    return largest
