"""A service that answers HTTP requests as a black box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Contract, Declaration
from papagaio.blackboxes.outputs import scores_of
from papagaio.blackboxes.protocols import ServedModel, protocol_of
from papagaio.blackboxes.replies import numbers, one_row_each, parsed
from papagaio.blackboxes.sending import Body, Client, open_client
from papagaio.errors import BadAnswer, BadSettings
from papagaio.vocabulary import Returned

__all__ = ["Exchange", "HttpBox", "contract_of", "open_http"]


@dataclass(frozen=True)
class Exchange:
    """How a service is asked, and what in its answer are the scores.

    Attributes:
        url: where requests are sent; it may hold variables.
        body: what is sent for images, uint8 (N, H, W, C).
        rows: from the JSON value that comes back to nested lists or an array, (N, K) or (N,).
        returned: what these rows are.
    """

    url: str
    body: Callable[[NDArray[np.uint8]], Body]
    rows: Callable[[object], object]
    returned: Returned


@dataclass(frozen=True)
class HttpBox:
    """A service, with its contract and identity."""

    name: str
    identity: str
    contract: Contract
    exchange: Exchange
    client: Client

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Send a request, again where that is likely to help, and read the scores.

        Args:
            images: uint8 (N, H, W, C).

        Returns:
            float32 (N, K).

        Raises:
            BadAnswer: the service refuses or fails, or does not answer with scores.
        """
        url, returned, classes = self.exchange.url, self.exchange.returned, self.contract.classes
        content = self.client.post(url, self.exchange.body(images))
        labels_of = classes if returned == "labels" else None
        try:
            array = numbers(self.exchange.rows(parsed(content)))
            rows = one_row_each(array, len(images), labels_of=labels_of)
        except RecursionError as error:
            raise self._refusal(BadAnswer("lists nested too deeply"), content) from error
        except BadAnswer as error:
            raise self._refusal(error, content) from error
        return scores_of(rows, returned, classes)

    def close(self) -> None:
        """Close its connections."""
        self.client.close()

    def _refusal(self, error: BadAnswer, content: bytes) -> BadAnswer:
        # Both hold what the service sent.
        url = self.exchange.url
        wrong, said = (self.client.shown(url, x) for x in (error.args[0].encode(), content))
        return BadAnswer(f"{url} returns {wrong}: {said}", field=error.field)


def open_http(url: str, declared: Declaration) -> HttpBox:
    """A black box from the address of a service that speaks a known protocol.

    Nothing is sent except a request for the model's metadata, where the protocol has one.

    Args:
        url: `http(s)://HOST/...`, as in `protocols.PROTOCOLS`.
        declared: what its owner states. Without an identity, the URL, the model's version and how
            it is used are taken.

    Raises:
        BadSettings: the URL belongs to no known protocol, the service may not be asked, or neither
            it nor its owner says how it takes images.
        BadAnswer: its metadata cannot be had.
    """
    protocol = protocol_of(url)
    client = open_client(url, declared)
    try:
        return _box_of(url, protocol.describe(url, client, declared), client, declared)
    except BaseException:
        client.close()
        raise


def _box_of(url: str, model: ServedModel, client: Client, declared: Declaration) -> HttpBox:
    stated = replace(declared, layout=declared.layout or model.layout)
    form = model.input.form(stated)
    shape = model.input.shape(form.layout, stated)
    if declared.shape not in (None, shape):
        found = "x".join(map(str, shape))
        raise BadSettings(f"{url} takes images of {found}; state no others", field="input")
    if declared.classes and model.classes not in (None, declared.classes):
        raise BadSettings(f"{url} has {model.classes} classes; leave it out", field="classes")
    stated = replace(stated, shape=shape, classes=declared.classes or model.classes)
    returned = declared.returned or "probabilities"
    exchange = Exchange(model.url, lambda images: model.body(form.of(images)), model.rows, returned)
    used = " ".join(filter(None, (url, model.version, declared.output, str(form), returned)))
    contract = contract_of(url, stated, returned, model.input.axes[0])
    return HttpBox(url, declared.identity or used, contract, exchange, client)


def contract_of(
    name: str,
    declared: Declaration,
    returned: Returned,
    most: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Contract:
    """The contract of a service.

    Args:
        name: what messages call it.
        declared: what its owner states, completed by what the service says.
        returned: what its output is.
        most: the most images that it takes in one request, or None.
        class_names: the names of its classes, or None.

    Raises:
        BadSettings: the shape or the number of classes is not known.
    """
    response = declared.response or ("label" if returned == "labels" else None)
    contract = replace(declared, response=response, returned=returned).contract(name)
    return replace(
        contract,
        batch=min(contract.batch, most or contract.batch),
        class_names=tuple(class_names) if class_names else None,
    )
