"""A recipe: how a network is trained. Values only; the loop reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, cos, pi
from typing import Any, Literal

from papagaio.training.variants import NO_VARIANTS, Variants
from papagaio.vocabulary import Augmentation, Loss

__all__ = ["Changes", "Recipe"]

# Fields of a recipe, with other values.
Changes = Mapping[str, Any]

# Smaller batches were not better, and cost more time.
_LEAST_BATCH = 32


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: the recipe's name.
        loss: what training minimises, see `losses`.
        temperature: both sides of a cross-entropy are divided by it before the softmax.
        alpha: the weight of a second cross-entropy, with the true labels and at temperature 1
            (the thesis's equation 1); 0 leaves it out.
        optimiser: Adam, or AdamW (which decays weights, and only matrices).
        rate: the learning rate, or its peak.
        decay: AdamW's weight decay.
        clip: the largest norm of the gradient of all weights together; 0 is no limit.
        muon: the learning rate of Muon, which then trains the convolutions that a normalisation
            follows; 0 leaves them to the optimiser.
        schedule: `constant`, or `one-cycle`: linear from a tenth of the rate to all of it over the
            first fifth, then down to 0 along a cosine.
        batch: images per step.
        least_batches: batches are made smaller, down to 32 images, where an epoch would otherwise
            have fewer steps than this.
        epochs: how often each image is shown, unless `least_steps` needs more.
        least_steps: a training on few images takes at least this many steps.
        minutes: about the most that a training may take, with the choice of its recipe; 0 is no
            limit.
        most_epochs: the most that fit into its minutes, see `pacing`; 0 is no limit.
        epochs_given: a number of epochs that holds instead of all these; 0 if none was given.
        augmentation: drawn anew for each image and epoch, in this order.
        fade: augmentation shrinks in the course of the training to `fade / images` of its strength
            (at most full strength): few images need it to the end. 0 keeps full strength.
        smoothing: this share of every target is spread evenly over the classes.
        variants: one of them is drawn for each image and epoch, before `augmentation`.
        rounds: what else is tried before the training, on held-out answers, see `selection`: each
            round has changes to the winner of the round before; empty if there is no choice.
    """

    name: str
    loss: Loss = "cross-entropy"
    temperature: float = 1.0
    alpha: float = 0.0
    optimiser: Literal["adam", "adamw"] = "adam"
    rate: float = 1e-3
    decay: float = 0.0
    clip: float = 0.0
    muon: float = 0.0
    schedule: Literal["constant", "one-cycle"] = "constant"
    batch: int = 32
    least_batches: int = 0
    epochs: int = 100
    least_steps: int = 0
    minutes: float = 0.0
    most_epochs: int = 0
    epochs_given: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    fade: int = 0
    smoothing: float = 0.0
    variants: Variants = NO_VARIANTS
    rounds: tuple[tuple[Changes, ...], ...] = ()

    def settled(self, images: int) -> "Recipe":
        """Return the recipe with the size of batches that it has for a number of images."""
        batches = min(self.least_batches, images // _LEAST_BATCH)
        batch = min(self.batch, ceil(images / batches)) if batches else self.batch
        return replace(self, batch=batch, least_batches=0)

    def steps_per_epoch(self, images: int) -> int:
        """Return how many batches, of nearly the same size, a number of images makes."""
        return ceil(images / self.settled(images).batch)

    def epochs_for(self, images: int) -> int:
        """Return how many epochs a training on a number of images takes."""
        if self.epochs_given:
            return self.epochs_given
        epochs = max(self.epochs, ceil(self.least_steps / self.steps_per_epoch(images)))
        return min(epochs, self.most_epochs or epochs)

    def share_of_rate(self, part: float) -> float:
        """Return the share of the learning rate when `part` (0 to 1) of the training is done."""
        if self.schedule == "constant":
            return 1.0
        warm = 0.2
        if part < warm:
            return 0.1 + 0.9 * part / warm
        return (1 + cos(pi * (part - warm) / (1 - warm))) / 2

    def strength(self, part: float, images: int) -> float:
        """Return the strength of augmentation when `part` (0 to 1) of the training is done."""
        if not self.fade:
            return 1.0
        end = min(1.0, self.fade / images)
        return end + (1 - end) * (1 - part)
