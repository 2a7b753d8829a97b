"""Controls: the floors and ceilings that a copy is compared with, in one table."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["CONTROLS", "AnswerSource", "Control", "Purpose", "control_named"]

# What the black box is asked about: for the copies, for scores, and for controls.
Purpose = Literal["transfer", "test", "noise", "own"]

# What a training learns: the black box's answers, these in another order, or the true labels.
AnswerSource = Literal["queried", "shuffled", "labels"]


@dataclass(frozen=True)
class Control:
    """A student that is trained like a copy, except for what it learns from.

    Attributes:
        name: what the option calls it.
        side: whether copies are expected above it or below it.
        title: its name in reports.
        meaning: what it learns from, in one sentence.
        images: the set of images that it learns from; the black box is queried about them if
            `answers` is `queried`.
        answers: which answers to them it learns.
    """

    name: str
    side: Literal["floor", "ceiling"]
    title: str
    meaning: str
    images: Purpose
    answers: AnswerSource

    @property
    def kind(self) -> str:
        """What results call its trainings, such as `floor:shuffled`."""
        return f"{self.side}:{self.name}"


CONTROLS = (
    Control(
        "shuffled",
        "floor",
        "shuffled",
        "A student trained on the transfer images with their answers shuffled: what can be reached"
        " without the black box\u2019s knowledge.",
        "transfer",
        "shuffled",
    ),
    Control(
        "noise",
        "floor",
        "noise",
        "A student trained on the black box\u2019s answers about images of pure noise.",
        "noise",
        "queried",
    ),
    Control(
        "labels",
        "ceiling",
        "true labels",
        "A student trained on the owner\u2019s own images and true labels: ordinary training.",
        "own",
        "labels",
    ),
    Control(
        "own-data",
        "ceiling",
        "own data",
        "A student trained on the black box\u2019s answers about the owner\u2019s own images.",
        "own",
        "queried",
    ),
)


def control_named(name: str) -> Control:
    """The control of this name.

    Raises:
        ValueError: there is none; the message names those there are.
    """
    for control in CONTROLS:
        if control.name == name:
            return control
    raise ValueError(f"no such control; choose from {', '.join(c.name for c in CONTROLS)}")
