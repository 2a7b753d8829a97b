"""The one training loop, for black boxes and copies alike."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer

from papagaio.errors import BadSettings, Diverged
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import set_learning
from papagaio.progress import Progress, Step, no_progress
from papagaio.training import checkpoint
from papagaio.training.augmentation import AUGMENTATIONS, Augmentation, views
from papagaio.training.graphs import CapturedStep
from papagaio.training.losses import loss_of, spread_of, targets_of
from papagaio.training.machine import Machine
from papagaio.training.muon import Muon, convolutions_before_norm
from papagaio.training.products import use_products
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants

__all__ = [
    "Batch",
    "Checkpoints",
    "Epoch",
    "infer",
    "optimisers_for",
    "placed",
    "predict",
    "train",
    "training_step",
]

_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Epoch:
    """What one epoch left: its number from 1, the mean loss, and the distillation accuracy.

    Both figures are taken in passing, over the (augmented) batches as they were learned.
    """

    number: int
    loss: float
    agreement: float


class Batch(NamedTuple):
    """What a step learns, on the device.

    Attributes:
        images: uint8 or float32 from 0 to 255 (N, C, H, W), augmented already; or features.
        targets: float32 (N, K), from `losses.targets_of`.
        truth: int64 (N,), the true classes, where they count too.
    """

    images: Tensor
    targets: Tensor
    truth: Tensor | None = None


@dataclass(frozen=True)
class Checkpoints:
    """Where a training keeps itself, and the least seconds between two times it does."""

    path: Path
    seconds: float = 10.0


def train(  # noqa: PLR0913  # a training has that many parts
    network: nn.Module,
    images: NDArray[np.uint8],
    answers: NDArray[np.float32],
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    labels: NDArray[np.int64] | None = None,
    front: nn.Module | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
    visit: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train a network in place.

    A seed and a recipe decide the weights, bit for bit on a CPU with the same number of threads,
    whether or not the training was interrupted and taken up again.

    Args:
        network: from uint8 (N, C, H, W), or what `front` makes of them, to logits (N, K); with the
            initial weights that are meant.
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), probabilities to learn; of true labels, one-hot rows.
        recipe: how.
        seed: of the order of images, of augmentation and of dropout.
        machine: where.
        labels: int64 (N,), the true classes, for a recipe with `alpha`.
        front: a frozen part in front of the network, from `freezing.split`: what it makes of every
            variant of every image is computed once, before the first epoch. The recipe has then no
            augmentation besides its variants.
        checkpoints: where it keeps itself in order to be taken up again; None keeps nothing.
        progress: told after every epoch.
        visit: called after every epoch and before its checkpoint, to look at the network: what a
            killed training did not look at before its last checkpoint, it looks at again.

    Returns:
        one record an epoch.

    Raises:
        BadSettings: the recipe has an `alpha`, and there are no labels.
        Diverged: the loss stopped being finite; the message names the epoch and step.
    """
    if recipe.alpha and labels is None:
        raise BadSettings(f"recipe {recipe.name} learns true classes too; give it labels")
    device = machine.use()
    if isinstance(network, Classifier):
        network.spread.fill_(spread_of(recipe.loss, answers))
    set_learning(placed(network, device))
    optimisers = optimisers_for(network, recipe)
    view = _viewer(images, recipe, front, machine)
    targets = torch.from_numpy(
        targets_of(recipe.loss, recipe.temperature, recipe.smoothing, answers)
    ).to(device)
    truth = torch.from_numpy(labels).to(device) if recipe.alpha and labels is not None else None
    named = targets.argmax(1)
    epochs = recipe.epochs_for(len(images))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        curve = checkpoint.restore(checkpoints.path, network, optimisers) if checkpoints else []
        step = _stepper(network, optimisers, recipe, machine)
        saved = time.monotonic()
        for epoch in range(len(curve), epochs):
            losses, hits = [], torch.zeros((), device=device, dtype=torch.int64)
            for rows, part in _batches(len(images), epoch, recipe, device):
                seen = view(rows, recipe.strength(part, len(images)))
                _set_rates(optimisers, recipe.share_of_rate(part))
                loss, logits = step(seen, targets[rows], *([] if truth is None else [truth[rows]]))
                losses.append(loss)
                hits += (logits.argmax(1) == named[rows]).sum()
            curve.append([_mean_loss(losses, epoch), hits.item() / len(images)])
            progress(Step(recipe.name, epoch + 1, epochs, "epochs", f"loss {curve[-1][0]:.3g}"))
            if visit:
                visit(Epoch(epoch + 1, *curve[-1]))
                set_learning(network)
            if checkpoints and time.monotonic() - saved >= checkpoints.seconds:
                checkpoint.save(checkpoints.path, network, optimisers, curve)
                saved = time.monotonic()
    network.eval()
    return [Epoch(number, *figures) for number, figures in enumerate(curve, 1)]


