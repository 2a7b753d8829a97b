"""What became of a request to a service, and what is said about it."""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import httpx2

from papagaio.blackboxes.retries import Again
from papagaio.errors import BadAnswer, NoAnswer

__all__ = ["Outcome", "complaint", "in_one_line", "outcome_of", "the_cause", "too_late"]

_SHOWN = 200
_REMEDIES: dict[int, tuple[str, str | None]] = {
    401: ("; give the key that it asks for", "headers"),
    403: ("; give a key that is allowed to ask it", "headers"),
    404: ("; check the address and the name of the model", None),
    413: ("; send fewer images in one request", "batch"),
    429: ("; send fewer requests per second", "per_second"),
}
_TRACEBACK = "Traceback (most recent call last):"
# The rest of a string in JSON.
_IN_STRING = re.compile(r'(?:[^"\\]|\\.)*')


@dataclass(frozen=True)
class Outcome:
    """What became of one try.

    Attributes:
        status: of the answer, or None if none came.
        content: the answer, or why none came.
        again: whether it may be sent again.
        broke: whether the service was reached, and failed.
        retry_after: when it asks to be asked again.
        redirect: the address that it names instead.
        remedy: how to fix it, if no answer came.
    """

    status: int | None
    content: bytes
    again: Again
    broke: bool = False
    retry_after: str | None = None
    redirect: str | None = None
    remedy: str = ""


def outcome_of(error: httpx2.RequestError) -> Outcome:
    """The outcome of a try that ended with an error, other than too late."""
    if isinstance(error, httpx2.ConnectError):
        return _not_reached(error)
    passing = isinstance(error, (httpx2.NetworkError, httpx2.RemoteProtocolError))
    return Outcome(None, _named(error), "often" if passing else "never", broke=passing)


def _not_reached(error: httpx2.ConnectError) -> Outcome:
    known = (ssl.SSLError, socket.gaierror)
    cause = next((one for one in _chain(error) if isinstance(one, known)), error)
    again: Again = "never"
    remedy = "; check the address"
    match cause:
        case ssl.SSLCertVerificationError():
            said = f"has a certificate that is not trusted here ({cause.verify_message})"
            remedy += (
                ", or if a company signs its own certificates, name the file with the company's "
                "in the environment variable SSL_CERT_FILE"
            )
        case ssl.SSLError():
            said = f"does not speak HTTPS as this machine does ({cause})"
        case socket.gaierror():
            said = f"is on a host that is not found ({cause.strerror})"
            again = "often" if cause.errno == socket.EAI_AGAIN else "never"
        case _:
            return Outcome(None, _named(error), "often")
    return Outcome(None, said.encode(), again, remedy=remedy)


def too_late(seconds: float) -> Outcome:
    """The outcome of a try that was answered too late, or without end."""
    said = f"has not answered within {seconds:g} seconds"
    return Outcome(None, said.encode(), "once", broke=True, remedy="; allow more time (timeout)")


def complaint(url: str, outcome: Outcome, said: str, tried: int) -> BadAnswer:
    """The error for a request without a usable answer.

    Args:
        url: where it was sent.
        outcome: of its last try.
        said: what came back, in one line.
        tried: how often it was sent.
    """
    error = NoAnswer if outcome.broke else BadAnswer
    times = f" ({tried} tries)" if tried > 1 else ""
    if outcome.status is None:
        return error(f"{url} {said}{times}{outcome.remedy}")
    if outcome.redirect:
        return error(f"{url} redirects to {said}; name that address if it is the one")
    remedy, at = _REMEDIES.get(outcome.status, ("", None))
    words = f"{_words(outcome.status)}{times}: {said or 'nothing'}"
    return error(f"{url} answers {words}{remedy}", field=at)


def the_cause(text: str) -> str:
    """What the last traceback in a text says went wrong, or the text if there is none.

    Servers send tracebacks as they are, or within JSON.
    """
    _, found, trace = text.rpartition(_TRACEBACK)
    if trace.startswith("\\"):
        trace = _unescaped(_IN_STRING.findall(trace)[0])
    # The frames are indented.
    after = [line for line in trace.splitlines() if line.strip() and not line[0].isspace()]
    return after[0] if found and after else text


def in_one_line(text: str) -> str:
    """The beginning of a text, printable and on one line."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 99 * _SHOWN])
    return " ".join(shown.split())[:_SHOWN]


def _named(error: httpx2.RequestError) -> bytes:
    return f"cannot be asked ({type(error).__name__}: {error})".encode()


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _words(status: int) -> str:
    known = {one.value: f"{one.value} {one.phrase}" for one in HTTPStatus}
    return known.get(status, str(status))
