"""On this machine: in this process, or in worker processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from papagaio.errors import BadSettings
from papagaio.jobs import Executor, Task
from papagaio.progress import Progress, no_progress

__all__ = ["in_process", "on_this_machine", "processes"]


def on_this_machine(workers: int) -> Executor:
    """Run in this process with one worker, and in worker processes with several."""
    return in_process if workers == 1 else processes(workers)


def in_process(
    tasks: Sequence[Task], progress: Progress = no_progress
) -> Iterator[tuple[str, Any]]:
    """Run tasks one after another in this process."""
    for task in tasks:
        yield task(progress)


def processes(workers: int) -> Executor:
    """Run tasks in this many worker processes, which end when this process does.

    Worker processes report no progress. Tasks and their results must pickle.
    """
    return partial(_in_processes, workers)


def _in_processes(
    workers: int, tasks: Sequence[Task], progress: Progress
) -> Iterator[tuple[str, Any]]:
    if len(tasks) < 2:
        yield from in_process(tasks, progress)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _as_worker) as pool:
        futures: list[Future[tuple[str, Any]]] = [pool.submit(task, no_progress) for task in tasks]
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
