"""As jobs of Slurm, through submitit: the run's folder is on a disk that all machines share."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from papagaio.errors import BadSettings, to_install
from papagaio.executors.away import tolerate
from papagaio.jobs import Executor, Task
from papagaio.progress import Progress, no_progress

__all__ = ["slurm"]

# Many sites take at most 1,001 jobs in an array.
_ARRAY = 1000
_MINUTES = 24 * 60
_LOOKS_EVERY = 1.0


def slurm(folder: Path, *, cpus: int, gpus: int, cluster: str = "slurm") -> Executor:
    """Run tasks as jobs of Slurm.

    Args:
        folder: where submitit keeps its files.
        cpus: the processor cores of each job.
        gpus: the GPUs of each job.
        cluster: `slurm`, or `local` for processes of this machine.

    Raises:
        BadSettings: submitit or Slurm is missing.
    """
    if find_spec("submitit") is None:
        raise BadSettings(f"it needs {to_install('slurm')}", field="executor", value="slurm")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise BadSettings(
            "there is no sbatch here; run it where jobs are submitted",
            field="executor",
            value="slurm",
        )
    return partial(_run, folder, cluster, {"cpus_per_task": cpus, "gpus_per_node": gpus})


def _run(
    folder: Path, cluster: str, needs: dict[str, int], tasks: Sequence[Task], progress: Progress
) -> Iterator[tuple[str, Any]]:
    executor = import_module("submitit").AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(name="papagaio", timeout_min=_MINUTES, **needs)
    running: dict[Any, Task] = {}
    losses: Counter[str] = Counter()
    try:
        for first in range(0, len(tasks), _ARRAY):
            some = tasks[first : first + _ARRAY]
            running |= zip(executor.map_array(_work, some), some, strict=True)
        while running:
            for job in [job for job in running if job.done()]:
                task = running.pop(job)
                if job.exception() is None:
                    yield job.result()
                else:
                    tolerate(task, f"see {job.paths.stderr}", losses, progress)
                    running[executor.submit(_work, task)] = task
            time.sleep(_LOOKS_EVERY)
    finally:
        for job in running:
            job.cancel()


def _work(task: Task) -> tuple[str, Any]:
    return task(no_progress)
