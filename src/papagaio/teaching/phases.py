"""Training in phases: in each, only the last layers of a network learn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.errors import BadSettings
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import freeze
from papagaio.progress import Progress, no_progress
from papagaio.responses import Answers
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import digest_weights, load_weights, save_weights

__all__ = ["Phase", "phases_from", "teach"]


@dataclass(frozen=True)
class Phase:
    """A part of a training: its recipe, and how many of the last layers learn (None is all)."""

    recipe: Recipe
    trained: int | None = None


def teach(  # noqa: PLR0913  # as training
    network: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    phases: Sequence[Phase],
    *,
    seed: int,
    machine: Machine,
    folder: Path,
    features: Path | None = None,
    progress: Progress = no_progress,
) -> None:
    """Teach a network true classes, phase after phase, in place.

    An interrupted training is resumed: each phase leaves its weights in `folder`, under a name that
    differs with the initial weights, seed, phases and images.

    Args:
        network: with its initial weights.
        images: uint8 (N, H, W, C).
        labels: int64 (N,).
        phases: in order.
        seed: the seed of the order of images and of augmentation.
        machine: where it is trained.
        folder: where its state is kept.
        features: where features of frozen layers are kept, for a resumed or another teaching; None
            keeps them in memory only.
        progress: told after every epoch.

    Raises:
        BadSettings: a phase is to train more layers than there are.
        Diverged: the loss stopped being finite.
    """
    # A phase that is impossible is found before the first begins.
    for phase in phases:
        freeze(network, phase.trained)
    one_hot = np.eye(network.classes, dtype=np.float32)[labels]
    network.to(machine.use())
    decisive = hashlib.sha256(digest_weights(network.state_dict()).encode())
    for array in (images, labels):
        decisive.update(np.ascontiguousarray(array).data)
    # Another number of threads changes only the last digits; hours of training are worth more.
    decisive.update(repr((seed, machine.device, machine.precision)).encode())
    for number, phase in enumerate(phases, 1):
        decisive.update(repr(phase).encode())
        kept = folder / f"phase-{number}-{decisive.hexdigest()[:8]}.safetensors"
        if kept.exists():
            network.load_state_dict(load_weights(kept))
            continue
        freeze(network, phase.trained)
        checkpoint = kept.with_suffix(".checkpoint")
        train(
            network,
            images,
            Answers.of(one_hot),
            phase.recipe,
            seed=seed + number,
            machine=machine,
            checkpoints=Checkpoints(checkpoint, features=features),
            progress=progress,
        )
        save_weights(kept, network)
        checkpoint.unlink(missing_ok=True)
        files.sweep(folder)


def phases_from(written: Sequence[str], batch: int, variants: Variants) -> tuple[Phase, ...]:
    """Phases from their written form `EPOCHS,RATE,LAYERS`, with a number of layers or `all`.

    Raises:
        BadSettings: one cannot be read.
    """
    return tuple(_phase(number, words, batch, variants) for number, words in enumerate(written, 1))


def _phase(number: int, words: str, batch: int, variants: Variants) -> Phase:
    try:
        epochs, rate, layers = words.split(",")
        recipe = Recipe(
            f"phase {number}",
            rate=float(rate),
            epochs=int(epochs),
            batch=batch,
            variants=variants,
        )
        phase = Phase(recipe, None if layers == "all" else int(layers))
    except ValueError as error:
        raise BadSettings(
            "write EPOCHS,RATE,LAYERS, such as 10,1e-3,2 or 20,1e-3,all", field="phase", value=words
        ) from error
    if recipe.epochs < 1 or not 0 < recipe.rate < 1:
        raise BadSettings(
            "needs at least one epoch, and a rate between 0 and 1", field="phase", value=words
        )
    return phase
