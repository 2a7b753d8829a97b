"""The feed: in which order images are shown, and what the network sees of them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio import files
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import split
from papagaio.progress import Progress, Step
from papagaio.training.augmentation import AUGMENTATIONS
from papagaio.training.inference import ROWS_AT_ONCE
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import digest_weights

__all__ = ["Feed", "PixelFeed", "feed_for", "shuffled_batches"]

# Bytes of stored features; a front with more is computed in every step instead.
_MOST_FEATURES = 6e9
# A front with a smaller share of the weights is computed as fast as its features are looked up.
_LEAST_SHARE = 0.01

# From rows (int64, N) and the strength of augmentation to what the network sees of them.
Feed = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class PixelFeed:
    """Shows images (uint8, N x H x W x C, on the device), augmented anew each time."""

    pixels: Tensor
    recipe: Recipe

    def __call__(self, rows: Tensor, strength: float) -> Tensor:
        """Return the images of these rows: (N, C, H, W) in the memory format channels-last."""
        shown, variants = self.pixels[rows], self.recipe.variants
        if len(variants) > 1:
            shown = variants.apply(shown, variants.draw(len(rows), shown.device))
        for name in self.recipe.augmentation:
            shown = AUGMENTATIONS[name](shown, strength)
        return shown.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class FeatureFeed:
    """Shows stored features (variants, N, ...) of a frozen front, one variant each time."""

    features: Tensor
    variants: Variants

    def __call__(self, rows: Tensor, _: float) -> Tensor:
        """Return the features of these rows (N, ...)."""
        if len(self.variants) == 1:
            return self.features[0, rows]
        return self.features[self.variants.draw(len(rows), rows.device), rows]


def feed_for(
    network: Classifier,
    images: NDArray[np.uint8],
    recipe: Recipe,
    machine: Machine,
    progress: Progress,
    *,
    kept: Path | None = None,
) -> tuple[Feed, nn.Module]:
    """Return the feed, and the module that learns from what it shows.

    A frozen front of the network is computed here once, for every variant of every image, if the
    recipe has no other augmentation, the front has at least 1 % of the weights and its features
    take less than 6 GB. The weights learned are the same either way.

    Args:
        network: on the device.
        images: uint8 (N, H, W, C).
        recipe: its variants and augmentation are shown.
        machine: where the network is.
        progress: told while features are computed.
        kept: a folder in which features are kept and looked for, or None.

    Raises:
        NoSpace: the features do not fit on the disk.
    """
    pixels = torch.from_numpy(np.array(images)).to(machine.device)
    front, rest = split(network)
    if (
        front is None
        or recipe.augmentation
        or not _is_worth_storing(front, rest, pixels, recipe, machine)
    ):
        return PixelFeed(pixels, recipe), network
    features = _features(front, pixels, recipe.variants, machine, progress, kept=kept)
    return FeatureFeed(features, recipe.variants), rest


def _is_worth_storing(
    front: nn.Module, rest: nn.Module, pixels: Tensor, recipe: Recipe, machine: Machine
) -> bool:
    weights, others = (sum(p.numel() for p in part.parameters()) for part in (front, rest))
    if weights < _LEAST_SHARE * (weights + others):
        return False
    with torch.no_grad(), machine.autocast():
        one: Tensor = front.eval()(pixels[:1].permute(0, 3, 1, 2))
    size = len(recipe.variants) * len(pixels) * one.numel() * one.element_size()
    return size < _MOST_FEATURES


def _features(
    front: nn.Module,
    pixels: Tensor,
    variants: Variants,
    machine: Machine,
    progress: Progress,
    *,
    kept: Path | None,
) -> Tensor:
    """A frozen front's features for every variant of every image: (variants, N, ...).

    Each variant is kept as soon as it is computed, so little is lost where a long computation is
    interrupted. The files' names differ with everything that decides the features.
    """
    compute = partial(compute_variant, front, pixels, variants, machine=machine, progress=progress)
    if kept is None:
        return _stacked(compute, len(variants))
    decisive = hashlib.sha256(digest_weights(front.state_dict()).encode())
    decisive.update(pixels.cpu().numpy().data)
    decisive.update(repr((front, variants, machine.device, machine.precision)).encode())
    stem = kept / decisive.hexdigest()[:16]

    def variant(number: int) -> Tensor:
        path = stem.with_name(f"{stem.name}-{number}.features")
        if path.exists():
            found: Tensor = torch.load(path, map_location=machine.device, weights_only=True)
            return found
        features = compute(number)
        files.need_space(path, features.nbytes * (len(variants) - number))
        with files.writing(path) as file:
            torch.save(features, file)
        return features

    # Trainings that run at the same time wait for the first of them.
    with files.lock(stem.with_suffix(".lock"), wait=True):
        return _stacked(variant, len(variants))


def _stacked(variant: Callable[[int], Tensor], count: int) -> Tensor:
    """The features of all variants, without holding all of them twice."""
    features = torch.empty(0)
    for number in range(count):
        one = variant(number)
        if not number:
            features = one.new_empty(count, *one.shape)
        features[number] = one
    return features


def compute_variant(
    front: nn.Module,
    pixels: Tensor,
    variants: Variants,
    number: int,
    *,
    machine: Machine,
    progress: Progress,
) -> Tensor:
    """Return a frozen front's features for one variant of every image: (N, ...)."""
    total, before = len(variants) * len(pixels), number * len(pixels)
    parts = []
    front.eval()
    with torch.no_grad(), machine.autocast():
        for start in range(0, len(pixels), ROWS_AT_ONCE):
            rows = pixels[start : start + ROWS_AT_ONCE]
            variant = torch.full((len(rows),), number, device=pixels.device)
            parts.append(front(variants.apply(rows, variant).permute(0, 3, 1, 2)))
            before += len(rows)
            progress(Step("frozen features", before, total, "images"))
    return torch.cat(parts)


def shuffled_batches(
    images: int, epoch: int, recipe: Recipe, device: torch.device
) -> Iterator[tuple[Tensor, float]]:
    """Yield an epoch's batches of rows, and the share of the training that comes before each."""
    steps = recipe.steps_per_epoch(images)
    total = steps * recipe.epochs_for(images)
    order = torch.randperm(images, device=device)
    # Nearly equal batches: a last one of a single image would upset batch normalisation.
    for step, rows in enumerate(order.tensor_split(steps)):
        yield rows, (epoch * steps + step) / total
