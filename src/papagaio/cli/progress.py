"""Progress on stderr: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
_SECONDS_WORTH_A_LINE = 1.0


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


@dataclass
class _Task:
    begun: float
    first: int
    done: int
    shown: float


class _Lines:
    """Lines per task: when it starts, every ten seconds, and when it ends after a second or more.

    Tasks alternate, as epochs do with the trainings they belong to, so each has its own clock.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def __call__(self, step: Step | Message) -> None:
        if isinstance(step, Message):
            print(step.text, file=sys.stderr, flush=True)  # noqa: T201  # the command line
            return
        now = time.monotonic()
        task = self._tasks.get(step.task)
        starts = task is None or step.done < task.done or task.done == step.total
        if task is None or starts:
            task = self._tasks[step.task] = _Task(now, step.done, step.done, now)
        task.done = step.done
        ends = step.done == step.total and now - task.begun >= _SECONDS_WORTH_A_LINE
        if starts or ends or now - task.shown >= _SECONDS_BETWEEN_LINES:
            task.shown = now
            print(_line(step, task, now), file=sys.stderr, flush=True)  # noqa: T201  # as above


def _line(step: Step, task: _Task, now: float) -> str:
    words = [f"{step.task}: {step.done:,} of {step.total:,} {step.unit}"]
    advance, seconds = step.done - task.first, now - task.begun
    if advance > 0 and seconds > 0:
        rate = advance / seconds
        left = (step.total - step.done) / rate
        words += [_rate(rate), *([f"about {left:,.0f} s left"] if left else [])]
    return ", ".join(words + ([step.note] if step.note else []))


def _rate(per_second: float) -> str:
    """A readable rate: slow things per minute."""
    if per_second < 1:
        return f"{per_second * 60:,.1f} per minute"
    return f"{per_second:,.1f} per second"
