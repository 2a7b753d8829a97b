"""The options of the study: the thesis's protocol and what it leaves open, read from TOML."""

from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from papagaio.errors import BadSettings
from papagaio.networks.headed import Architecture, Head
from papagaio.options import read_toml
from papagaio.vocabulary import Normalisation
from papagaio_thesis.experiments import BODIES, Scale

__all__ = ["StudyOptions", "read_options"]

Count = Annotated[int, Field(ge=1)]
# Batch normalisation needs two images per step; nearly equal batches of at most three have them.
Batch = Annotated[int, Field(ge=3)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0)]
Initial = Literal["imagenet", "random"]
Pooling = Literal["mean", "flatten"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageOptions(_Table):
    """Image sizes and the sizes of all sets."""

    side: Count
    normalisation: Normalisation
    large: Count
    small: Count
    owned: Count
    evaluated: Count
    probed: Count


class HeadOptions(_Table):
    """The dense layers."""

    pooling: Pooling
    widths: tuple[Count, ...]
    dropout: Share


class TeacherOptions(_Table):
    """Both phases of the teacher."""

    weights: Initial
    batch: Batch
    first_epochs: Count
    first_rate: Rate
    second_epochs: Count
    second_rate: Rate
    unfrozen: Count
    flip: Share
    brightness: tuple[Factor, ...]
    brighten: Share

    @property
    def epochs(self) -> int:
        """Epochs of both phases."""
        return self.first_epochs + self.second_epochs


class StudentOptions(_Table):
    """The four experiments."""

    vgg16: Initial
    mobilenet_v2: Initial
    rate: Rate
    batch: Batch
    epochs: Count
    marks: tuple[Count, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _last_mark_is_the_end(self) -> Self:
        if max(self.marks) != self.epochs:
            raise ValueError(f"the last mark is {max(self.marks)}, but must be {self.epochs}")
        return self

    def initial(self, architecture: str) -> Initial:
        """Return the initial weights of one of the thesis's two architectures."""
        return {"VGG16": self.vgg16, "MobileNetV2": self.mobilenet_v2}[architecture]


class InScopeOptions(_Table):
    """Equation 1."""

    alpha: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]


class ReadingOptions(_Table):
    """The grid of the study `readings`: the values that are tried in place of the ones above."""

    side: tuple[Count, ...] = ()
    pooling: tuple[Pooling, ...] = ()
    widths: tuple[tuple[Count, ...], ...] = ()
    dropout: tuple[Share, ...] = ()
    normalisation: tuple[Normalisation, ...] = ()
    unfrozen: tuple[Count, ...] = ()
    brightness: tuple[tuple[Factor, ...], ...] = ()


class ClaimOptions(_Table):
    """The studies behind the claims."""

    longer: tuple[Count, ...] = Field(min_length=1)
    similar: tuple[str, ...]
    temperatures: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    superclass_images: Count
    digit_seeds: Count
    # Results from before there was a grid have none.
    readings: ReadingOptions = ReadingOptions()


class StudyOptions(_Table):
    """All options of the study; `study.toml` explains each and gives its reason."""

    images: ImageOptions
    head: HeadOptions
    teacher: TeacherOptions
    students: StudentOptions
    in_scope: InScopeOptions
    studies: ClaimOptions

    @model_validator(mode="after")
    def _longer_is_longer(self) -> Self:
        lengths = (self.students.epochs, *self.studies.longer)
        if sorted(set(lengths)) != list(lengths):
            raise ValueError(f"studies.longer must increase from above {self.students.epochs}")
        return self

    def architecture(self, body: str = BODIES["VGG16"]) -> Architecture:
        """Return the teacher's architecture, or the same with other convolutional layers."""
        side = self.images.side if self.images.side != 32 else None
        head = Head(**self.head.model_dump())
        return Architecture(body, head, side, self.images.normalisation)


def read_options(
    scale: Scale = "full", own: Path | None = None, *, keras: bool = False
) -> StudyOptions:
    """Read the options from the package's files and the user's.

    Args:
        scale: `small` is the laptop-sized version.
        own: a TOML file with the options that differ, or None.
        keras: whether VGG16 starts from the file that Keras publishes.

    Raises:
        BadSettings: the file cannot be read, or an option is unknown or out of range.
    """
    folder = resources("papagaio_thesis")
    names = ["study", *(["small"] if scale == "small" else []), *(["keras"] if keras else [])]
    paths = [Path(str(folder / f"{name}.toml")) for name in names]
    values: dict[str, Any] = {}
    for path in (*paths, *([own] if own else [])):
        values = _merged(values, read_toml(path))
    try:
        return StudyOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BadSettings(
            f"{where}: {message}" if where else message, field="options", value=own
        ) from error


def _merged(defaults: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested tables with some values replaced."""
    merged = defaults | changes
    for key, value in changes.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            merged[key] = _merged(default, value)
    return merged
