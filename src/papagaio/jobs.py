"""Jobs: independent pieces of work, each with a finished record; the missing ones are run."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Generic, Protocol, TypeVar

from papagaio.errors import BadSettings, Diverged
from papagaio.progress import Message, Progress, Step, no_progress

__all__ = ["Executor", "Job", "Record", "executor_for", "in_process", "processes", "run_jobs"]

T = TypeVar("T")


class Record(Protocol):
    """What a finished job leaves."""

    @property
    def note(self) -> str:
        """Its most important figure, in a few words."""
        ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Job(Generic[R]):
    """One piece of work.

    Attributes:
        id: its unique name.
        cost: roughly how long it takes, in any unit.
        run: does the work, or resumes it, and returns the record. It must pickle.
        finished: the record of an earlier run, or None.
    """

    id: str
    cost: float
    run: Callable[[Progress], R]
    finished: Callable[[], R | None]


# Runs tasks and yields their results in the order in which they are ready.
Executor = Callable[[Sequence[Callable[[Progress], Any]], Progress], Iterator[Any]]


def run_jobs(
    jobs: Sequence[Job[R]], executor: Executor, *, unit: str, progress: Progress = no_progress
) -> Iterator[tuple[Job[R], R | Diverged]]:
    """Run the jobs that are not finished, the longest first; yield every job with its outcome.

    A training that diverges does not stop the others: its error is its outcome.

    Args:
        jobs: with different ids.
        executor: where they run.
        unit: what a job is called in progress, in the plural.
        progress: told when a job ends, and what the jobs themselves report.

    Yields:
        each job with its record, or with the error by which it diverged; finished jobs first.
    """
    records = [(job, job.finished()) for job in jobs]
    missing = [job for job, record in records if record is None]
    done = len(jobs) - len(missing)
    yield from ((job, record) for job, record in records if record is not None)
    if not missing:
        return
    progress(Step("training", done, len(jobs), unit))
    longest_first = sorted(missing, key=lambda job: job.cost, reverse=True)
    by_id = {job.id: job for job in longest_first}
    tasks = [partial(_attempt, job.id, job.run) for job in longest_first]
    for name, outcome in executor(tasks, progress):
        done += 1
        if isinstance(outcome, Diverged):
            progress(Message(f"{name}: {outcome}"))
        note = "diverged" if isinstance(outcome, Diverged) else outcome.note
        progress(Step("training", done, len(jobs), unit, note))
        yield by_id[name], outcome


def _attempt(name: str, run: Callable[[Progress], R], progress: Progress) -> tuple[str, Any]:
    try:
        return name, run(progress)
    except Diverged as error:
        return name, error


def executor_for(workers: int) -> Executor:
    """Run here with one worker, and in worker processes with several."""
    return in_process if workers == 1 else processes(workers)


def in_process(
    tasks: Sequence[Callable[[Progress], T]], progress: Progress = no_progress
) -> Iterator[T]:
    """Run tasks one after another in this process."""
    for task in tasks:
        yield task(progress)


def processes(workers: int) -> Executor:
    """Run tasks in this many worker processes, which end when this process does.

    Worker processes report no progress. Tasks and their results must pickle.
    """
    return partial(_in_processes, workers)


def _in_processes(
    workers: int, tasks: Sequence[Callable[[Progress], T]], progress: Progress
) -> Iterator[T]:
    if len(tasks) < 2:
        yield from in_process(tasks, progress)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _as_worker) as pool:
        futures: list[Future[T]] = [pool.submit(task, no_progress) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise BadSettings(
                "a worker process was killed, probably for lack of memory; use fewer",
                field="workers",
                value=workers,
            ) from error
        finally:
            # On an interruption, do not wait for the workers: their checkpoints hold their work.
            if not all(future.done() for future in futures):
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()


def _as_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when it ends, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
