"""The training loop, for black boxes and copies alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from papagaio.errors import BadSettings, Diverged
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import set_training_mode
from papagaio.progress import Progress, Step, no_progress
from papagaio.responses import Answers
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.feed import feed_for, shuffled_batches
from papagaio.training.lessons import Lessons, StoredLessons
from papagaio.training.losses import spread_of, targets_of
from papagaio.training.machine import Machine
from papagaio.training.optimisers import optimisers_for, set_rates
from papagaio.training.products import placed
from papagaio.training.recipe import Recipe
from papagaio.training.step import step_function

__all__ = ["Epoch", "learn", "train"]


@dataclass(frozen=True)
class Epoch:
    """One epoch's number (from 1), mean loss and distillation accuracy.

    Both figures are measured during the epoch, on the (augmented) batches as they were shown.
    """

    number: int
    loss: float
    distillation_accuracy: float


def train(  # noqa: PLR0913  # what is learned, how, where, and who looks on
    network: Classifier,
    images: NDArray[np.uint8],
    answers: Answers,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    labels: NDArray[np.int64] | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
    visit: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train a network in place.

    A seed and a recipe determine the weights, bit for bit on a CPU with the same number of threads,
    whether or not the training was interrupted and resumed.

    Args:
        network: with its initial weights. Frozen weights (`requires_grad` off) stay as they are; a
            frozen front is computed once where `feed.feed_for` can.
        images: uint8 (N, H, W, C).
        answers: the black box's N answers to them, or `Answers.of` one-hot rows of true labels.
        recipe: how to train.
        seed: the seed of the order of images, of augmentation and of dropout.
        machine: where to train.
        labels: int64 (N,), the true classes, for a recipe with `alpha`.
        checkpoints: restored before the first epoch, and told after every epoch.
        progress: told after every epoch, and while frozen features are computed.
        visit: called after every epoch and before its checkpoint, to look at the network. A resumed
            training repeats the visits after its last checkpoint.

    Returns:
        one record per epoch.

    Raises:
        BadSettings: the recipe has an `alpha`, and there are no labels.
        Diverged: the loss is no longer finite; the message names the epoch and step.
    """
    if recipe.alpha and labels is None:
        raise BadSettings(f"recipe {recipe.name} learns from true classes too; pass labels")
    device = machine.use()
    network.spread.fill_(spread_of(recipe.loss, answers))
    set_training_mode(placed(network, device))
    kept = checkpoints.features if checkpoints else None
    feed, learner = feed_for(network, images, recipe, machine, progress, kept=kept)
    targets = targets_of(recipe.loss, recipe.temperature, recipe.smoothing, answers)
    lessons = StoredLessons(
        feed,
        torch.from_numpy(targets).to(device),
        torch.from_numpy(answers.labels).to(device),
        None if not recipe.alpha or labels is None else torch.from_numpy(labels).to(device),
    )
    return learn(
        network,
        lessons,
        recipe,
        seed=seed,
        machine=machine,
        learner=learner,
        checkpoints=checkpoints,
        progress=progress,
        visit=visit,
    )


def learn(  # noqa: PLR0913  # as `train`
    network: Classifier,
    lessons: Lessons,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    learner: nn.Module | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
    visit: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train a network in place on lessons, whatever they hold: the one loop of every training.

    Args:
        network: on the device, with its initial weights and the spread of the logits it aims at.
        lessons: what is shown in each step, and what is to be learned from it.
        recipe: how to train.
        seed: as for `train`; the lessons draw from the same random numbers.
        machine: where to train.
        learner: the module that sees what lessons show, if that is not the network itself.
        checkpoints: as for `train`.
        progress: told after every epoch.
        visit: as for `train`.

    Returns:
        one record per epoch.

    Raises:
        Diverged: the loss is no longer finite; the message names the epoch and step.
    """
    device = torch.device(machine.device)
    set_training_mode(network)
    optimisers = optimisers_for(network, recipe)
    images = len(lessons)
    epochs = recipe.epochs_for(images)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        curve = checkpoints.restore(network, optimisers) if checkpoints else []
        step = step_function(learner or network, optimisers, recipe, machine)
        for epoch in range(len(curve), epochs):
            losses, hits = [], torch.zeros((), device=device, dtype=torch.int64)
            for rows, part in shuffled_batches(images, epoch, recipe, device):
                batch, named = lessons(rows, recipe.strength(part, images))
                set_rates(optimisers, recipe.share_of_rate(part))
                loss, logits = step(*(one for one in batch if one is not None))
                losses.append(loss)
                hits += (logits.argmax(1) == named).sum()
            curve.append([_mean_loss(losses, epoch), hits.item() / images])
            progress(Step(recipe.name, epoch + 1, epochs, "epochs", f"loss {curve[-1][0]:.3g}"))
            if visit:
                visit(Epoch(epoch + 1, *curve[-1]))
                set_training_mode(network)
            if checkpoints:
                checkpoints.after_epoch(network, optimisers, curve)
    network.eval()
    return [Epoch(number, *figures) for number, figures in enumerate(curve, 1)]


def _mean_loss(losses: list[Tensor], epoch: int) -> float:
    values = torch.stack(losses)
    broken = ~values.isfinite()
    if broken.any():
        step = int(broken.nonzero()[0])
        raise Diverged(
            f"the loss is no longer finite in epoch {epoch + 1}, step {step + 1}; "
            "use a recipe with a smaller learning rate, or float32"
        )
    return float(values.mean())
