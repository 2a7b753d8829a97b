"""Augmentation of a whole batch at once, drawn anew for every image.

Each function takes images (N, H, W, C), uint8 or float32 from 0 to 255, on any device, and a
strength from 0 to 1. The stored answer of the original image is kept: a changed image is never sent
to the black box.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from papagaio.vocabulary import Augmentation

__all__ = ["AUGMENTATIONS", "views"]


def flip(images: Tensor, strength: float) -> Tensor:
    """Mirror images left to right, each with a probability of half the strength."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < strength / 2
    return torch.where(chosen, images.flip(2), images)


def crop(images: Tensor, strength: float) -> Tensor:
    """Shift images by up to an eighth of their size in each direction; reflect the border."""
    n, height, width, _ = images.shape
    rows = _moved(n, height, strength, images.device)
    columns = _moved(n, width, strength, images.device)
    at = torch.arange(n, device=images.device)[:, None, None]
    return images[at, rows[:, :, None], columns[:, None, :]]


def affine(images: Tensor, strength: float) -> Tensor:
    """Rotate, stretch, shear and shift images a little; uncovered pixels are black.

    At full strength the standard deviations are 0.12 radians, 8 % in each direction, 0.08, and a
    sixteenth of the size.
    """
    return _changed(images, torch.randn(6, len(images), device=images.device) * strength)


def views(augmentation: Sequence[Augmentation]) -> list[Callable[[Tensor], Tensor]]:
    """Return the views of an image over which a network's logits are averaged.

    A network is shown what it was trained to ignore: the image itself; after `flip`, its mirror
    image too; after `affine`, also 16 small changes, the same for every image.

    Args:
        augmentation: what the network was trained with.

    Returns:
        functions from images (N, H, W, C) to one view of each.
    """
    each: list[Callable[[Tensor], Tensor]] = [lambda images: images]
    if "flip" in augmentation:
        each.append(lambda images: images.flip(2))
    if "affine" in augmentation:
        # A little weaker than in training: views close to the image are the best evidence.
        changes = 0.7 * torch.randn(16, 6, 1, generator=torch.Generator().manual_seed(0))
        each += [partial(_changed, changes=change) for change in changes]
    return each


def _changed(images: Tensor, changes: Tensor) -> Tensor:
    """Apply affine changes (6, N), or one for all (6, 1), in standard deviations."""
    turn, wide, high, shear, right, down = changes.to(images.device).expand(-1, len(images))
    cos, sin = (0.12 * turn).cos(), (0.12 * turn).sin()
    wide, high = (0.08 * wide).exp(), (0.08 * high).exp()
    # In the units of grid_sample an image is 2 wide.
    upper = torch.stack([cos * wide, 0.08 * shear - sin * high, 0.125 * right], 1)
    lower = torch.stack([sin * wide, cos * high, 0.125 * down], 1)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(
        torch.stack([upper, lower], 1), list(pixels.shape), align_corners=False
    )
    return functional.grid_sample(pixels, grid, align_corners=False).permute(0, 2, 3, 1)


def _moved(n: int, size: int, strength: float, device: torch.device) -> Tensor:
    """Return, for each image, the positions (N, size) along one side after a random shift."""
    reach = round(strength * size / 8)
    offset = torch.randint(-reach, reach + 1, (n, 1), device=device)
    at = (torch.arange(size, device=device) + offset).abs()
    return torch.where(at >= size, 2 * (size - 1) - at, at)


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor, float], Tensor]] = {
    "flip": flip,
    "crop": crop,
    "affine": affine,
}
