"""3 x 3 convolutions with fewer multiplications: Winograd's minimal filtering.

A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv
1509.09308), section 4. A tile of m x m outputs takes (m + 2)^2 products for each pair of channels
instead of 9 m^2: a quarter for m = 4, and 4/9 for m = 2. Planes are filled up to whole tiles.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["convolve"]


@dataclass(frozen=True)
class _Form:
    """F(m x m, 3 x 3): m, and the paper's B^T, G and A^T, each for both dimensions at once."""

    tile: int
    of_tiles: Tensor
    of_weights: Tensor
    of_products: Tensor


def _form(*matrices: list[list[float]]) -> _Form:
    tiles, weights, products = (torch.kron(one, one) for one in map(torch.tensor, matrices))
    return _Form(len(matrices[2]), tiles, weights, products)


_BY_2 = _form(
    [[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    [[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    [[1.0, 1, 1, 0], [0, 1, -1, -1]],
)
_BY_4 = _form(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)
# Pixels per plane. On smaller ones, larger transformed weights cost what fewer products save.
_SMALLEST_PLANE_BY_4 = 25
# Tiles and their products each take 2.25 to 8 times the memory of planes.
_IMAGES_AT_ONCE = 128


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with 3 x 3 weights, stride 1 and one pixel of zeros around each plane.

    Args:
        images: float32 (N, C, H, W) on the CPU, fastest in the memory format channels-last.
        weight: float32 (K, C, 3, 3), fastest in channels-last.
        bias: float32 (K,), or None.

    Returns:
        float32 (N, K, H, W), channels-last. It and its gradients differ from torch's own by
        rounding: by about 1e-5 of the largest value.
    """
    if len(images) > _IMAGES_AT_ONCE:
        parts = torch.split(images, _IMAGES_AT_ONCE)
        return torch.cat([convolve(part, weight, bias) for part in parts])
    form = _BY_4 if images.shape[2] * images.shape[3] >= _SMALLEST_PLANE_BY_4 else _BY_2
    planes: Tensor = _Convolution.apply(images.permute(0, 2, 3, 1), weight, form)
    return (planes if bias is None else planes + bias).permute(0, 3, 1, 2)


class _Convolution(Function):
    """From planes (N, H, W, C) and weights (K, C, 3, 3) to planes (N, H, W, K)."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor, form: _Form) -> Tensor:  # noqa: ANN401  # torch exports no type
        count, height, width, channels = planes.shape
        down, across = -(-height // form.tile), -(-width // form.tile)
        tiles = _tiles(planes, form.tile, down, across)
        tiles = (form.of_tiles @ tiles.flatten(1)).view_as(tiles)
        # Transformed output by output: channels-last weights are not copied.
        weights = weight.permute(0, 2, 3, 1).reshape(-1, 9, channels)
        weights = (form.of_weights @ weights).transpose(0, 1)
        ctx.form, ctx.sizes = form, (count, height, width, down, across)
        ctx.save_for_backward(tiles, weights)
        outputs = form.of_products @ torch.bmm(tiles, weights.mT).flatten(1)
        outputs = outputs.view(form.tile, form.tile, count, down, across, len(weight))
        outputs = outputs.permute(2, 3, 0, 4, 1, 5)
        outputs = outputs.reshape(count, down * form.tile, across * form.tile, len(weight))
        outputs = outputs[:, :height, :width].contiguous()
        # What follows may work in place, which autograd refuses on a view.
        return outputs.detach() if outputs._is_view() else outputs  # noqa: SLF001  # no public way

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # as above
        tiles, weights = ctx.saved_tensors
        form, (count, height, width, down, across) = ctx.form, ctx.sizes
        tile, (_, outputs, channels) = form.tile, weights.shape
        missing = (0, 0, 0, across * tile - width, 0, down * tile - height)
        if any(missing):
            gradient = functional.pad(gradient, missing)
        gradient = gradient.view(count, down, tile, across, tile, outputs)
        gradient = gradient.permute(2, 4, 0, 1, 3, 5).reshape(tile * tile, -1)
        gradient = (form.of_products.T @ gradient).view(*tiles.shape[:2], outputs)
        of_planes = of_weight = None
        if ctx.needs_input_grad[0]:
            of_tiles = form.of_tiles.T @ torch.bmm(gradient, weights).flatten(1)
            of_tiles = of_tiles.view(tile + 2, tile + 2, count, down, across, channels)
            of_planes = _sum_of_tiles(of_tiles, tile)[:, 1 : height + 1, 1 : width + 1]
        if ctx.needs_input_grad[1]:
            of_weights = torch.bmm(gradient.mT, tiles).transpose(0, 1)
            of_weight = (form.of_weights.T @ of_weights).view(outputs, 3, 3, channels)
            of_weight = of_weight.permute(0, 3, 1, 2)
        return of_planes, of_weight, None


def _tiles(planes: Tensor, tile: int, down: int, across: int) -> Tensor:
    """Planes (N, H, W, C) as overlapping tiles: ((tile + 2)^2, N * down * across, C)."""
    count, height, width, channels = planes.shape
    around = (0, 0, 1, across * tile + 1 - width, 1, down * tile + 1 - height)
    padded = functional.pad(planes, around)
    image, row, pixel, channel = padded.stride()
    tiles = padded.as_strided(
        (tile + 2, tile + 2, count, down, across, channels),
        (row, pixel, image, tile * row, tile * pixel, channel),
    )
    return tiles.contiguous().view((tile + 2) ** 2, count * down * across, channels)


def _sum_of_tiles(tiles: Tensor, tile: int) -> Tensor:
    """The transpose of `_tiles`: (tile + 2, tile + 2, N, down, across, C) to padded planes."""
    _, _, count, down, across, channels = tiles.shape
    padded = tiles.new_zeros(count, down + 1, tile, across + 1, tile, channels)
    parts = padded.permute(2, 4, 0, 1, 3, 5)
    # The last two rows and columns of a tile are the first two of the next.
    own, following = (slice(tile), slice(tile), 0), (slice(2), slice(tile, None), 1)
    for (rows, top, below), (columns, left, right) in product((own, following), repeat=2):
        place = parts[rows, columns, :, below : below + down, right : right + across]
        place += tiles[top, left]
    return padded.view(count, (down + 1) * tile, (across + 1) * tile, channels)
