"""The four experiments and the studies behind the claims. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "BODIES",
    "EXPERIMENTS",
    "OF_OWN_TEACHERS",
    "STUDIES",
    "Experiment",
    "Scale",
    "Study",
    "title_of",
]

Scale = Literal["full", "small"]

Study = Literal[
    "beyond",
    "in-scope",
    "start",
    "explosion",
    "magnified",
    "longer",
    "superclasses",
    "similar",
    "temperature",
    "taxonomy",
    "readings",
]
STUDIES: tuple[Study, ...] = get_args(Study)
# These have their own teachers.
OF_OWN_TEACHERS: tuple[Study, ...] = ("taxonomy", "readings")

# The thesis's two architectures by the names it uses.
BODIES = {"VGG16": "torchvision/vgg16", "MobileNetV2": "torchvision/mobilenet_v2"}


@dataclass(frozen=True)
class Experiment:
    """An experiment of section 5: the student's architecture and its transfer set."""

    architecture: str
    transfer_set: Literal["large", "small"]


EXPERIMENTS = {
    1: Experiment("VGG16", "large"),
    2: Experiment("VGG16", "small"),
    3: Experiment("MobileNetV2", "large"),
    4: Experiment("MobileNetV2", "small"),
}


def title_of(number: int) -> str:
    """Return an experiment's title."""
    experiment = EXPERIMENTS[number]
    return f"experiment {number}: {experiment.architecture}, {experiment.transfer_set} set"
