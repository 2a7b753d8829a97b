"""On a Ray cluster: arrays are shared objects, and files come back to the run's folder.

This process sends tasks and writes all files. A machine of the cluster needs Papagaio and no file.
"""

import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from papagaio.errors import BadSettings, Lost, to_install
from papagaio.executors.away import contents, mirror, replaced, tolerate
from papagaio.files import read_array
from papagaio.jobs import Executor, Task
from papagaio.progress import Progress

__all__ = ["ray_cluster"]

# Seconds after which an address does not answer, and between looks at the cluster's machines.
_ANSWERS_WITHIN = 5.0
_LOOKS_EVERY = 5.0

# They decide the last digits of a result.
_SAME = ("papagaio", "torch")


def ray_cluster(address: str, folder: Path, *, cpus: int, gpus: float) -> Executor:
    """Run tasks on a Ray cluster.

    Args:
        address: HOST:PORT of the cluster, to which this machine belongs.
        folder: each task has a folder here, named by its id, and writes nothing elsewhere.
        cpus: the processor cores that each task takes.
        gpus: the share of a GPU that each task takes.

    Raises:
        BadSettings: Ray is not installed, or nothing answers at the address.
    """
    if find_spec("ray") is None:
        raise BadSettings(f"it needs {to_install('ray')}", field="executor", value="ray")
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would wait for minutes. Without TLS, its server speaks first.
        with socket.create_connection((host, int(port)), _ANSWERS_WITHIN) as connection:
            connection.settimeout(_ANSWERS_WITHIN)
            if os.environ.get("RAY_USE_TLS") != "1" and not connection.recv(1):
                raise ConnectionError("the connection was closed")
    except (OSError, OverflowError) as error:
        raise BadSettings(
            f"no Ray cluster answers there ({error}); start one with ray start, or correct it",
            field="address",
            value=address,
        ) from error
    return partial(_run, address, folder, {"num_cpus": cpus, "num_gpus": gpus})


def _run(
    address: str,
    folder: Path,
    needs: dict[str, float],
    tasks: Sequence[Task],
    progress: Progress,
) -> Iterator[tuple[str, Any]]:
    with _connected(address) as ray:
        _check_room(ray, needs)
        submit = _submitter(ray, folder, needs)
        running = {submit(task): task for task in tasks}
        losses: Counter[str] = Counter()
        while running:
            ready, _ = ray.wait(list(running), timeout=_LOOKS_EVERY)
            if not ready:
                _check_room(ray, needs)
                continue
            (reports,) = ready
            task = running[reports]
            try:
                kept, outcome = ray.get(next(reports))
            except ray.exceptions.RayTaskError:  # a bug, which is not tried again
                raise
            except ray.exceptions.RayError as error:
                del running[reports]
                tolerate(task, type(error).__name__, losses, progress)
                running[submit(task)] = task
                continue
            if isinstance(outcome, str):
                raise BadSettings(outcome, field="executor", value="ray")
            mirror(kept, folder / task.id)
            if outcome is not None:
                del running[reports]
                yield outcome


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray's module, connected until the block ends; what still runs then is stopped."""
    ray = import_module("ray")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadSettings(str(error), field="address", value=address) from error
    try:
        # Ray prints its notices about lost machines among the results.
        with redirect_stdout(sys.stderr):
            yield ray
    finally:
        ray.shutdown()


def _check_room(ray: Any, needs: dict[str, float]) -> None:  # noqa: ANN401  # a module
    """Refuse to wait for a machine that the cluster does not have."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = needs["num_cpus"], needs["num_gpus"]
    if not any(has.get("CPU", 0) >= cpus and has.get("GPU", 0) >= gpus for has in machines):
        raise Lost(
            f"the Ray cluster has no machine with the {cpus} cores{' and the GPU' * (gpus > 0)} "
            "that a training takes; what is finished is kept: run the same command again with "
            "other machines, or without the cluster's options to go on here"
        )


def _submitter(ray: Any, folder: Path, needs: dict[str, float]) -> Callable[[Task], Any]:  # noqa: ANN401
    """What sends a task with the files that an earlier attempt left; returns its reports."""
    remote = ray.remote(num_returns="streaming", max_retries=0, **needs)(_anywhere())
    versions = {name: import_module(name).__version__ for name in _SAME}

    @cache
    def shared(path: Path) -> Any:  # noqa: ANN401  # a reference
        return ray.put(np.asarray(read_array(path)))

    def submit(task: Task) -> Any:  # noqa: ANN401  # a stream of references
        sent = replaced(task, lambda x: shared(x) if isinstance(x, Path) and x.is_file() else x)
        # In a list, it is read only where the right Papagaio is known to be.
        return remote.remote(versions, [ray.put((sent, folder))], contents(folder / task.id))

    return submit


def _anywhere() -> Callable[..., Any]:
    """What Ray sends by value: it runs also where Papagaio is missing, and says so."""

    def attempt(versions: dict[str, str], sent: list[Any], kept: dict[str, bytes]) -> Iterator[Any]:
        import importlib  # noqa: PLC0415  # it takes nothing along
        import platform  # noqa: PLC0415

        import ray  # noqa: PLC0415

        for name, expected in versions.items():
            try:
                found = importlib.import_module(name).__version__
            except ImportError:
                found = "missing"
            if found != expected:
                where = platform.node()
                yield {}, f"{name} is {found} on {where}, and {expected} here; install it there"
                return
        away = importlib.import_module("papagaio.executors.away")
        task, folder = ray.get(sent[0])
        yield from away.attempts(
            task, folder, kept, lambda x: ray.get(x) if isinstance(x, ray.ObjectRef) else x
        )

    return attempt
