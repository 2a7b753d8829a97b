"""What requests hold, and how they are answered: JSON <-> images and scores."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, WithJsonSchema

from papagaio.blackboxes.contract import Contract, Shape
from papagaio.blackboxes.replies import numbers
from papagaio.errors import BadAnswer, BadImages
from papagaio.images.decode import decode

__all__ = ["BadRequest", "Inference", "JsonAnswer", "Pictures", "labelled", "scores_tensor"]

Images = NDArray[np.uint8]
Scores = NDArray[np.float32]

Channels = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1, max_length=3)]
Row = Annotated[list[Channels], Field(min_length=1)]
Rows = Annotated[list[Row], Field(min_length=1)]
Pixels = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}),
]


class BadRequest(Exception):
    """A request that cannot be answered; the message says in one line why."""


class JsonAnswer(Response):
    """JSON in ASCII: what a client sends may hold characters that are not Unicode."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The text of a value."""
        return json.dumps(content).encode()


class Tensor(BaseModel):
    """Images of the Open Inference Protocol, (N, H, W, C), as flat or nested lists."""

    name: str
    datatype: Literal["UINT8", "FP32"]
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=4, max_length=4)]
    # The numbers are checked all at once.
    data: Pixels

    def images(self, shape: Shape) -> Images:
        """The images (uint8, N x H x W x C).

        Raises:
            BadRequest: they have another shape or are no bytes.
        """
        stated = "x".join(map(str, self.shape))
        if tuple(self.shape[1:]) != shape:
            raise BadRequest(f"a tensor of shape {stated}; {_wanted(shape)}")
        pixels = _bytes(self.data)
        if pixels.size != math.prod(self.shape):
            raise BadRequest(f"{pixels.size} numbers in a tensor of shape {stated}")
        return pixels.reshape(-1, *shape)


class Inference(BaseModel):
    """A request of the Open Inference Protocol."""

    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]


class Pictures(BaseModel):
    """A request in plain JSON: each image is a PNG file in base64, or nested lists of bytes."""

    images: Annotated[list[str | Rows], Field(min_length=1)]

    def pixels(self, shape: Shape) -> Images:
        """The images (uint8, N x H x W x C).

        Raises:
            BadRequest: one is damaged or has another shape.
        """
        found = []
        for number, image in enumerate(self.images):
            where = f"image {number}"
            pixels = _from_file(image, where) if isinstance(image, str) else _bytes(image)
            if pixels.shape != shape:
                raise BadRequest(
                    f"{where} has the shape {'x'.join(map(str, pixels.shape))}; {_wanted(shape)}"
                )
            found.append(pixels)
        return np.stack(found)


def scores_tensor(scores: Scores) -> dict[str, object]:
    """Scores (N, K) as an output of the Open Inference Protocol."""
    return {
        "name": "scores",
        "datatype": "FP32",
        "shape": scores.shape,
        "data": scores.ravel().tolist(),
    }


def labelled(scores: Scores, contract: Contract) -> list[list[Mapping[str, object]]]:
    """Scores (N, K) as pairs of label and score, highest first: as many as the response shows."""
    kind, _, digits = contract.response.partition("-")
    most = {"label": 1, "top": int(digits or 1)}.get(kind, contract.classes)
    names: Sequence[str] = contract.class_names or [str(k) for k in range(contract.classes)]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return [
        [{"label": names[k], "score": float(row[k])} for k in order]
        for row, order in zip(scores, best, strict=True)
    ]


def _wanted(shape: Shape) -> str:
    return f"the model takes images of {'x'.join(map(str, shape))} (height, width, channels)"


def _bytes(values: Sequence[object]) -> Images:
    try:
        array = numbers(values).astype(np.float64)
    except BadAnswer as error:
        raise BadRequest(f"there is {error.args[0]}") from error
    # NaN fails each comparison.
    if not ((array >= 0) & (array <= 255)).all() or (array != np.floor(array)).any():
        raise BadRequest("pixels are whole numbers from 0 to 255")
    return array.astype(np.uint8)


def _from_file(text: str, where: str) -> Images:
    try:
        return decode(base64.b64decode(text, validate=True), where).pixels
    except BadImages as error:
        raise BadRequest(str(error)) from error
    except ValueError as error:
        raise BadRequest(f"{where} is neither base64 nor nested lists") from error
