"""Sending requests to a service, within limits, and saying in one line what went wrong."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address

import httpx2

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.retries import Again, RateLimit, Tries, again_after, pause
from papagaio.blackboxes.variables import Header, check_parameters, filled, hidden, parsed_headers
from papagaio.errors import BadAnswer, BadSettings

__all__ = ["Body", "Client", "open_client"]

_CONNECT_SECONDS = 10.0
_MOST_BYTES = 50 * 2**20
_SHOWN = 200

# A service that fails on most of the first requests is asked in a wrong way.
_FIRST, _FAILED_OF_FIRST = 5, 3

_REMEDIES: dict[int, tuple[str, str | None]] = {
    401: ("; give the key that it asks for", "headers"),
    403: ("; give a key that is allowed to ask it", "headers"),
    404: ("; check the address and the name of the model", None),
    413: ("; send fewer images in one request", "batch"),
    429: ("; send fewer requests per second", "per_second"),
}

Wait = Callable[[float], object]


@dataclass(frozen=True)
class Body:
    """What a request holds."""

    content: bytes
    kind: str = "application/json"


@dataclass(frozen=True)
class _Reply:
    """What came back: a status and a text; or no status, and as a text why nothing came."""

    status: int | None
    content: bytes
    again: Again
    retry_after: str | None = None
    redirect: str | None = None


@dataclass
class Client:
    """Sends requests, from any number of threads.

    Attributes:
        http: the client that carries them.
        headers: of each request, with variables in place of secrets.
        timeout: seconds that a whole answer may take.
        rate: shared by all requests, also those that are sent again.
        wait: called with the seconds to wait.
    """

    http: httpx2.Client
    headers: tuple[Header, ...]
    timeout: float
    rate: RateLimit
    wait: Wait = time.sleep
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _requests: int = 0
    _failed: set[int] = field(default_factory=set)

    def get(self, url: str) -> bytes:
        """What the service answers at a URL; see `post`."""
        return self._answered("GET", url, None)

    def post(self, url: str, body: Body) -> bytes:
        """What the service answers to a request.

        Args:
            url: where to; it may hold variables.
            body: what to send, the same each time that it is sent again.

        Raises:
            BadAnswer: the service refuses, fails, redirects, is too slow or answers too much, after
                the number of tries that its failure deserves.
            BadSettings: a variable is not set.
        """
        return self._answered("POST", url, body)

    def shown(self, url: str, content: bytes) -> str:
        """The beginning of what came back from a URL, on one line and without secrets."""
        text = content.decode(errors="replace")
        if text.startswith("Traceback"):
            # Its last line says what went wrong.
            text = text.rstrip().rpartition("\n")[2]
        templates = (url, *(header.value for header in self.headers))
        return _in_one_line(hidden(text, *templates))

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def _answered(self, method: str, url: str, body: Body | None) -> bytes:
        with self._lock:
            number = self._requests
            self._requests += 1
        tries = Tries()
        while True:
            self._stop_if_broken(url)
            self.wait(self.rate.turn())
            reply = self._sent(method, url, body)
            if reply.status is not None and 200 <= reply.status < 300:
                return reply.content
            if reply.status == 500 and number < _FIRST:
                with self._lock:
                    self._failed.add(number)
            if not tries.allow_another(reply.again):
                raise self._complaint(url, reply, tries.number)
            self._stop_if_broken(url)
            self.wait(pause(reply.retry_after, tries.number))

    def _stop_if_broken(self, url: str) -> None:
        if len(self._failed) >= _FAILED_OF_FIRST:
            raise BadAnswer(
                f"{url} failed (500) on {_FAILED_OF_FIRST} of the first {_FIRST} requests and is "
                "not asked any more; check that it gets images as its model takes them"
            )

    def _sent(self, method: str, url: str, body: Body | None) -> _Reply:
        """The reply to one try."""
        headers = {header.name: filled(header.value) for header in self.headers}
        # Compressed, a small answer could become a large one.
        headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}
        if body:
            headers["Content-Type"] = body.kind
        content = body.content if body else None
        until = time.monotonic() + self.timeout
        try:
            with self.http.stream(method, filled(url), content=content, headers=headers) as reply:
                return self._read(reply, until)
        except httpx2.TimeoutException as error:
            if isinstance(error, httpx2.ConnectTimeout):
                return _Reply(None, b"cannot be reached", "often")
            return self._too_late()
        except httpx2.RequestError as error:
            reason = f"{type(error).__name__}: {error}"
            passing = isinstance(error, (httpx2.NetworkError, httpx2.RemoteProtocolError))
            again: Again = "often" if passing and "certificate" not in reason.lower() else "never"
            return _Reply(None, f"cannot be asked ({reason})".encode(), again)

    def _read(self, response: httpx2.Response, until: float) -> _Reply:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                return _Reply(None, f"answers more than {_MOST_BYTES:,} bytes".encode(), "never")
            if time.monotonic() > until:
                return self._too_late()
        status, headers = response.status_code, response.headers
        target = headers.get("location") if 300 <= status < 400 else None
        again = again_after(status)
        return _Reply(status, b"".join(parts), again, headers.get("retry-after"), target)

    def _too_late(self) -> _Reply:
        said = f"has not answered within {self.timeout:g} seconds; allow more time (timeout)"
        return _Reply(None, said.encode(), "once")

    def _complaint(self, url: str, reply: _Reply, tried: int) -> BadAnswer:
        times = f" ({tried} tries)" if tried > 1 else ""
        said = self.shown(url, reply.content)
        if reply.status is None:
            return BadAnswer(f"{url} {said}{times}")
        if reply.redirect:
            target = self.shown(url, reply.redirect.encode())
            return BadAnswer(f"{url} redirects to {target}; name that address if it is the one")
        remedy, at = _REMEDIES.get(reply.status, ("", None))
        words = f"{_words(reply.status)}{times}: {said or 'nothing'}"
        return BadAnswer(f"{url} answers {words}{remedy}", field=at)


def open_client(url: str, declared: Declaration, wait: Wait = time.sleep) -> Client:
    """A client for one service.

    Args:
        url: its address.
        declared: headers, limits, and who allows that it is asked.
        wait: called with the seconds to wait.

    Raises:
        BadSettings: the URL is none of HTTP or holds a password, the service is on another machine
            and nobody is named who allows that it is asked, or a header or variable is wrong.
    """
    parsed = _address(url)
    local = _is_this_machine(parsed.host)
    if not local and not (declared.authorised_by or "").strip():
        raise BadSettings(
            f"{parsed.host} is another machine; name who allows that it is asked",
            field="authorised_by",
        )
    headers = parsed_headers(declared.headers)
    most = declared.concurrency
    http = httpx2.Client(
        timeout=httpx2.Timeout(declared.timeout, connect=min(_CONNECT_SECONDS, declared.timeout)),
        limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
        follow_redirects=False,
        # This machine is never asked through a proxy.
        trust_env=not local,
    )
    return Client(http, headers, declared.timeout, RateLimit(declared.per_second), wait)


def _address(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(filled(url))
    except httpx2.InvalidURL as error:
        raise BadSettings(f"{url} is no address ({error})") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadSettings(f"{url} is no address of a service: write http(s)://HOST/PATH")
    if parsed.userinfo:
        raise BadSettings(
            "the address holds a password, which would be stored; give it in a header, as "
            "'Authorization: Basic ${VARIABLE}'",
            field="headers",
        )
    check_parameters(url)
    return parsed


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(status: int) -> str:
    known = {one.value: f"{one.value} {one.phrase}" for one in HTTPStatus}
    return known.get(status, str(status))


def _in_one_line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 99 * _SHOWN])
    return " ".join(shown.split())[:_SHOWN]
