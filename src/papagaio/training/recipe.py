"""A recipe: how a network is trained. Values only; the loop reads them."""

from dataclasses import dataclass
from math import ceil, cos, pi
from typing import Literal

from papagaio.training.variants import NO_VARIANTS, Variants
from papagaio.vocabulary import Augmentation, Loss

__all__ = ["Recipe"]


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
        epochs: how often each image is shown, unless `least_steps` needs more.
        least_steps: a training on few images takes at least this many steps.
        augmentation: drawn anew for each image and epoch, in this order.
        augmentation_choices: the augmentations among which `augmentation` is chosen before the
            training, on held-out answers; empty if there is no choice.
        fade: augmentation shrinks in the course of the training to `fade / images` of its strength
            (at most full strength): few images need it to the end. 0 keeps full strength.
        smoothing: this share of every target is spread evenly over the classes.
        variants: one of them is drawn for each image and epoch, before `augmentation`.
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
    epochs: int = 100
    least_steps: int = 0
    augmentation: tuple[Augmentation, ...] = ()
    augmentation_choices: tuple[tuple[Augmentation, ...], ...] = ()
    fade: int = 0
    smoothing: float = 0.0
    variants: Variants = NO_VARIANTS

    def steps_per_epoch(self, images: int) -> int:
        """Return how many batches, of nearly the same size, a number of images makes."""
        return ceil(images / self.batch)

    def epochs_for(self, images: int) -> int:
        """Return how many epochs a training on a number of images takes."""
        return max(self.epochs, ceil(self.least_steps / self.steps_per_epoch(images)))

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