def training_step(
    network: nn.Module,
    optimisers: Sequence[Optimizer],
    batch: Batch,
    recipe: Recipe,
    machine: Machine,
) -> tuple[Tensor, Tensor]:
    """One step on a batch.

    Args:
        network: from images to logits (N, K).
        optimisers: of its weights.
        batch: what is learned.
        recipe: which loss.
        machine: in which precision.

    Returns:
        the loss (a scalar) and the logits (N, K), both on the device and without gradient.
    """
    with machine.autocast():
        logits = network(batch.images)
    loss = loss_of(recipe.loss, recipe.temperature, logits, batch.targets)
    if batch.truth is not None:
        loss = loss + recipe.alpha * functional.cross_entropy(logits.float(), batch.truth)
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if recipe.clip:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    for optimiser in optimisers:
        optimiser.step()
    return loss.detach(), logits.detach()


def optimisers_for(network: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """The recipe's optimisers, each weight that is trained with one of them.

    Weight decay is for matrices alone. Each group keeps its full learning rate as `peak`.
    """
    convolutions = convolutions_before_norm(network) if recipe.muon else []
    theirs = set(map(id, convolutions))
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in theirs]
    decays = {True: recipe.decay, False: 0.0}
    groups = [
        {"params": [p for p in others if (p.ndim > 1) is matrices], "weight_decay": decay}
        for matrices, decay in decays.items()
    ]
    kind = Adam if recipe.optimiser == "adam" else AdamW
    on_cuda = next(network.parameters()).is_cuda
    optimisers: list[Optimizer] = [kind(groups, lr=recipe.rate, fused=True, capturable=on_cuda)]
    if convolutions:
        optimisers.append(Muon(convolutions, recipe.muon))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def predict(
    network: nn.Module,
    images: NDArray[np.uint8],
    machine: Machine,
    augmentation: Sequence[Augmentation] = (),
) -> NDArray[np.float32]:
    """A network's probabilities, float32 (N, K): the softmax of what `infer` gives."""
    logits = torch.from_numpy(infer(network, images, machine, augmentation))
    return np.asarray(logits.softmax(1))


def infer(
    network: nn.Module,
    images: NDArray[np.uint8],
    machine: Machine,
    augmentation: Sequence[Augmentation] = (),
) -> NDArray[np.float32]:
    """A network's logits.

    Args:
        network: from uint8 (N, C, H, W) to logits (N, K).
        images: uint8 (N, H, W, C).
        machine: where.
        augmentation: what it learned with; it answers with the mean logits of the `views` of it.

    Returns:
        float32 (N, K).
    """
    device = machine.use()
    placed(network, device).eval()
    seen = views(augmentation)
    found = []
    with torch.inference_mode(), machine.autocast():
        for start in range(0, len(images), _ROWS_AT_ONCE):
            rows = torch.from_numpy(np.array(images[start : start + _ROWS_AT_ONCE])).to(device)
            logits = [network(view(rows).permute(0, 3, 1, 2)).float() for view in seen]
            found.append(torch.stack(logits).mean(0).cpu().numpy())
    return np.concatenate(found)


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, its convolutions in the form that is fastest there."""
    if device.type == "cpu":
        use_products(network)
    return network.to(device).to(memory_format=torch.channels_last)


def _batches(
    images: int, epoch: int, recipe: Recipe, device: torch.device
) -> Iterator[tuple[Tensor, float]]:
    """An epoch's batches of rows in random order, and how much of the training was before each."""
    steps = recipe.steps_an_epoch(images)
    total = steps * recipe.epochs_for(images)
    order = torch.randperm(images, device=device)
    # Nearly equal batches: a last one of a single image would upset batch normalisation.
    for step, rows in enumerate(order.tensor_split(steps)):
        yield rows, (epoch * steps + step) / total


