"""Convolutions on small planes, computed as matrix products where that is faster."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from papagaio.training import winograd

__all__ = ["placed", "use_products"]

# Pixels per plane. On CPUs a convolution on a smaller plane spends most of its time on set-up: at
# batches of 32 it takes 1.1 to 2.8 times as long as the product; on larger planes, from 0.5.
_LARGEST_PLANE = 64
# The same for 3 x 3 convolutions. A product needs nine shifted copies of the plane: it takes 0.4 of
# the time on 2 x 2 pixels (512 channels, batches of 32, float32), and as long on 3 x 3 and 4 x 4.
_LARGEST_PLANE_OF_3X3 = 4
# Up to here, each pixel of a depthwise 3 x 3 convolution's output sees each pixel of the plane.
_LARGEST_SIDE_OF_DEPTHWISE = 2
# On larger planes and with fewer pairs of channels, Winograd's form moves more memory than it saves
# products: it takes 0.4 to 0.85 of the time within these limits, and up to 2 outside.
_LARGEST_PLANE_OF_WINOGRAD = 256
_LEAST_PAIRS_OF_WINOGRAD = 64 * 128


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device, with its convolutions in the form that is fastest there."""
    if device.type == "cpu":
        use_products(network)
    return network.to(device).to(memory_format=torch.channels_last)


def use_products(network: nn.Module) -> None:
    """Compute convolutions on small planes as products, in place.

    Weights, names and (up to rounding) results stay the same. A 1 x 1 convolution becomes a matrix
    product. A 3 x 3 convolution becomes one with the nine shifted planes, or several by Winograd's
    filtering on larger planes. A depthwise 3 x 3 convolution on up to 2 x 2 pixels becomes a sum of
    products over all pixels.
    """
    for module in network.modules():
        if isinstance(module, nn.Hardtanh):  # and ReLU6
            module.inplace = False  # in place, torch copies its input first, for the gradient
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros":
            continue
        depthwise = module.groups == module.in_channels == module.out_channels
        match module.kernel_size, module.padding, module.dilation, module.stride:
            case (1, 1), (0, 0), _, _ if module.groups == 1:
                module.__class__ = _Pointwise
            case (3, 3), (1, 1), (1, 1), (1, 1) | (2, 2) if depthwise and module.bias is None:
                module.__class__ = _Depthwise
            case (3, 3), (1, 1), (1, 1), (1, 1) if module.groups == 1:
                module.__class__ = _ThreeByThree


class _Pointwise(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        # Without the pixels that a stride skips. With them, torch 2.14.1's own convolution writes
        # outside of its memory (one thread, channels-last, 6 to 4 channels, stride 2).
        images = images[:, :, :: self.stride[0], :: self.stride[1]]
        if images.shape[2] * images.shape[3] > _LARGEST_PLANE:
            return functional.conv2d(images, self.weight, self.bias)
        # Channels-last already: neither permutation copies anything.
        pixels = images.permute(0, 2, 3, 1)
        return functional.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class _Depthwise(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if height > _LARGEST_SIDE_OF_DEPTHWISE or width > _LARGEST_SIDE_OF_DEPTHWISE:
            return super().forward(images)
        weights = self.weight.flatten(1).T[_weights_between(height, width, self.stride[0])]
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2)
        planes = (pixels[:, None] * weights).sum(2)
        across = -(-width // self.stride[1])
        return planes.view(len(images), -1, across, self.out_channels).permute(0, 3, 1, 2)


@cache
def _weights_between(height: int, width: int, stride: int) -> Tensor:
    """Which of the nine weights lies between two pixels: int64 (outputs, inputs)."""
    rows, columns = (
        torch.arange(side) - torch.arange(0, side, stride)[:, None] + 1 for side in (height, width)
    )
    return (3 * rows[:, None, :, None] + columns[None, :, None, :]).flatten(2).flatten(0, 1)


class _ThreeByThree(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        pixels = images.shape[2] * images.shape[3]
        if pixels <= _LARGEST_PLANE_OF_3X3:
            return self._of_shifted(images)
        pairs = self.in_channels * self.out_channels
        if pixels > _LARGEST_PLANE_OF_WINOGRAD or pairs < _LEAST_PAIRS_OF_WINOGRAD:
            return super().forward(images)
        if torch.is_autocast_enabled("cpu"):  # its transformations need more digits than bfloat16's
            return super().forward(images)
        return winograd.convolve(images, self.weight, self.bias)

    def _of_shifted(self, images: Tensor) -> Tensor:
        _, _, height, width = images.shape
        padded = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return functional.linear(torch.cat(shifted, 3), weight, self.bias).permute(0, 3, 1, 2)
