"""Sending requests to a service, within limits, and saying in one line what went wrong."""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx2

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.outcomes import (
    Outcome,
    complaint,
    in_one_line,
    outcome_of,
    the_cause,
    too_late,
)
from papagaio.blackboxes.retries import RateLimit, Tries, again_after, pause
from papagaio.blackboxes.variables import Header, check_parameters, filled, hidden, parsed_headers
from papagaio.errors import BadSettings, NoAnswer

__all__ = ["Body", "Client", "open_client"]

_CONNECT_SECONDS = 10.0
_MOST_BYTES = 50 * 2**20

# A service that fails on most of the first requests is asked in a wrong way.
_FIRST, _FAILED_OF_FIRST = 5, 3

Wait = Callable[[float], object]


@dataclass(frozen=True)
class Body:
    """What a request holds."""

    content: bytes
    kind: str = "application/json"


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
            BadAnswer: the service refuses, redirects or cannot be reached, after the number of
                tries that this deserves.
            NoAnswer: it fails, is too slow or answers too much, in the same way.
            BadSettings: a variable is not set.
        """
        return self._answered("POST", url, body)

    def shown(self, url: str, content: bytes) -> str:
        """What came back from a URL, on one line and without secrets.

        Of a traceback it is what went wrong, of anything else the beginning.
        """
        templates = (url, *(header.value for header in self.headers))
        return in_one_line(hidden(the_cause(content.decode(errors="replace")), *templates))

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
            outcome = self._sent(method, url, body)
            if outcome.status is not None and 200 <= outcome.status < 300:
                return outcome.content
            if outcome.status == 500 and number < _FIRST:
                with self._lock:
                    self._failed.add(number)
            if not tries.allow_another(outcome.again):
                said = outcome.redirect.encode() if outcome.redirect else outcome.content
                raise complaint(url, outcome, self.shown(url, said), tries.number)
            self._stop_if_broken(url)
            self.wait(pause(outcome.retry_after, tries.number))

    def _stop_if_broken(self, url: str) -> None:
        if len(self._failed) >= _FAILED_OF_FIRST:
            raise NoAnswer(
                f"{url} failed (500) on {_FAILED_OF_FIRST} of the first {_FIRST} requests and is "
                "not asked any more; check that it gets images as its model takes them"
            )

    def _sent(self, method: str, url: str, body: Body | None) -> Outcome:
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
        except httpx2.ConnectTimeout:
            return Outcome(None, b"cannot be reached", "often")
        except httpx2.TimeoutException:
            return too_late(self.timeout)
        except httpx2.RequestError as error:
            return outcome_of(error)

    def _read(self, response: httpx2.Response, until: float) -> Outcome:
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                said = f"answers more than {_MOST_BYTES:,} bytes"
                return Outcome(None, said.encode(), "never", broke=True)
            if time.monotonic() > until:
                return too_late(self.timeout)
        status, headers = response.status_code, response.headers
        return Outcome(
            status,
            b"".join(parts),
            again_after(status),
            broke=status >= 500,
            retry_after=headers.get("retry-after"),
            redirect=headers.get("location") if 300 <= status < 400 else None,
        )


def open_client(url: str, declared: Declaration, wait: Wait = time.sleep) -> Client:
    """A client for one service.

    Args:
        url: its address.
        declared: headers, limits, and who allows that it is asked.
        wait: called with the seconds to wait.

    Raises:
        BadSettings: the URL is none of HTTP or holds a password, the service is on another machine
            and nobody is named who allows that it is asked, a header or variable is wrong, or the
            certificates to trust cannot be read.
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
        verify=_trusted(),
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


def _trusted() -> ssl.SSLContext:
    """The certificates that this machine trusts, or those that SSL_CERT_FILE names instead."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise BadSettings(
            "the environment variable SSL_CERT_FILE or SSL_CERT_DIR names certificates that cannot "
            f"be read ({error}); correct it"
        ) from error


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
