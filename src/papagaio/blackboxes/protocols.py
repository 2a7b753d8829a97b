"""The protocols that services are known to speak; each is one function and one line in a table."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.inputs import ImageInput
from papagaio.blackboxes.json_arrays import json_of
from papagaio.blackboxes.model_file import the_output
from papagaio.blackboxes.replies import at, numbers, parsed
from papagaio.blackboxes.sending import Body, Client
from papagaio.errors import BadAnswer, BadSettings
from papagaio.vocabulary import Layout

__all__ = ["PROTOCOLS", "Protocol", "ServedModel", "protocol_of"]

Pixels = NDArray[np.generic]

_OPEN = (None, None, None, None)
_DTYPES = {"FP32": "float32", "FP16": "float16", "FP64": "float64", "UINT8": "uint8"}


@dataclass(frozen=True)
class ServedModel:
    """A model behind a service.

    Attributes:
        url: where images are sent.
        input: what is known of its input.
        body: what is sent for pixels in the form that the model takes.
        rows: from the JSON value that comes back to rows of numbers.
        layout: of its input, where the protocol has a usual one.
        classes: how many it has, if it says so.
        version: its version, if it says so.
    """

    url: str
    input: ImageInput
    body: Callable[[Pixels], Body]
    rows: Callable[[object], object]
    layout: Layout | None = None
    classes: int | None = None
    version: str | None = None


@dataclass(frozen=True)
class Protocol:
    """A protocol: the addresses that it is known by, and how a model behind one is described."""

    pattern: str
    example: str
    describe: Callable[[str, Client, Declaration], ServedModel]


def protocol_of(url: str) -> Protocol:
    """The protocol that an address belongs to.

    Raises:
        BadSettings: to none.
    """
    for protocol in PROTOCOLS:
        if re.fullmatch(rf"https?://[^/?#]+(/[^?#]*)?{protocol.pattern}", url):
            return protocol
    known = ", ".join(protocol.example for protocol in PROTOCOLS)
    raise BadSettings(
        f"{url}: an address ends in {known}; describe any other service in a TOML file"
    )


def _open_inference(url: str, client: Client, declared: Declaration) -> ServedModel:
    """A model behind the Open Inference Protocol, version 2."""
    url = url.rstrip("/").removesuffix("/infer")
    try:
        metadata = parsed(client.get(url))
    except BadAnswer as error:
        raise type(error)(f"metadata of {url}: {error.args[0]}", field=error.field) from error
    if not isinstance(metadata, Mapping):
        raise BadAnswer(f"metadata of {url}: no JSON object")
    given, *others = _tensors(metadata, "inputs") or [{}]
    outputs = _tensors(metadata, "outputs")
    if others:
        names = ", ".join(str(one.get("name")) for one in (given, *others))
        raise BadSettings(f"{url} has the inputs {names}; it has to take images only")
    datatype = str(given.get("datatype", "FP32"))
    if datatype not in _DTYPES:
        raise BadSettings(f"{url} takes {datatype}; it has to take {', '.join(_DTYPES)}")
    wanted, classes = declared.output, None
    if outputs:
        wanted = the_output(url, [str(one.get("name")) for one in outputs], wanted)
        axes = _axes(next(one for one in outputs if str(one.get("name")) == wanted))
        classes = axes[1] if len(axes) == 2 else None
    versions = metadata.get("versions")
    return ServedModel(
        f"{url}/infer",
        ImageInput(url, _axes(given) or _OPEN, _DTYPES[datatype]),
        partial(_tensor, str(given.get("name", "input")), datatype),
        partial(_output_tensor, wanted),
        layout=None if given else "nhwc",
        classes=classes if classes and classes > 1 else None,
        version=",".join(map(str, versions)) if isinstance(versions, list) else None,
    )


def _tensors(metadata: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    tensors = metadata.get(name)
    return [one for one in tensors if isinstance(one, dict)] if isinstance(tensors, list) else []


def _axes(tensor: Mapping[str, Any]) -> tuple[int | None, ...]:
    sizes = tensor.get("shape")
    if not isinstance(sizes, list):
        return ()
    return tuple(size if isinstance(size, int) and size > 0 else None for size in sizes)


def _tensor(name: str, datatype: str, pixels: Pixels) -> Body:
    # Some servers fail without an id.
    asked = {"id": str(uuid4()), "inputs": [{"name": name, "datatype": datatype}]}
    tensor = f', "shape": {json.dumps(pixels.shape)}, "data": {json_of(pixels.ravel())}}}]}}'
    return Body((json.dumps(asked).removesuffix("}]}") + tensor).encode())


def _output_tensor(wanted: str | None, answer: object) -> Pixels:
    outputs = at(answer, "outputs")
    if not isinstance(outputs, Sequence) or not all(isinstance(one, dict) for one in outputs):
        raise BadAnswer("outputs that are no tensors")
    names = [str(one.get("name")) for one in outputs]
    chosen = [one for one in outputs if wanted in (None, one.get("name"))]
    if len(chosen) != 1:
        listed = ", ".join(names) or "none"
        raise BadAnswer(f"the outputs {listed}; name the one with the scores", field="output")
    data, shape = numbers(at(chosen[0], "data")), at(chosen[0], "shape")
    try:
        return data.reshape(shape)  # type: ignore[call-overload,no-any-return]  # any value
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"{data.size} numbers in an output of shape {shape}") from error


def _instances(name: str, url: str, _: Client, declared: Declaration) -> ServedModel:
    """A model that takes nested lists under a name, and answers with rows of predictions."""
    # Whole numbers are right for a model that takes floats, and needed by one that takes bytes.
    dtype = "uint8" if declared.scale == "0..255" else "float32"
    return ServedModel(
        url,
        ImageInput(url, _OPEN, dtype),
        lambda pixels: Body(f'{{"{name}": {json_of(pixels)}}}'.encode()),
        partial(_predictions, declared.output),
        layout="nhwc",
    )


def _predictions(wanted: str | None, answer: object) -> object:
    rows = answer if isinstance(answer, list) else at(answer, "predictions")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return rows
    # A model with several outputs.
    if wanted is None and len(rows[0]) > 1:
        names = ", ".join(map(str, rows[0]))
        raise BadAnswer(f"the outputs {names}; name the one with the scores", field="output")
    return [at(row, wanted or next(iter(rows[0]), "")) for row in rows]


PROTOCOLS = (
    Protocol(r"/v2/models/[^/]+(/versions/[^/]+)?(/infer)?/?", "/v2/models/NAME", _open_inference),
    Protocol(
        r"/v1/models/[^?#]+:predict", "/v1/models/NAME:predict", partial(_instances, "instances")
    ),
    Protocol(r"/invocations", "/invocations", partial(_instances, "inputs")),
)
