"""Augmentation of a whole batch at once, drawn anew for every image.

Each takes images (N, H, W, C), uint8 or float32 from 0 to 255, on any device, and a strength from 0
to 1. The stored answer stays what it was: a changed image is never sent.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["AUGMENTATIONS", "Augmentation", "views"]

Augmentation = Literal["flip", "crop", "affine"]


def flip(images: Tensor, strength: float) -> Tensor:
    """Mirror left to right, at full strength every second image."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < strength / 2
    return torch.where(chosen, images.flip(2), images)


def crop(images: Tensor, strength: float) -> Tensor:
    """Move by up to an eighth of the size, each way; the border is reflected."""
    n, height, width, _ = images.shape
    rows = _moved(n, height, strength, images.device)
    columns = _moved(n, width, strength, images.device)
    at = torch.arange(n, device=images.device)[:, None, None]
    return images[at, rows[:, :, None], columns[:, None, :]]


def affine(images: Tensor, strength: float) -> Tensor:
    """Turn, stretch, shear and move a little; what comes in from outside is black.

    At full strength the standard deviations are 0.12 radians, 8 % each way, 0.08, and a sixteenth
    of the size.
    """
    return _changed(images, torch.randn(6, len(images), device=images.device) * strength)


def views(augmentation: Sequence[Augmentation]) -> list[Callable[[Tensor], Tensor]]:
    """The views of an image over which a network that learned with this augmentation answers.

    What it learned to see through, it may be shown: the image, with its mirror image after `flip`,
    and with 16 small changes (the same for every image) after `affine`.

    Returns:
        functions from images (N, H, W, C) to one view of each.
    """
    found: list[Callable[[Tensor], Tensor]] = [lambda images: images]
    if "flip" in augmentation:
        found.append(lambda images: images.flip(2))
    if "affine" in augmentation:
        # A little weaker than learned: the image itself is what counts.
        changes = 0.7 * torch.randn(16, 6, 1, generator=torch.Generator().manual_seed(0))
        found += [partial(_changed, changes=change) for change in changes]
    return found


def _changed(images: Tensor, changes: Tensor) -> Tensor:
    """Apply an affine change, one an image or one for all, in standard deviations (6, N or 1)."""
    turn, wide, high, shear, right, down = changes.to(images.device).expand(-1, len(images))
    cos, sin = (0.12 * turn).cos(), (0.12 * turn).sin()
    wide, high = (0.08 * wide).exp(), (0.08 * high).exp()
    # In grid_sample's units an image is 2 wide.
    upper = torch.stack([cos * wide, 0.08 * shear - sin * high, 0.125 * right], 1)
    lower = torch.stack([sin * wide, cos * high, 0.125 * down], 1)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(
        torch.stack([upper, lower], 1), list(pixels.shape), align_corners=False
    )
    return functional.grid_sample(pixels, grid, align_corners=False).permute(0, 2, 3, 1)


def _moved(n: int, size: int, strength: float, device: torch.device) -> Tensor:
    """For each image the positions (N, size) along one side after a random move."""
    reach = round(strength * size / 8)
    offset = torch.randint(-reach, reach + 1, (n, 1), device=device)
    at = (torch.arange(size, device=device) + offset).abs()
    return torch.where(at >= size, 2 * (size - 1) - at, at)


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor, float], Tensor]] = {
    "flip": flip,
    "crop": crop,
    "affine": affine,
}