def _viewer(
    images: NDArray[np.uint8], recipe: Recipe, front: nn.Module | None, machine: Machine
) -> Callable[[Tensor, float], Tensor]:
    """A function from rows and the strength of augmentation to what the network sees of them."""
    device = machine.use()
    pixels = torch.from_numpy(np.array(images)).to(device)
    variants = recipe.variants or Variants()

    def variant(rows: Tensor) -> Tensor:
        if recipe.variants is None:
            return torch.zeros_like(rows)
        return variants.draw(len(rows), device)

    def augmented(rows: Tensor, strength: float) -> Tensor:
        shown = pixels[rows]
        if recipe.variants:
            shown = variants.apply(shown, variant(rows))
        for name in recipe.augmentation:
            shown = AUGMENTATIONS[name](shown, strength)
        # Pixels lie channel by channel already: seen this way round they are channels-last.
        return shown.permute(0, 3, 1, 2)

    if front is None:
        return augmented
    features = _features(placed(front, device), pixels, variants, machine)
    return lambda rows, _: features[variant(rows), rows]


def _features(front: nn.Module, pixels: Tensor, variants: Variants, machine: Machine) -> Tensor:
    """What a frozen front makes of every variant of every image: (variants, N, ...)."""
    count = len(variants)
    front.eval()
    features = pixels.new_empty(0)
    with torch.no_grad(), machine.autocast():
        for number in range(count):
            for start in range(0, len(pixels), _ROWS_AT_ONCE):
                rows = pixels[start : start + _ROWS_AT_ONCE]
                which = torch.full((len(rows),), number, device=pixels.device)
                made = front(variants.apply(rows, which).permute(0, 3, 1, 2))
                if not len(features):
                    features = made.new_empty(count, len(pixels), *made.shape[1:])
                features[number, start : start + len(rows)] = made
    return features


def _stepper(
    network: nn.Module, optimisers: Sequence[Optimizer], recipe: Recipe, machine: Machine
) -> Callable[..., tuple[Tensor, ...]]:
    """A step as a function of a batch's parts; recorded once and replayed where that is faster."""

    def step(*batch: Tensor) -> tuple[Tensor, ...]:
        return training_step(network, optimisers, Batch(*batch), recipe, machine)

    if torch.device(machine.device).type != "cuda" or recipe.muon:
        return step
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            # On the device, where a recorded step sees it change. A checkpoint may be a CPU's.
            group["capturable"] = True
            group["lr"] = torch.tensor(float(group["lr"]), device=machine.device)
    return CapturedStep(step)


def _set_rates(optimisers: Sequence[Optimizer], share: float) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["peak"] * share)
            else:
                group["lr"] = group["peak"] * share


def _mean_loss(losses: list[Tensor], epoch: int) -> float:
    values = torch.stack(losses)
    broken = ~values.isfinite()
    if broken.any():
        step = int(broken.nonzero()[0])
        raise Diverged(
            f"the loss stopped being finite in epoch {epoch + 1}, step {step + 1}; "
            "a smaller learning rate (a recipe of your own) or float32 may help"
        )
    return float(values.mean())
