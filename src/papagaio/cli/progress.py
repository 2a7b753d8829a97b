"""Progress on stderr: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from papagaio.progress import Message, Progress, Step

__all__ = ["show_progress"]

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A progress callback, for as long as the block runs."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bars(console) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}, {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )


class _Bars:
    """One bar per task; a task that starts again (the next training) resets its bar."""

    def __init__(self, progress: Bars) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: Step | Message) -> None:
        if isinstance(step, Message):
            self._progress.console.print(step.text, markup=False, highlight=False)
            return
        if step.task not in self._tasks:
            self._tasks[step.task] = self._progress.add_task(
                step.task, total=step.total, unit=step.unit, note="", rate=""
            )
        task = self._tasks[step.task]
        if step.done < self._progress.tasks[task].completed:
            self._progress.reset(task, total=step.total)
        speed = self._progress.tasks[task].speed
        rate = _rate(speed) if speed else ""
        self._progress.update(
            task, completed=step.done, total=step.total, note=step.note, rate=rate
        )


class _Lines:
    """A line when a task begins, when it ends, and every ten seconds in between."""

    def __init__(self) -> None:
        self._task = ""
        self._begun = self._last = time.monotonic()
        self._first_done = 0

    def __call__(self, step: Step | Message) -> None:
        if isinstance(step, Message):
            print(step.text, file=sys.stderr, flush=True)  # noqa: T201  # the command line
            return
        now = time.monotonic()
        begins = step.task != self._task
        if begins:
            self._task, self._begun, self._first_done = step.task, now, step.done
        ends = step.done == step.total
        if not (begins or ends or now - self._last >= _SECONDS_BETWEEN_LINES):
            return
        self._last = now
        words = [f"{step.task}: {step.done:,} of {step.total:,} {step.unit}"]
        advance, seconds = step.done - self._first_done, now - self._begun
        if advance > 0 and seconds > 0:
            rate = advance / seconds
            words += [_rate(rate)]
            words += [] if ends else [f"about {(step.total - step.done) / rate:,.0f} s left"]
        words += [step.note] if step.note else []
        print(", ".join(words), file=sys.stderr, flush=True)  # noqa: T201  # the command line


def _rate(per_second: float) -> str:
    """A readable rate: slow things per minute."""
    if per_second < 1:
        return f"{per_second * 60:,.1f} per minute"
    return f"{per_second:,.1f} per second"
