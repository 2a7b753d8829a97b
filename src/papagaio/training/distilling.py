"""Distillation: one student learns what several copies answer together, about any image.

Stored answers belong to the images that were sent, unchanged. Copies answer about every other
image too, changed or never sent, at no query (Beyer et al., "Knowledge distillation: a good teacher
is patient and consistent", CVPR 2022: the teacher answers the very view that the student sees).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from papagaio.networks.classifier import Classifier
from papagaio.progress import Progress, no_progress
from papagaio.training.augmentation import AUGMENTATIONS
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.lessons import Lesson
from papagaio.training.loop import Epoch, learn
from papagaio.training.machine import Machine
from papagaio.training.products import placed
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio.training.step import Batch

__all__ = ["EnsembleLessons", "distil", "distilling_recipe"]

# How many more steps a student takes than each copy: it has more to learn from.
_LONGER = 2
# Images by which the size of the copies' logits is judged.
_SAMPLE = 1000


def distilling_recipe(
    copy: Recipe, answered: int, unanswered: int, shape: tuple[int, ...]
) -> Recipe:
    """Return the recipe of a student that learns from copies.

    It is the one for full answers, because copies answer in full whatever the black box shows, with
    the augmentation, batches and minutes of the copies and twice as many steps as one of them took.

    Args:
        copy: how a copy was trained.
        answered: how many images have a stored answer.
        unanswered: how many others there are.
        shape: height, width and channels.
    """
    height, width, channels = shape
    full = replace(
        recipe_named("recovered-logits", (height, width, channels)),
        name=copy.name,
        minutes=copy.minutes,
        batch=copy.batch,
        least_batches=copy.least_batches,
        augmentation=copy.augmentation,
        rounds=(),
        fade=copy.fade,
        least_steps=0,
    )
    steps = _LONGER * copy.epochs_for(answered) * copy.steps_per_epoch(answered)
    return replace(full, epochs=max(1, round(steps / full.steps_per_epoch(answered + unanswered))))


@dataclass(frozen=True)
class EnsembleLessons:
    """Views of images with what copies answer together about each view.

    Where an image is shown unchanged and its answer is stored, that is the target instead.

    Attributes:
        pixels: uint8 (N, H, W, C), on the device; those with stored answers first.
        copies: on the device and in evaluation mode.
        recipe: its augmentation makes the views.
        machine: where the copies answer.
        stored: float32 (M, K), the centred logits of the first M images; M may be 0.
    """

    pixels: Tensor
    copies: Sequence[Classifier]
    recipe: Recipe
    machine: Machine
    stored: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def __call__(self, rows: Tensor, strength: float) -> Lesson:
        """Return views of these images with the copies' centred logits (N, K)."""
        originals = self.pixels[rows]
        shown = originals
        for name in self.recipe.augmentation:
            shown = AUGMENTATIONS[name](shown, strength)
        views = shown.permute(0, 3, 1, 2)
        targets = self.answers(views)
        unchanged = (shown == originals).flatten(1).all(1) & (rows < len(self.stored))
        targets[unchanged] = self.stored[rows[unchanged]]
        return Lesson(Batch(views, targets), targets.argmax(1))

    def answers(self, views: Tensor) -> Tensor:
        """Return what the copies answer together: the mean of their centred logits, (N, K)."""
        with torch.no_grad(), self.machine.autocast():
            logits = torch.stack([copy(views).float() for copy in self.copies])
        return (logits - logits.mean(2, keepdim=True)).mean(0)


def distil(  # noqa: PLR0913  # as `train`, and who teaches
    student: Classifier,
    copies: Sequence[Classifier],
    images: NDArray[np.uint8],
    stored: NDArray[np.float32],
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    checkpoints: Checkpoints | None = None,
    progress: Progress = no_progress,
) -> list[Epoch]:
    """Train a student in place on what copies answer together.

    Args:
        student: with its initial weights.
        copies: trained networks.
        images: uint8 (N, H, W, C).
        stored: float32 (M, K), the black box's centred logits of the first M images; M may be 0.
        recipe: from `distilling_recipe`.
        seed: as for `train`.
        machine: where to train.
        checkpoints: as for `train`.
        progress: told after every epoch.

    Returns:
        one record per epoch; its distillation accuracy is the share of views on which the student
        names the class that the copies name.

    Raises:
        Diverged: the loss is no longer finite.
    """
    device = machine.use()
    placed(student, device)
    for copy in copies:
        placed(copy, device).eval()
    pixels, known = (torch.from_numpy(np.array(one)).to(device) for one in (images, stored))
    lessons = EnsembleLessons(pixels, copies, recipe, machine, known)
    parts = pixels[:_SAMPLE].tensor_split(recipe.steps_per_epoch(_SAMPLE))
    logits = torch.cat([lessons.answers(part.permute(0, 3, 1, 2)) for part in parts])
    student.spread.fill_(logits.std())
    return learn(
        student,
        lessons,
        recipe,
        seed=seed,
        machine=machine,
        checkpoints=checkpoints,
        progress=progress,
    )
