"""When a request to a service may be sent, and when it may be sent again."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

__all__ = ["Again", "RateLimit", "Tries", "again_after", "pause"]

# Whether a request may be sent again: often to a service that is busy; once to one that failed,
# perhaps over what it was sent; never where the same would come back.
Again = Literal["often", "once", "never"]

_BUSY = {408, 425, 429, 502, 503, 504}
_MOST_TRIES = 5
_LONGEST_PAUSE = 300.0


class Tries:
    """The tries of one request."""

    def __init__(self) -> None:
        self.number = 0
        self._failures = 0

    def allow_another(self, again: Again) -> bool:
        """Count a try; return whether another one may follow."""
        self.number += 1
        self._failures += again == "once"
        return again != "never" and self.number < _MOST_TRIES and self._failures < 2


class RateLimit:
    """At most a number of requests per second, over all threads."""

    def __init__(
        self, per_second: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
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


def again_after(status: int) -> Again:
    """Whether a request that was answered with this status may be sent again."""
    if status in _BUSY:
        return "often"
    return "once" if status == 500 else "never"


def pause(asked: str | None, tried: int) -> float:
    """Seconds until the next try.

    Args:
        asked: the header `Retry-After`: seconds or a date (RFC 9110, section 10.2.3), or None.
        tried: how often the request was sent.

    Returns:
        what the service asks for, at most five minutes; otherwise longer after each try.
    """
    if asked and asked.strip().isdecimal():
        return min(float(asked), _LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(asked or "").astimezone(UTC) - datetime.now(UTC)
    except ValueError:
        # Threads that failed together do not come back together.
        return 3.0 ** (tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
    return min(max(until.total_seconds(), 0.0), _LONGEST_PAUSE)
