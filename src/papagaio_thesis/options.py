"""The study file: the protocol and its silent points, checked, from TOML."""

from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from papagaio.errors import BadSettings
from papagaio.networks.headed import Architecture, Head
from papagaio.settings import read_toml
from papagaio.vocabulary import Normalisation

__all__ = ["Options", "Scale", "read_options"]

Scale = Literal["full", "small"]
Count = Annotated[int, Field(ge=1)]
# Normalisation needs two images a step, and nearly equal batches of three have them.
Batch = Annotated[int, Field(ge=3)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Start = Literal["imagenet", "random"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(_Table):
    """What is looked at, and how."""

    side: Count
    normalisation: Normalisation
    large: Count
    small: Count
    owned: Count
    evaluated: Count
    probed: Count


class HeadOptions(_Table):
    """The dense layers."""

    pooling: Literal["mean", "flatten"]
    widths: tuple[Count, ...]
    dropout: Share


class Teacher(_Table):
    """Both phases of the teacher."""

    weights: Start
    batch: Batch
    first_epochs: Count
    first_rate: Rate
    second_epochs: Count
    second_rate: Rate
    unfrozen: Count
    flip: Share
    brightness: tuple[Annotated[float, Field(gt=0)], ...]
    brighten: Share


class Students(_Table):
    """The four experiments."""

    vgg16: Start
    mobilenet_v2: Start
    rate: Rate
    batch: Batch
    epochs: Count
    marks: tuple[Count, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _marks_fit(self) -> Self:
        if max(self.marks) != self.epochs:
            raise ValueError(f"the last mark is {max(self.marks)}, and must be {self.epochs}")
        return self


class InScope(_Table):
    """Equation 1."""

    alpha: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]


class Studies(_Table):
    """The studies behind the claims."""

    longer: tuple[Count, ...] = Field(min_length=1)
    similar: tuple[str, ...]
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    superclass_images: Count
    digit_seeds: Count


class Options(_Table):
    """Every option of the reproduction; `study.toml` says what each is, and why."""

    images: Images
    head: HeadOptions
    teacher: Teacher
    students: Students
    in_scope: InScope
    studies: Studies

    @model_validator(mode="after")
    def _longer_is_longer(self) -> Self:
        lengths = (self.students.epochs, *self.studies.longer)
        if sorted(set(lengths)) != list(lengths):
            raise ValueError(f"studies.longer must rise from above {self.students.epochs} epochs")
        return self

    @property
    def design(self) -> Architecture:
        """The teacher, and what a student has in common with it whatever its body."""
        side = self.images.side if self.images.side != 32 else 0
        head = Head(**self.head.model_dump())
        return Architecture("torchvision/vgg16", head, side, self.images.normalisation)


def read_options(scale: Scale = "full", own: Path | None = None) -> Options:
    """The options.

    Args:
        scale: `small` is the laptop-sized sibling.
        own: a TOML file with the keys that differ.

    Raises:
        BadSettings: an option is unknown or out of range.
    """
    folder = resources("papagaio_thesis")
    layers = ["study.toml"] + (["small.toml"] if scale == "small" else [])
    values: dict[str, Any] = {}
    for name in layers:
        values = _over(values, read_toml(Path(str(folder / name))))
    values = _over(values, read_toml(own)) if own else values
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSettings(f"{own or 'study.toml'}: {where}: {first['msg']}") from error


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """One set of tables laid over another."""
    merged = below | above
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = _over(under, value)
    return merged
