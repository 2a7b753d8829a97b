"""The log of a run: its seconds over all sessions, and what a kill may do to its last line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from papagaio.auditing import log as module
from papagaio.auditing.log import Log


@dataclass
class Clock:
    """Stands where the module has `time`."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def session(tmp_path: Path, clock: Clock) -> Callable[..., Log]:
    def work(*seconds: float) -> Log:
        log = Log(tmp_path / "log.jsonl")
        log.note("started")
        for more in seconds:
            clock.now += more
            log.note("trained")
        return log

    return work


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_line_is_json_with_time_second_and_event(
    tmp_path: Path, session: Callable[..., Log]
) -> None:
    session(1.25, 2).note("ended", complete=True, name="ara\nmacao é")
    found = lines(tmp_path / "log.jsonl")
    assert [line["event"] for line in found] == ["started", "trained", "trained", "ended"]
    assert [line["second"] for line in found] == [0, 1.25, 3.25, 3.25]
    assert found[-1]["complete"] is True
    assert found[-1]["name"] == "ara\nmacao é"
    for line in found:
        assert list(line)[:3] == ["at", "second", "event"]
        age = datetime.now(UTC) - datetime.fromisoformat(line["at"])
        assert timedelta(seconds=-1) < age < timedelta(minutes=1)


def test_seconds_of_a_first_session_run_with_the_clock(
    clock: Clock, session: Callable[..., Log]
) -> None:
    log = session(1.5)
    clock.now += 0.25
    assert log.seconds == 1.75


def test_seconds_add_up_over_sessions_and_not_over_the_time_between(
    clock: Clock, session: Callable[..., Log]
) -> None:
    session(2, 3)
    clock.now += 500
    session(7)
    clock.now += 500
    assert session(1).seconds == 13


def test_a_session_that_only_started_adds_nothing(
    clock: Clock, session: Callable[..., Log]
) -> None:
    session(4)
    session()
    clock.now += 60
    assert session().seconds == 4


@pytest.mark.parametrize("kept", [1, 9, 40, -2, -1])
def test_a_line_cut_short_by_a_kill_does_not_swallow_the_next_session(
    tmp_path: Path, session: Callable[..., Log], kept: int
) -> None:
    path = tmp_path / "log.jsonl"
    session(2, 3)
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*whole, last[:kept]]))
    log = session(1)
    # All but its line break: such a line is whole.
    assert log.seconds == (6 if kept == -1 else 3)
    assert [json.loads(line)["second"] for line in path.read_text().splitlines()[-2:]] == [0, 1]
    assert path.read_bytes().startswith(b"".join([*whole, last[:kept]]) + b"\n{")


def test_an_empty_log_is_a_new_one(tmp_path: Path, session: Callable[..., Log]) -> None:
    (tmp_path / "log.jsonl").touch()
    assert session(2).seconds == 2
    assert len(lines(tmp_path / "log.jsonl")) == 2
