"""A finite number of variants of every image, of which each epoch shows one.

Because they are finite, the features that a frozen front makes of them are computed once, before
the first epoch, with the same result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NO_VARIANTS", "Variants"]


@dataclass(frozen=True)
class Variants:
    """An image, mirrored or not, in its own brightness or multiplied by one of a few factors.

    The default is one variant: the image itself.

    Attributes:
        flip: the probability that an image is mirrored left to right.
        brightness: factors by which pixels are multiplied.
        brighten: the probability that an image's brightness changes; all factors are equally
            likely.
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
        """Draw a variant (int64, from 0 to `len(self) - 1`) for each of `count` images."""
        chance = torch.rand(2, count, device=device)
        mirrored = chance[0] < self.flip
        factor = torch.zeros(count, dtype=torch.int64, device=device)
        if len(self._factors) > 1:
            # A chance below `brighten` is divided among the factors; above it the image stays.
            part = (chance[1] / self.brighten * len(self.brightness)).long() + 1
            factor = torch.where(chance[1] < self.brighten, part, factor)
        return mirrored * len(self._factors) + factor

    def apply(self, images: Tensor, variant: Tensor) -> Tensor:
        """Return images (uint8, N x H x W x C), each in its variant (int64, N)."""
        factors = torch.tensor(self._factors, device=images.device)
        mirrored = (variant >= len(factors)).view(-1, 1, 1, 1)
        images = torch.where(mirrored, images.flip(2), images)
        factor = factors[variant % len(factors)].view(-1, 1, 1, 1)
        # Rounded to bytes, so that stored features and the whole network see the same image.
        return (images * factor).round().clamp(0, 255).to(torch.uint8)


NO_VARIANTS = Variants()
