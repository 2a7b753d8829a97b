"""Sending requests to a service: limits, and which failures are tried again."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address

import httpx2

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.variables import Header, filled, hidden, parsed_headers
from papagaio.errors import BadAnswer, BadSettings

__all__ = ["Body", "Client", "RateLimit", "open_client"]

_CONNECT_SECONDS = 10.0
_MOST_BYTES = 50 * 2**20
_SHOWN = 200

# How often a request is sent at most: to a busy service, and to one that may have failed over what
# it was sent. Whatever else goes wrong goes wrong again.
_BUSY = {408, 425, 429, 502, 503, 504}
_TRIES_IF_BUSY, _TRIES_IF_FAILED = 5, 2
_LONGEST_WAIT = 300.0
# A service that fails on most of the first requests is asked in a wrong way.
_FIRST, _FAILED_OF_FIRST = 5, 3

_REMEDIES: dict[int, tuple[str, str | None]] = {
    401: ("give the key that it asks for", "headers"),
    403: ("give a key that is allowed to ask it", "headers"),
    404: ("check the address and the name of the model", None),
    413: ("send fewer images in one request", "batch"),
    429: ("send fewer requests per second", "per_second"),
}

Clock = Callable[[], float]
Wait = Callable[[float], object]


@dataclass(frozen=True)
class Body:
    """What a request holds."""

    content: bytes
    kind: str = "application/json"


@dataclass(frozen=True)
class _Reply:
    """What came back: a status and a text, or no status and the reason why nothing came."""

    status: int | None
    content: bytes = b""
    retry_after: str | None = None
    redirect: str | None = None
    problem: str = ""
    tries: int = 1


class RateLimit:
    """At most a number of requests per second, over all threads."""

    def __init__(self, per_second: float | None, clock: Clock = time.monotonic) -> None:
        self._pause = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._next = float("-inf")
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn; return the seconds until it comes."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._pause
            return turn - now


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

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def _answered(self, method: str, url: str, body: Body | None) -> bytes:
        with self._lock:
            number = self._requests
            self._requests += 1
        tried = 0
        while True:
            if self._is_broken:
                raise BadAnswer(
                    f"{url} failed (500) on {_FAILED_OF_FIRST} of the first {_FIRST} requests and "
                    "is not asked any more; check that it gets images as its model takes them"
                )
            self.wait(self.rate.turn())
            reply = self._sent(method, url, body)
            tried += 1
            if reply.status is not None and 200 <= reply.status < 300:
                return reply.content
            if reply.status == 500 and number < _FIRST:
                with self._lock:
                    self._failed.add(number)
            if tried >= reply.tries:
                raise self._complaint(url, reply, tried)
            if not self._is_broken:
                self.wait(_pause(reply, tried))

    @property
    def _is_broken(self) -> bool:
        return len(self._failed) >= _FAILED_OF_FIRST

    def _sent(self, method: str, url: str, body: Body | None) -> _Reply:
        """The reply to one try."""
        headers = {header.name: filled(header.value) for header in self.headers}
        # Compressed, a small answer could become a large one.
        headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}
        if body:
            headers["Content-Type"] = body.kind
        until = time.monotonic() + self.timeout
        try:
            with self.http.stream(
                method, filled(url), content=body.content if body else None, headers=headers
            ) as response:
                return self._read(response, until)
        except httpx2.TimeoutException as error:
            if isinstance(error, httpx2.ConnectTimeout):
                return _Reply(None, problem="cannot be reached", tries=_TRIES_IF_BUSY)
            return self._too_late()
        except httpx2.InvalidURL as error:
            return _Reply(None, problem=f"is no address ({error})")
        except httpx2.RequestError as error:
            reason = _in_one_line(f"{type(error).__name__}: {error}")
            again = isinstance(error, httpx2.TransportError) and "certificate" not in reason.lower()
            tries = _TRIES_IF_BUSY if again else 1
            return _Reply(None, problem=f"cannot be asked ({reason})", tries=tries)

    def _read(self, response: httpx2.Response, until: float) -> _Reply:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                return _Reply(None, problem=f"answers more than {_MOST_BYTES:,} bytes")
            if time.monotonic() > until:
                return self._too_late()
        status = response.status_code
        return _Reply(
            status,
            b"".join(parts),
            response.headers.get("retry-after"),
            response.headers.get("location") if 300 <= status < 400 else None,
            tries={500: _TRIES_IF_FAILED}.get(status, _TRIES_IF_BUSY if status in _BUSY else 1),
        )

    def _too_late(self) -> _Reply:
        problem = f"has not answered within {self.timeout:g} seconds; allow more time (timeout)"
        return _Reply(None, problem=problem, tries=_TRIES_IF_FAILED)

    def shown(self, url: str, content: bytes) -> str:
        """The beginning of what came back from a URL, on one line and without secrets."""
        templates = (url, *(header.value for header in self.headers))
        return _in_one_line(hidden(content.decode(errors="replace"), *templates))

    def _complaint(self, url: str, reply: _Reply, tried: int) -> BadAnswer:
        times = f", {tried} times" if tried > 1 else ""
        if reply.status is None:
            return BadAnswer(f"{url} {self.shown(url, reply.problem.encode())}{times}")
        if reply.redirect:
            target = self.shown(url, reply.redirect.encode())
            return BadAnswer(f"{url} redirects to {target}; name that address if it is the one")
        said = self.shown(url, reply.content)
        remedy, at = _REMEDIES.get(reply.status, ("", None))
        end = f"; {remedy}" if remedy else ""
        return BadAnswer(
            f"{url} answers {_words(reply.status)}{times}: {said or 'nothing'}{end}", field=at
        )


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
    local = _is_this_machine(parsed.host)
    if not local and not (declared.authorised_by or "").strip():
        raise BadSettings(
            f"{parsed.host} is another machine; name who allows that it is asked",
            field="authorised_by",
        )
    most = declared.concurrency
    http = httpx2.Client(
        timeout=httpx2.Timeout(declared.timeout, connect=min(_CONNECT_SECONDS, declared.timeout)),
        limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
        follow_redirects=False,
        # This machine is never asked through a proxy.
        trust_env=not local,
    )
    headers = parsed_headers(declared.headers)
    return Client(http, headers, declared.timeout, RateLimit(declared.per_second), wait)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pause(reply: _Reply, tried: int) -> float:
    """Seconds until the next try: what the service asks for, or longer each time."""
    asked = reply.retry_after
    if asked and asked.strip().isdecimal():
        return min(float(asked), _LONGEST_WAIT)
    if asked:
        try:
            when = parsedate_to_datetime(asked)
        except ValueError:
            pass
        else:
            seconds = (when.astimezone(UTC) - datetime.now(UTC)).total_seconds()
            return min(max(seconds, 0.0), _LONGEST_WAIT)
    # Threads that failed together do not come back together.
    return float(3 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret


def _words(status: int) -> str:
    names: Iterator[str] = (one.phrase for one in HTTPStatus if one == status)
    return f"{status} {next(names, '')}".strip()


def _in_one_line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:_SHOWN]
