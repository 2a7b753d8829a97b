"""A service that a TOML file describes: how it takes images, and where the scores are."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import jmespath
import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.description import MANY, ONE, WITHIN, Description
from papagaio.blackboxes.json_arrays import json_of
from papagaio.blackboxes.pixels import PixelForm
from papagaio.blackboxes.sending import Body, open_client
from papagaio.blackboxes.service import Exchange, HttpBox, contract_of
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.png import png
from papagaio.options import read_toml, validated

__all__ = ["open_described"]

Images = NDArray[np.uint8]


def open_described(path: str, declared: Declaration) -> HttpBox:
    """A black box from a TOML file that describes a service. Nothing is sent.

    Args:
        path: the file; `Description` has its keys.
        declared: what its owner states. It wins over the file. Without an identity, the URL and a
            digest of what decides an answer are taken.

    Raises:
        BadSettings: the file is wrong, or neither it nor the owner states what is needed.
    """
    used = [field.name for field in fields(declared) if field.name != "output"]
    declared.refuse_unused(path, *used)
    keys = read_toml(Path(path))
    if "black-box" in keys:
        raise BadSettings(f"{path} holds options and names a black box itself: give it as config")
    described = validated(Description, keys, lambda name: f"{path}: {name}")
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
    identity = f"{described.url} {described.digest} {form or 'png'} {returned}"
    client = open_client(described.url, stated)
    return HttpBox(path, declared.identity or identity, contract, exchange, client)


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
        return lambda images: Body(png(images[0]), "image/png")
    if described.image == "multipart":
        return lambda images: _multipart(str(described.field), png(images[0]))
    template = described.template
    if described.takes_one and form:
        return lambda images: Body(template.replace(ONE, json_of(form.of(images)[0])).encode())
    if described.takes_one:
        return lambda images: Body(template.replace(WITHIN, _base64(images[0])).encode())
    if form:
        return lambda images: Body(template.replace(MANY, json_of(form.of(images))).encode())
    return lambda images: Body(
        template.replace(MANY, json.dumps([_base64(image) for image in images])).encode()
    )


def _base64(image: Images) -> str:
    return base64.b64encode(png(image)).decode()


def _multipart(field: str, file: bytes) -> Body:
    boundary = uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    content = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return Body(content, f"multipart/form-data; boundary={boundary}")


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
