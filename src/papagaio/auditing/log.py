"""`log.jsonl`: one line per event of a run; a resumed run adds to it."""

import json
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Log", "command_line", "first_time"]


class Log:
    """The log of one session of a run; earlier sessions' lines come before it.

    Attributes:
        begun: when the run's first session began (UTC, ISO 8601).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = time.monotonic()
        self._before = sum(_sessions(path))
        self.begun = first_time(path) or _now()
        text = path.read_bytes() if path.exists() else b""
        if text and not text.endswith(b"\n"):
            # A kill cut the last line short: the next one must not be taken for its rest.
            with path.open("ab") as file:
                file.write(b"\n")

    @property
    def seconds(self) -> float:
        """How long the run has been worked on, earlier sessions included."""
        return round(self._before + time.monotonic() - self._start, 3)

    def note(self, event: str, **facts: object) -> None:
        """Add a line."""
        line = {
            "at": _now(),
            "second": round(time.monotonic() - self._start, 3),
            "event": event,
            **facts,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _sessions(path: Path) -> list[float]:
    """How long each earlier session worked, by the times of its lines, in seconds."""
    seconds: list[float] = []
    for event in _events(path):
        if event["event"] == "started":
            seconds.append(0.0)
        elif seconds:
            seconds[-1] = event["second"]
    return seconds


def first_time(path: Path) -> str | None:
    """When the first session of a log began (UTC, ISO 8601); None where there is no log."""
    return next((str(event["at"]) for event in _events(path)), None)


def _events(path: Path) -> list[dict[str, Any]]:
    events = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:  # a line cut short by a kill
            continue
    return events


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def command_line() -> str:
    """The command line of this process, as a user would type it."""
    name = Path(sys.argv[0]).name
    started = ["python", "-m", "papagaio"] if name == "__main__.py" else [name]
    return shlex.join([*started, *sys.argv[1:]])
