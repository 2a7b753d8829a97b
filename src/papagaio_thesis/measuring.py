"""A network's figures on a part of CIFAR-10."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import nn

from papagaio.files import Frozen, read_array
from papagaio.progress import Progress, no_progress
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.vocabulary import Augmentation, Part
from papagaio_thesis.records import Measurement

__all__ = ["EvaluationSet", "measure", "measurement"]


@dataclass(frozen=True)
class EvaluationSet:
    """A part of CIFAR-10 on which networks are measured, as frozen arrays.

    Attributes:
        part: the part.
        images: uint8 (N, H, W, C).
        labels: int64 (N,), the true classes.
        teacher_labels: int64 (N,), the classes that the teacher names.
        size: only the first `size` images are used.
    """

    part: Part
    images: Frozen
    labels: Frozen
    teacher_labels: Frozen
    size: int

    def pixels(self) -> NDArray[np.uint8]:
        """Return the images, memory-mapped."""
        images: NDArray[np.uint8] = read_array(self.images)
        return images[: self.size]


def measure(
    network: nn.Module,
    evaluation_set: EvaluationSet,
    machine: Machine,
    *,
    epoch: int,
    augmentation: Sequence[Augmentation] = (),
    progress: Progress = no_progress,
) -> Measurement:
    """Measure a network on an evaluation set.

    Args:
        network: from uint8 (N, C, H, W) to logits (N, K).
        evaluation_set: the images, labels and teacher's labels.
        machine: where it runs.
        epoch: after which epoch of its training.
        augmentation: what it was trained with; the logits are the mean over its views.
        progress: told how many images are done.
    """
    logits = infer(
        network,
        evaluation_set.pixels(),
        machine,
        augmentation=augmentation,
        progress=progress,
    )
    labels, teacher_labels = (
        np.asarray(read_array(frozen))
        for frozen in (evaluation_set.labels, evaluation_set.teacher_labels)
    )
    return measurement(logits, labels, teacher_labels, evaluation_set.part, epoch)


def measurement(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    teacher_labels: NDArray[np.int64],
    part: Part,
    epoch: int,
) -> Measurement:
    """Compute the figures of a network from its logits.

    Args:
        logits: float32 (N, K).
        labels: int64 (N or more,), the true classes.
        teacher_labels: int64 (N or more,), the classes that the teacher names.
        part: the part of CIFAR-10.
        epoch: after which epoch of its training.
    """
    n, classes = logits.shape
    labels, named = labels[:n], logits.argmax(1)
    # In float32, a logit of 1e9 would lose the difference to the others.
    exact = logits.astype(np.float64)
    losses = np.sort(logsumexp(exact, axis=1) - exact[np.arange(n), labels])
    hits = named == labels
    hits_by_class = [hits[labels == c] for c in range(classes)]
    return Measurement(
        epoch=epoch,
        part=part,
        images=n,
        accuracy=float(hits.mean()),
        loss=float(losses.mean()),
        fidelity=float((named == teacher_labels[:n]).mean()),
        median_loss=float(np.median(losses)),
        worst_ten=float(losses[-10:].sum() / max(losses.sum(), 1e-300)),
        largest_logit=float(np.abs(exact).max()),
        per_class=[float(some.mean()) if len(some) else None for some in hits_by_class],
    )
