"""Progress: plain lines where nobody watches, live bars on a terminal, and stdout left alone."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from rich.console import Console

from papagaio.cli import progress as cli_progress
from papagaio.cli.progress import show_progress
from papagaio.progress import Message, Progress, Step

COLOUR = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[\d;]*)?m")
STYLE = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")

WATCHED = """
from papagaio.cli.progress import show_progress
from papagaio.progress import Step

with show_progress() as progress:
    for seed in range(2):
        progress(Step("training", seed, 2, "cells"))
        for epoch in range(1, 4):
            progress(Step("labels", epoch, 3, "epochs", f"loss 0.{seed}{epoch}"))
    progress(Step("training", 2, 2, "cells"))
"""


@dataclass
class Clock:
    """Stands where the module has `time`."""

    now: float = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(cli_progress, "time", made)
    return made


@pytest.fixture
def progress(clock: Clock) -> Iterator[Progress]:  # noqa: ARG001  # it stands still unless moved
    with show_progress() as made:
        yield made


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err
    return captured.err.splitlines()


# Plain lines.


def test_a_task_has_a_line_when_it_begins_and_when_it_ends(
    progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for done in (0, 400, 800, 1200):
        progress(Step("asking", done, 1200, "images"))
        clock.now += 2
    assert lines(capsys) == [
        "asking: 0 of 1,200 images",
        "asking: 1,200 of 1,200 images, 200.0 per second",
    ]


def test_now_and_then_is_every_ten_seconds(
    progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for second in range(35):
        clock.now = 50.0 + second
        progress(Step("asking", second, 100, "images"))
    assert [line.split(" of ")[0] for line in lines(capsys)] == [
        "asking: 0",
        "asking: 10",
        "asking: 20",
        "asking: 30",
    ]


@pytest.mark.parametrize(
    ("done", "seconds", "words"),
    [
        (500, 10, "50.0 per second, about 10 s left"),
        (1000, 10, "100.0 per second"),
        (10, 10, "1.0 per second, about 990 s left"),
        (5, 10, "30.0 per minute, about 1,990 s left"),
        (1, 600, "0.1 per minute, about 599,400 s left"),
    ],
)
def test_a_rate_is_by_the_second_or_else_by_the_minute(
    progress: Progress,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    done: int,
    seconds: float,
    words: str,
) -> None:
    progress(Step("asking", 0, 1000, "images"))
    clock.now += seconds
    progress(Step("asking", done, 1000, "images"))
    assert lines(capsys)[-1] == f"asking: {done:,} of 1,000 images, {words}"


def test_what_was_done_before_it_began_does_not_count_into_the_rate(
    progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress(Step("asking", 900, 1000, "images"))
    clock.now += 20
    progress(Step("asking", 940, 1000, "images"))
    assert lines(capsys) == [
        "asking: 900 of 1,000 images",
        "asking: 940 of 1,000 images, 2.0 per second, about 30 s left",
    ]


def test_a_task_that_is_done_from_the_start_is_one_line_without_a_rate(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress(Step("asking", 7, 7, "images", "all in the ledger"))
    assert lines(capsys) == ["asking: 7 of 7 images, all in the ledger"]


def test_another_task_begins_with_a_line_and_a_rate_of_its_own(
    progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress(Step("labels", 1, 9, "epochs", "loss 0.9"))
    clock.now += 1
    progress(Step("training", 1, 3, "cells"))
    clock.now += 1
    progress(Step("labels", 1, 9, "epochs", "loss 0.8"))
    clock.now += 4
    progress(Step("labels", 9, 9, "epochs", "loss 0.1"))
    assert lines(capsys) == [
        "labels: 1 of 9 epochs, loss 0.9",
        "training: 1 of 3 cells",
        "labels: 9 of 9 epochs, 1.3 per second, loss 0.1",
    ]


def test_a_remark_is_a_line_of_its_own_and_interrupts_no_task(
    progress: Progress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress(Step("asking", 0, 100, "images"))
    progress(Message("bfloat16 is faster here"))
    clock.now += 4
    progress(Step("asking", 40, 100, "images"))
    clock.now += 6
    progress(Step("asking", 50, 100, "images"))
    assert lines(capsys) == [
        "asking: 0 of 100 images",
        "bfloat16 is faster here",
        "asking: 50 of 100 images, 5.0 per second, about 10 s left",
    ]


# Live bars.


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=150, _environ={"TERM": "xterm"})


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return STYLE.sub("", console.file.getvalue())


def test_bars_are_drawn_on_a_terminal_and_stdout_stays_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = terminal()
    monkeypatch.setattr(cli_progress, "Console", lambda *, stderr: console if stderr else None)
    with show_progress() as progress:
        progress(Step("asking", 0, 12, "images"))
        progress(Step("asking", 12, 12, "images"))
        progress(Message("bfloat16 is faster here"))
        progress(Step("training", 1, 2, "cells", "fidelity 0.875"))
    assert "bfloat16 is faster here\n" in shown(console)
    last = shown(console).splitlines()[-2:]
    assert re.search(r"asking .*12/12 images", last[0])
    assert re.search(r"training .*1/2 +cells.*fidelity 0\.875", last[1])
    assert capsys.readouterr() == ("", "")


def test_a_task_that_begins_again_begins_its_bar_again() -> None:
    bars = cli_progress._bars(terminal())
    progress = cli_progress._Bars(bars)
    for done in (1, 2, 3):
        progress(Step("labels", done, 3, "epochs", "loss 0.3"))
    (task,) = bars.tasks
    assert (task.completed, task.total, task.finished) == (3, 3, True)
    begun = task.start_time or 0.0
    progress(Step("labels", 1, 5, "epochs", "loss 0.9"))
    (task,) = bars.tasks
    assert (task.completed, task.total, task.finished) == (1, 5, False)
    assert (task.start_time or 0.0) > begun
    assert task.fields["note"] == "loss 0.9"
    console = terminal()
    console.print(bars.get_renderable())
    assert re.search(r"labels .* 1/5 +epochs.*loss 0\.9", shown(console))


def test_a_name_is_shown_as_it_is() -> None:
    bars = cli_progress._bars(terminal())
    cli_progress._Bars(bars)(Step("asking about photos[old]", 1, 3, "images"))
    console = terminal()
    console.print(bars.get_renderable())
    assert "asking about photos[old]" in shown(console)


def on_a_pseudo_terminal(**wishes: str) -> str:
    """What a process whose stderr is a terminal writes there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **wishes}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHED],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
        )
    finally:
        os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as reader:
        while part := read_from(reader):
            written += part
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, b"")
    return written.decode()


def read_from(reader: io.FileIO) -> bytes:
    try:
        return reader.read(65536)
    except OSError:  # how Linux says that nobody is left to write
        return b""


def test_a_terminal_has_coloured_bars() -> None:
    written = on_a_pseudo_terminal()
    assert COLOUR.search(written)
    assert re.search(r"labels .* 3/3 +epochs.*loss 0\.13", STYLE.sub("", written))
    assert re.search(r"training .* 2/2 +cells", STYLE.sub("", written))


def test_no_color_is_honoured_and_the_bars_are_there() -> None:
    written = on_a_pseudo_terminal(NO_COLOR="1")
    assert not COLOUR.search(written)
    assert re.search(r"labels .* 3/3 +epochs.*loss 0\.13", STYLE.sub("", written))
