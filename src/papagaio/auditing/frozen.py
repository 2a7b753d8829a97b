"""What trainings read: images and answers, frozen in files, and the cells that learn from them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.auditing.plan import Training
from papagaio.responses import Answers, derive
from papagaio.training.machine import Machine
from papagaio.version import __version__
from papagaio.vocabulary import Response

__all__ = ["Cell", "CellContext", "ScoringSet", "Trainable", "TrainingSet", "answers_of"]


@dataclass(frozen=True)
class TrainingSet:
    """Images and the answers to them, as two frozen arrays that smaller budgets share.

    Attributes:
        images: uint8 (N, H, W, C).
        answers: float32 (N, K), as the black box gave them; one-hot rows for true labels.
        shown: the response form of the answers.
        digest: the digest of what a training learns, the first images and answers.
        resolution: the step of the answers' scores, or 0 if they have none.
    """

    images: files.Frozen
    answers: files.Frozen
    shown: Response
    digest: str
    resolution: float = 0.0


@dataclass(frozen=True)
class ScoringSet:
    """The test set: images with the black box's answers, and frozen labels, int64 (N,).

    The digest of `answered` covers the labels.
    """

    answered: TrainingSet
    labels: files.Frozen


@dataclass(frozen=True)
class Cell:
    """A training and its data. `initial_digest` is that of a file of initial weights, or None."""

    training: Training
    data: TrainingSet
    initial_digest: str | None = None

    def decisive(self, context: "CellContext") -> dict[str, Any]:
        """What decides the result."""
        return asdict(self.training) | {
            "data": self.data.digest,
            "initial_digest": self.initial_digest,
            "test": context.test.answered.digest,
            "machine": asdict(context.machine),
            "papagaio": __version__,
        }


class Trainable(Protocol):
    """A cell of any kind."""

    @property
    def training(self) -> Training:
        """What is trained."""
        ...

    def decisive(self, context: "CellContext") -> dict[str, Any]:
        """What decides the result, as JSON has it."""
        ...


@dataclass(frozen=True)
class CellContext:
    """What the cells of an audit share.

    Attributes:
        folder: each cell gets a subfolder here.
        test: what copies are scored on.
        machine: where they are trained.
        checkpoint_seconds: minimum seconds between two checkpoints of a training.
    """

    folder: Path
    test: ScoringSet
    machine: Machine
    checkpoint_seconds: float

    def id_of(self, cell: Trainable) -> str:
        """A readable name, which differs where anything differs that decides the result."""
        decisive = json.dumps(cell.decisive(self), sort_keys=True)
        digest = hashlib.sha256(decisive.encode()).hexdigest()
        training, attack = cell.training, cell.training.attack
        kind = training.kind.replace(":", "-")
        words = (kind, attack.recipe.name, attack.response, training.budget, training.seed)
        return "_".join(map(str, (*words, digest[:8])))


def answers_of(cell: Cell) -> tuple[NDArray[np.uint8], Answers]:
    """What a cell learns from: images, uint8 (N, H, W, C), and what is shown of the answers."""
    training, data = cell.training, cell.data
    images = files.read_array(data.images)[: training.budget]
    full = np.asarray(files.read_array(data.answers)[: training.budget])
    return images, derive(full, data.shown, training.attack.response, data.resolution)
