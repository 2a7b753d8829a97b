"""Convolutions on small planes, computed as matrix products where that is faster."""

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
# On larger planes and with fewer pairs of channels, Winograd's filtering moves more memory than it
# saves products: it takes 0.5 to 0.95 of the time within these limits, and up to 1.9 outside.
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
    products over all pixels. Activations cut at both ends, such as ReLU6, no longer work in place.
    """
    for module in network.modules():
        if isinstance(module, nn.Hardtanh):  # and ReLU6
            module.inplace = False  # otherwise torch copies its input, for the gradient
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
        rows, columns = range(0, height, self.stride[0]), range(0, width, self.stride[1])
        weights = self.weight[:, 0].permute(1, 2, 0)
        # For each output pixel, the weights that lie on the plane.
        seen = [
            weights[1 - row : 1 - row + height, 1 - column : 1 - column + width]
            for row in rows
            for column in columns
        ]
        products = images.permute(0, 2, 3, 1)[:, None] * torch.stack(seen)
        planes = products.sum((2, 3)).view(len(images), len(rows), len(columns), self.out_channels)
        return planes.permute(0, 3, 1, 2)


class _ThreeByThree(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        pixels = images.shape[2] * images.shape[3]
        if pixels <= _LARGEST_PLANE_OF_3X3:
            return self._of_shifted(images)
        pairs = self.in_channels * self.out_channels
        if pixels > _LARGEST_PLANE_OF_WINOGRAD or pairs < _LEAST_PAIRS_OF_WINOGRAD:
            return super().forward(images)
        # Its transformations are on the CPU, and need more digits than bfloat16 has.
        kind = images.device.type, images.dtype
        if kind != ("cpu", torch.float32) or torch.is_autocast_enabled("cpu"):
            return super().forward(images)
        return winograd.convolve(images, self.weight, self.bias)

    def _of_shifted(self, images: Tensor) -> Tensor:
        _, _, height, width = images.shape
        padded = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return functional.linear(torch.cat(shifted, 3), weight, self.bias).permute(0, 3, 1, 2)
