"""The keys of a TOML file that describes a service."""

import hashlib
import json
from typing import Literal, Self

import jmespath
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from papagaio.blackboxes.pixels import parsed_scale
from papagaio.errors import BadSettings
from papagaio.vocabulary import ColourOrder, Layout

__all__ = ["MANY", "ONE", "WITHIN", "Description"]

# The places of images in a JSON text; base64 may also stand within a longer string.
MANY, ONE, WITHIN = '"$images"', '"$image"', "$image"
_PIXELS = ("scale", "layout", "colour_order", "dtype")


class Description(BaseModel):
    """The keys of the file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=lambda name: name.replace("_", "-")
    )

    url: str
    """Where requests are sent; `${NAME}` is an environment variable, here and in headers."""

    method: Literal["POST"] = "POST"
    """How."""

    image: Literal["json", "base64-png", "png", "multipart"]
    """An image is nested lists of numbers, a text, the whole request, or a file of a form."""

    body: str | None = None
    """A JSON text in which the string `$images` stands for a list of images, or `$image`, also
    within a longer string, for the only image of a request; for json and base64-png."""

    field: str | None = Field(None, pattern=r"^[\w.\[\]-]+$")
    """The name of the file in the form; for multipart."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of each request."""

    scores: str = "@"
    """A JMESPath expression for the scores in the answer: one row for each image, or one list of
    objects with a label and a score, or one name or number of a class (with the option returns).
    With one image per request, also the row, list or class itself."""

    labels: tuple[str, ...] | None = None
    """The names of the classes in order; required for objects and names."""

    scale: str | None = None
    layout: Layout | None = None
    colour_order: ColourOrder | None = None
    dtype: Literal["float32", "uint8"] | None = None
    """How pixels are given; for json."""

    @field_validator("scores")
    @classmethod
    def _is_expression(cls, text: str) -> str:
        try:
            jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(f"no JMESPath expression ({str(error).splitlines()[0]})") from error
        return text

    @field_validator("body")
    @classmethod
    def _is_json(cls, text: str | None) -> str | None:
        try:
            json.loads(text or "null")
        except ValueError as error:
            raise ValueError(f"no JSON ({error})") from error
        return text

    @field_validator("scale")
    @classmethod
    def _is_scale(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                parsed_scale(text)
            except BadSettings as error:
                raise ValueError(error.args[0]) from error
        return text

    @field_validator("labels")
    @classmethod
    def _are_distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and len(set(labels)) != len(labels):
            raise ValueError("a class stands there twice")
        return labels

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        in_json = self.image in ("json", "base64-png")
        if in_json != (self.body is not None):
            raise ValueError(f"image {self.image} {'needs' if in_json else 'has no'} body")
        if (self.image == "multipart") != (self.field is not None):
            raise ValueError("field is for image multipart, which needs it")
        extra = [name for name in _PIXELS if getattr(self, name) is not None]
        if extra and self.image != "json":
            raise ValueError(
                f"{', '.join(extra)}: only for image json; PNG files are what they are"
            )
        if self.body is not None and not self._has_place:
            raise ValueError(f"body needs the string {MANY} or {ONE}")
        return self

    @property
    def template(self) -> str:
        """The body, written in one way."""
        return json.dumps(json.loads(self.body or "null"))

    @property
    def takes_one(self) -> bool:
        """Whether a request holds one image."""
        return MANY not in self.template

    @property
    def _has_place(self) -> bool:
        one = ONE if self.image == "json" else WITHIN
        return not self.takes_one or one in self.template

    @property
    def digest(self) -> str:
        """Of everything that decides an answer."""
        deciding = self.model_dump(mode="json", exclude={"headers"})
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
