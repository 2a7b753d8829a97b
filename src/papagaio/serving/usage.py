"""What a service counts, and how many requests it allows."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from papagaio.settings import price_of

__all__ = ["Allowance", "Usage"]


@dataclass
class Usage:
    """The service's own account.

    Attributes:
        price_per_1000: what it charges for 1,000 images, or None.
        requests: requests with images that arrived, whatever became of them.
        images: images that the black box answered; each is charged.
        cut_off: those among them whose answer an injected fault kept from the client.
    """

    price_per_1000: float | None = None
    requests: int = 0
    images: int = 0
    cut_off: int = 0

    @property
    def price(self) -> float | None:
        """What all images cost."""
        return price_of(self.images, self.price_per_1000)


class Allowance:
    """At most a number of requests per second, with those of one second in reserve."""

    def __init__(
        self, per_second: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most = max(1.0, per_second or 0.0)
        self._left = self._most
        self._at = clock()

    def wait(self) -> float:
        """Take one request and return 0, or return the seconds until there is one."""
        if self._per_second is None:
            return 0.0
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._per_second
        self._left -= 1
        return 0.0
