"""`log.jsonl`: what a run did and when, a line an event; runs that go on later add to it."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Log"]


class Log:
    """The log of one session of a run; earlier sessions' lines stay before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = time.monotonic()
        self._before = sum(_sessions(path))
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            # A kill cut the last line short: the next one must not be taken for its rest.
            path.write_bytes(path.read_bytes() + b"\n")

    @property
    def seconds(self) -> float:
        """How long the run has been worked on, earlier sessions included."""
        return round(self._before + time.monotonic() - self._start, 3)

    def note(self, event: str, **facts: object) -> None:
        """Add a line."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "second": round(time.monotonic() - self._start, 3),
            "event": event,
            **facts,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _sessions(path: Path) -> list[float]:
    """How long each earlier session was seen to be at work, in seconds."""
    seconds: list[float] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # a line cut short by a kill
            continue
        if event["event"] == "started":
            seconds.append(0.0)
        elif seconds:
            seconds[-1] = event["second"]
    return seconds
