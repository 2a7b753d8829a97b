"""A reading: one choice of what the thesis leaves open about its teacher, and how near it comes.

The rule of nearness. Each number of Table 1 gives a difference, in units of Table 1's own step from
the train to the test part: 0.86 - 0.81 = 0.05 for an accuracy, ln(0.59 / 0.40) = 0.39 for the
logarithm of a loss. The distance of a reading is the root of the mean of the four squared
differences, so 1 is as far as the thesis's train part is from its test part. It was stated before
any reading of the grid was measured.
"""

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import log_softmax

from papagaio.vocabulary import Normalisation, Part
from papagaio_thesis.options import Pooling, StudyOptions
from papagaio_thesis.published import published

__all__ = ["PartFigures", "Reading", "ReadingRecord", "distance", "nearest_first"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Reading(_Record):
    """What the thesis leaves open about its teacher; each field is an option of the study."""

    side: int
    pooling: Pooling
    widths: tuple[int, ...]
    dropout: float
    normalisation: Normalisation
    unfrozen: int
    brightness: tuple[float, ...]

    def applied(self, options: StudyOptions) -> StudyOptions:
        """Return the options with this reading of the teacher."""
        chosen = dict(self)
        tables = {
            name: getattr(options, name).model_copy(update={key: chosen[key] for key in keys})
            for name, keys in (
                ("images", ("side", "normalisation")),
                ("head", ("pooling", "widths", "dropout")),
                ("teacher", ("unfrozen", "brightness")),
            )
        }
        return options.model_copy(update=tables)

    @property
    def name(self) -> str:
        """The reading in a few words."""
        widths, factors = (" ".join(map(str, each)) for each in (self.widths, self.brightness))
        return (
            f"{self.side} px, {self.pooling}, {widths}, dropout {self.dropout:g}, "
            f"{self.normalisation}, {self.unfrozen} unfrozen, brightness {factors or 'as it is'}"
        )


class PartFigures(_Record):
    """A teacher's figures on one part of CIFAR-10: images, accuracy and mean loss in nats."""

    images: int
    accuracy: float
    loss: float

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Self:
        """Return the figures of logits (float32, N x K) about images of these classes (N)."""
        chosen = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
        hits = logits.argmax(1) == labels
        return cls(images=len(labels), accuracy=float(hits.mean()), loss=float(-chosen.mean()))


class ReadingRecord(_Record):
    """A teacher that was trained by one reading.

    Attributes:
        reading: the reading.
        parameters: the number of weights.
        start: the initial weights of its convolutional layers, in words.
        owned: the number of images it was trained on.
        precision: float32 or bfloat16, of its training.
        train: its figures on the train part of CIFAR-10.
        test: its figures on the test part.
    """

    reading: Reading
    parameters: int
    start: str
    owned: int
    precision: str
    train: PartFigures
    test: PartFigures

    @property
    def distance(self) -> float:
        """The distance to Table 1."""
        return distance({"train": self.train, "test": self.test})

    @property
    def note(self) -> str:
        """The reading and its distance, in words."""
        return f"{self.reading.name}: distance {self.distance:.2f}"


def distance(figures: dict[Part, PartFigures]) -> float:
    """Return how far a teacher's four figures are from Table 1's, by the rule above."""
    printed = {(one.part, one.metric): one.value for one in published() if one.table == 1}
    step = printed["train", "accuracy"] - printed["test", "accuracy"]
    log_step = math.log(printed["test", "loss"] / printed["train", "loss"])
    squares = [
        square
        for part, one in figures.items()
        for square in (
            ((one.accuracy - printed[part, "accuracy"]) / step) ** 2,
            # A loss that is 0 in float64 is infinitely far, and no error.
            (math.log(max(one.loss, 5e-324) / printed[part, "loss"]) / log_step) ** 2,
        )
    ]
    return math.sqrt(sum(squares) / len(squares))


def nearest_first(records: Iterable[ReadingRecord]) -> list[ReadingRecord]:
    """Return the records by their distance to Table 1, equal ones by name."""
    return sorted(records, key=lambda one: (one.distance, one.reading.name))
