"""A recipe: how a network is trained. Values only; the loop reads them."""

from dataclasses import dataclass
from math import ceil, cos, pi
from typing import Literal

from papagaio.training.augmentation import Augmentation
from papagaio.training.losses import Loss
from papagaio.training.variants import Variants

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: what it is called.
        loss: what is made small, see `losses`.
        temperature: both sides of a cross-entropy are divided by it before the softmax.
        alpha: the weight of a second cross-entropy, with the true labels and at temperature 1
            (the thesis's equation 1); 0 does without them.
        optimiser: Adam, or AdamW (which decays weights, and only matrices).
        rate: the learning rate, or its peak.
        decay: AdamW's weight decay.
        clip: the longest that the gradient of all weights together may be; 0 leaves it.
        muon: the learning rate of Muon, which then takes over the convolutions that stand before a
            normalisation; 0 leaves them to the optimiser.
        schedule: `constant`, or `one-cycle`: from a tenth up in a line over the first fifth, then
            down to 0 along a cosine.
        batch: images a step.
        epochs: how often each image is seen, unless `least_steps` asks for more.
        least_steps: trainings on few images get at least so many steps.
        augmentation: drawn anew for each image and epoch, in this order.
        fade: in the course of the training augmentation shrinks to `fade / images` of its strength
            (never beyond full strength): few images need it to the end. 0 keeps it as it is.
        smoothing: this share of every target is spread evenly over the classes.
        variants: of which each image is shown one an epoch, before `augmentation`; None shows the
            images as they are.
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
    fade: int = 0
    smoothing: float = 0.0
    variants: Variants | None = None

    def steps_an_epoch(self, images: int) -> int:
        """How many batches `images` images make, all of nearly the same size."""
        return ceil(images / self.batch)

    def epochs_for(self, images: int) -> int:
        """How many epochs a training on `images` images takes."""
        return max(self.epochs, ceil(self.least_steps / self.steps_an_epoch(images)))

    def share_of_rate(self, part: float) -> float:
        """What share of the learning rate holds when `part` (0 to 1) of the training is done."""
        if self.schedule == "constant":
            return 1.0
        warm = 0.2
        if part < warm:
            return 0.1 + 0.9 * part / warm
        return (1 + cos(pi * (part - warm) / (1 - warm))) / 2

    def strength(self, part: float, images: int) -> float:
        """How strong augmentation is when `part` (0 to 1) of the training is done."""
        if not self.fade:
            return 1.0
        end = min(1.0, self.fade / images)
        return end + (1 - end) * (1 - part)
