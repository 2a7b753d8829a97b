"""The conditions under which a service answers: limit, latency, and faults, as ASGI middleware."""

import asyncio
import math
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from papagaio.serving.messages import JsonAnswer
from papagaio.serving.usage import Allowance, Usage

__all__ = ["FAULTS", "Conditions"]

_PIECES, _SECONDS_PER_PIECE = 10, 0.1

# Takes what an ASGI application takes, after the application itself.
Fault = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]


@dataclass
class Conditions:
    """Middleware that keeps each request with images waiting, refuses it, or spoils its answer.

    Attributes:
        app: answers the requests.
        usage: where they are counted.
        allowance: beyond it they are refused.
        latency: seconds before each.
        share: of the requests that meet a fault; which ones, the order of arrival decides.
    """

    app: ASGIApp
    usage: Usage
    allowance: Allowance
    latency: float = 0.0
    share: float = 0.0
    _random: random.Random = field(default_factory=partial(random.Random, 0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        self.usage.requests += 1
        seconds = self.allowance.wait()
        answer: Fault = _undisturbed
        if seconds:
            answer = _refusing(429, lambda: str(math.ceil(seconds)))
        elif self._random.random() < self.share:
            answer = self._random.choice([*FAULTS.values()])
        await asyncio.sleep(self.latency)
        scope.setdefault("state", {})["images"] = 0
        await answer(self.app, scope, receive, send)
        if answer in _KEEP_BACK:
            self.usage.cut_off += scope["state"]["images"]


async def _undisturbed(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _refusing(status: int, retry_after: Callable[[], str] | None = None) -> Fault:
    async def refuse(_: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        # A client that is still sending would see a broken connection, and no answer.
        while (await receive()).get("more_body"):
            pass
        headers = {"Retry-After": retry_after()} if retry_after else {}
        problem = {429: "too many requests", 500: "injected failure", 503: "not available"}
        await JsonAnswer({"error": problem[status]}, status, headers)(scope, receive, send)

    return refuse


def _in_a_second() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)


async def _reset(app: ASGIApp, scope: Scope, receive: Receive, _: Send) -> None:
    """Answer, and close the connection instead of sending the answer."""
    await _collected(app, scope, receive)
    transport = _transport(scope)
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
    await _closed(receive)


async def _slow(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer in pieces, for a second."""
    start, body = await _collected(app, scope, receive)
    await send(start)
    size = math.ceil(len(body) / _PIECES) or 1
    for at in range(0, len(body), size):
        await asyncio.sleep(_SECONDS_PER_PIECE)
        await send(_piece(body[at : at + size], more=True))
    await send(_piece(b"", more=False))


async def _cut_off(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Announce the whole answer, send half of it, and close the connection."""
    start, body = await _collected(app, scope, receive)
    await send(start)
    await send(_piece(body[: len(body) // 2], more=True))
    _transport(scope).close()
    await _closed(receive)


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _collected(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The answer: its beginning and its body."""
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, collect)
    start, *bodies = messages
    return start, b"".join(part.get("body", b"") for part in bodies)


async def _closed(receive: Receive) -> None:
    """Wait, as the server complains about an answer that is missing while it could be sent."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(scope: Scope) -> Any:  # noqa: ANN401  # an asyncio transport
    return scope["state"]["transport"]


FAULTS: dict[str, Fault] = {
    "too many, wait a second": _refusing(429, lambda: "1"),
    "too many, wait until": _refusing(429, _in_a_second),
    "failed": _refusing(500),
    "not available": _refusing(503),
    "reset": _reset,
    "slow": _slow,
    "cut off": _cut_off,
}
_KEEP_BACK = (_reset, _cut_off)
