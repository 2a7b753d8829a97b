"""A service that a TOML file describes: how it takes images, and where the scores are."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Self
from uuid import uuid4

import jmespath
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.json_arrays import json_of
from papagaio.blackboxes.pixels import PixelForm, parsed_scale
from papagaio.blackboxes.sending import Body, open_client
from papagaio.blackboxes.service import Exchange, HttpBox, contract_of
from papagaio.errors import BadAnswer, BadSettings
from papagaio.options import read_toml, validated
from papagaio.vocabulary import ColourOrder, Layout

__all__ = ["Description", "open_described"]

Images = NDArray[np.uint8]

# The places of images in a JSON text; base64 may also stand within a longer string.
_MANY, _ONE, _WITHIN = '"$images"', '"$image"', "$image"
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
            raise ValueError(f"body needs the string {_MANY} or {_ONE}")
        return self

    @property
    def template(self) -> str:
        """The body, written in one way."""
        return json.dumps(json.loads(self.body or "null"))

    @property
    def takes_one(self) -> bool:
        """Whether a request holds one image."""
        return _MANY not in self.template

    @property
    def _has_place(self) -> bool:
        one = _ONE if self.image == "json" else _WITHIN
        return not self.takes_one or one in self.template

    @property
    def digest(self) -> str:
        """Of everything that decides an answer."""
        deciding = self.model_dump(mode="json", exclude={"headers"})
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def open_described(path: str, declared: Declaration) -> HttpBox:
    """A black box from a TOML file that describes a service. Nothing is sent.

    Args:
        path: the file; `Description` has its keys.
        declared: what its owner states. It wins over the file. Without an identity, the URL and a
            digest of what decides an answer are taken.

    Raises:
        BadSettings: the file is wrong, or neither it nor the owner states what is needed.
    """
    described = validated(Description, read_toml(Path(path)), lambda name: f"{path}: {name}")
    headers = tuple(f"{name}: {value}" for name, value in described.headers.items())
    stated = replace(
        declared,
        headers=(*headers, *declared.headers),
        scale=declared.scale or described.scale,
        layout=declared.layout or described.layout,
        colour_order=declared.colour_order or described.colour_order,
        classes=declared.classes or (len(described.labels) if described.labels else None),
    )
    if described.labels and stated.classes != len(described.labels):
        raise BadSettings(f"{path} has {len(described.labels)} labels", field="classes")
    form = _form(path, described, stated)
    returned = declared.returned or "probabilities"
    most = 1 if described.takes_one else None
    contract = contract_of(path, stated, returned, most, described.labels)
    rows = partial(_rows, described, jmespath.compile(described.scores).search)
    exchange = Exchange(described.url, _body(described, form), rows, returned)
    used = f"{described.url} {described.digest} {form or 'png'} {returned}"
    client = open_client(described.url, stated)
    return HttpBox(path, declared.identity or used, contract, exchange, client)


def _form(path: str, described: Description, stated: Declaration) -> PixelForm | None:
    """How pixels are given in JSON; None for files."""
    if described.image != "json":
        for name in ("scale", "layout", "colour_order"):
            if getattr(stated, name) is not None:
                raise BadSettings(f"{path} sends PNG files, which say it", field=name)
        return None
    if stated.scale is None and described.dtype != "uint8":
        raise BadSettings(
            f"{path} does not say on which scale pixels are given; state it there, or here",
            field="scale",
        )
    scale = stated.scale or "0..255"
    dtype = described.dtype or ("uint8" if scale == "0..255" else "float32")
    if dtype == "uint8" and scale != "0..255":
        raise BadSettings(f"{path} gives bytes, from 0 to 255", field="scale", value=scale)
    return PixelForm(scale, stated.colour_order or "rgb", stated.layout or "nhwc", dtype)


def _body(described: Description, form: PixelForm | None) -> Callable[[Images], Body]:
    if described.image == "png":
        return lambda images: Body(_png(images[0]), "image/png")
    if described.image == "multipart":
        return lambda images: _multipart(str(described.field), _png(images[0]))
    template = described.template
    if described.takes_one and form:
        return lambda images: Body(template.replace(_ONE, json_of(form.of(images)[0])).encode())
    if described.takes_one:
        return lambda images: Body(template.replace(_WITHIN, _base64(images[0])).encode())
    if form:
        return lambda images: Body(template.replace(_MANY, json_of(form.of(images))).encode())
    return lambda images: Body(
        template.replace(_MANY, json.dumps([_base64(image) for image in images])).encode()
    )


def _base64(image: Images) -> str:
    return base64.b64encode(_png(image)).decode()


def _multipart(field: str, file: bytes) -> Body:
    boundary = uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    content = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return Body(content, f"multipart/form-data; boundary={boundary}")


def _png(image: Images) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def _rows(described: Description, search: Callable[[object], object], answer: object) -> object:
    """The rows of scores in an answer."""
    try:
        found = search(answer)
    except jmespath.exceptions.JMESPathError as error:
        raise BadAnswer(f"what {described.scores} cannot be applied to ({error})") from error
    if found is None:
        raise BadAnswer(f"nothing at {described.scores}")
    if described.takes_one and not _is_rows(found):
        found = [found]
    if not isinstance(found, list):
        return found
    return [_row(described.labels, row) for row in found]


def _is_rows(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(row, list) for row in found)


def _row(labels: tuple[str, ...] | None, row: object) -> object:
    """A row of scores, or the number of a class.

    From objects with a label and a score it has zeros for the classes that are not among them.
    """
    if isinstance(row, str) and row in (labels or ()):
        return (labels or ()).index(row)
    if not isinstance(row, list) or not row or not all(isinstance(one, Mapping) for one in row):
        return [_row(labels, one) for one in row] if isinstance(row, list) else row
    if labels is None:
        raise BadAnswer("objects, but no labels are described that say which classes they are")
    scores: dict[str, object] = dict.fromkeys(labels, 0.0)
    for pair in row:
        if not {"label", "score"} <= pair.keys():
            raise BadAnswer(f"objects with {', '.join(pair)} instead of label and score")
        label = str(pair["label"])
        if label not in scores:
            raise BadAnswer(f"the label {label}, which is not described")
        scores[label] = pair["score"]
    return list(scores.values())
