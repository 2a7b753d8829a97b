"""A finite number of variants of every image, of which each epoch draws one.

Because they can be counted, what a frozen part of a network makes of them can be computed once,
before the first epoch, with the same result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Variants"]


@dataclass(frozen=True)
class Variants:
    """Mirrored or not, and as bright as it is or changed by one of a few factors.

    Attributes:
        flip: the probability that an image is mirrored left to right.
        brightness: factors that pixels are multiplied by.
        brighten: the probability that an image's brightness is changed, by any of the factors
            with the same probability.
    """

    flip: float = 0.0
    brightness: tuple[float, ...] = ()
    brighten: float = 0.0

    def __len__(self) -> int:
        return (2 if self.flip else 1) * len(self._factors)

    @property
    def _factors(self) -> tuple[float, ...]:
        return (1.0, *self.brightness) if self.brighten else (1.0,)

    def draw(self, count: int, device: torch.device) -> Tensor:
        """A variant (int64, from 0 to `len(self)`) for each of `count` images."""
        chance = torch.rand(2, count, device=device)
        mirrored = chance[0] < self.flip
        factor = torch.zeros(count, dtype=torch.int64, device=device)
        if len(self._factors) > 1:
            # A chance below `brighten` is spread over the factors; above it the image stays.
            part = (chance[1] / self.brighten * len(self.brightness)).long() + 1
            factor = torch.where(chance[1] < self.brighten, part, factor)
        return mirrored * len(self._factors) + factor

    def apply(self, images: Tensor, variant: Tensor) -> Tensor:
        """The images (uint8, N x H x W x C), each in its variant (int64, N)."""
        factors = torch.tensor(self._factors, device=images.device)
        mirrored = (variant >= len(factors)).view(-1, 1, 1, 1)
        images = torch.where(mirrored, images.flip(2), images)
        factor = factors[variant % len(factors)].view(-1, 1, 1, 1)
        # Bytes again: what is computed once and what is computed anew see the same image.
        return (images * factor).round().clamp(0, 255).to(torch.uint8)
