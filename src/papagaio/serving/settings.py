"""The settings of `papagaio serve`. Each is defined once, here; see `options`."""

from typing import Annotated

from pydantic import Field

from papagaio.options import Option
from papagaio.settings import BlackBoxOptions
from papagaio.vocabulary import Response

__all__ = ["ServeOptions"]

_SERVICE = "Service"


class ServeOptions(BlackBoxOptions):
    """All settings of `papagaio serve`."""

    port: Annotated[int, Option(_SERVICE, "N")] = Field(default=8000, ge=0, le=65535)
    """The port of this machine's own address, 127.0.0.1, at which it answers; 0 takes a free
    one."""

    shows: Annotated[Response | None, Option(_SERVICE, "RESPONSE", "all of it")] = None
    """What the service shows of the black box's answers, which are probabilities unless it declares
    itself that they are less: probabilities, rounded-3, rounded-2, rounded-1, top-5, top-3, top-1,
    label."""

    price_per_1000: Annotated[float | None, Option(_SERVICE, "PRICE")] = Field(
        default=None, ge=0, allow_inf_nan=False
    )
    """What it charges for 1,000 images; GET /usage has its account."""

    requests_per_second: Annotated[float | None, Option(_SERVICE, "N", "no limit")] = Field(
        default=None, gt=0, allow_inf_nan=False
    )
    """The most requests per second; one beyond them is answered with 429 and Retry-After."""

    latency: Annotated[float, Option(_SERVICE, "SECONDS")] = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )
    """How long each request waits before it is answered."""

    faults: Annotated[float, Option(_SERVICE, "SHARE")] = Field(default=0.0, ge=0, le=1)
    """The share of requests that meet one of seven faults: 429 with Retry-After in seconds or as a
    date, 500, 503, a connection that is reset, a slow answer, or one that is cut off."""
