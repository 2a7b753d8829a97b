"""`papagaio serve` in a process of its own, for tests and benchmarks."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path

_COMMAND = Path(sys.executable).with_name("papagaio")


class Practice:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @cached_property
    def said(self) -> list[str]:
        """What it prints when it is ready; waits for it."""
        assert self.process.stderr is not None
        return [self.process.stderr.readline() for _ in range(3)]

    @property
    def address(self) -> str:
        """Of its model."""
        (address,) = re.findall(r"http://\S+(?=;)", self.said[0])
        return str(address)

    def usage(self) -> dict[str, float]:
        """Its own account."""
        return usage_of(self.address)


@contextmanager
def practising(black_box: str, *options: object) -> Iterator[Practice]:
    """Start a service on a free port; it ends with the context."""
    words = [str(_COMMAND), "serve", black_box, "--port", "0", *map(str, options)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        yield Practice(process)
    finally:
        process.kill()
        process.communicate()


def usage_of(address: str) -> dict[str, float]:
    """The account of the service at the address of a model."""
    status, _, content = exchanged(address, "/usage", method="GET")
    assert status == 200
    counted: dict[str, float] = json.loads(content)
    return counted


def exchanged(
    address: str, path: str, body: bytes | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of the answer to one request."""
    connection = HTTPConnection(address.split("/")[2], timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
