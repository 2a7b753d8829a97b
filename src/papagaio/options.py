"""How a setting is described: once, as a field of a model.

A field's type, default and docstring, and the `Option` in its annotation, are all there is: the
command line, its help, TOML files, error messages and the reference page are derived from them.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from papagaio.errors import BadSettings

__all__ = ["Many", "Option", "OptionSet", "Seed", "read_toml", "to_toml", "validated"]

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """Where and how a field appears in a command's help.

    Attributes:
        group: the panel it appears in.
        metavar: the placeholder for its value; by default its choices.
        default: words for a default that is not a value, such as `all cores`.
        positional: whether it is an argument and takes no flag.
        repeated: whether its flag is given once per value.
        also: another flag for it.
    """

    group: str
    metavar: str = ""
    default: str = ""
    positional: bool = False
    repeated: bool = False
    also: str = ""


class OptionSet(BaseModel):
    """Settings of a command: validated, immutable, with hyphens in TOML where names have `_`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
        use_attribute_docstrings=True,
        # Help needs no validator, and building one takes a tenth of a second.
        defer_build=True,
    )


def _split(value: object) -> object:
    """Several values from one text with commas, from `none`, or from a single value."""
    if isinstance(value, str):
        return () if value == "none" else tuple(part.strip() for part in value.split(","))
    return (value,) if isinstance(value, int) else value


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


# Several values: a list in TOML, commas on the command line; `none` is an empty list.
Many = Annotated[tuple[T, ...], BeforeValidator(_split), AfterValidator(_each_once)]

# NumPy takes no negative seed, and torch none above 64 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]

Settings = TypeVar("Settings", bound=BaseModel)


def validated(
    model: type[Settings],
    values: Mapping[str, object],
    name_of: Callable[[str], str] = str,
) -> Settings:
    """Check settings.

    Args:
        model: the model that they have to fit.
        values: by option name, with hyphens.
        name_of: how an error names an option.

    Raises:
        BadSettings: some are unknown, missing or out of range; the message names all of them.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(one, name_of) for one in error.errors()]
        raise BadSettings("; ".join(dict.fromkeys(problems))) from error


def _problem(error: Any, name_of: Callable[[str], str]) -> str:  # noqa: ANN401  # a pydantic dict
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not error["loc"]:
        return str(message)
    value = "" if error["type"] == "missing" else f" {error['input']}"
    wording = {"missing": "is required", "extra_forbidden": "no such option"}
    return f"{name_of(str(error['loc'][0]))}{value}: {wording.get(error['type'], message)}"


def read_toml(path: Path) -> dict[str, Any]:
    """The settings of a TOML file, by option name.

    Raises:
        BadSettings: it is missing, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path}: not a readable TOML file ({error})") from error


def to_toml(settings: BaseModel) -> str:
    """All settings that have a value, as TOML: enough to run the command again."""
    values = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    # JSON's strings, numbers, booleans and flat lists are TOML's too.
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )
