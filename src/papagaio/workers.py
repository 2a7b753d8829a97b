"""Jobs side by side in worker processes, which end when this process does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import TypeVar

from papagaio.progress import Progress, no_progress

__all__ = ["side_by_side"]

T = TypeVar("T")


def side_by_side(
    jobs: Sequence[Callable[[Progress], T]],
    workers: int,
    progress: Progress = no_progress,
) -> Iterator[T]:
    """Run jobs and yield their results in the order they are ready.

    Args:
        jobs: each is called with `progress`; with several workers they must pickle. Give the
            longest first, so that no worker is left alone with one at the end.
        workers: how many run side by side, each in a process of its own; 1 runs them here.
        progress: told what the jobs tell, where they run here.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job(progress)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _as_worker) as pool:
        futures: list[Future[T]] = [pool.submit(job, no_progress) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            # Interrupted: a checkpoint has what the workers did, so none of them is waited for.
            if not all(future.done() for future in futures):
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()


def _as_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
