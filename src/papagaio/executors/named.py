"""The one place that chooses where jobs run."""

from pathlib import Path

from papagaio.errors import BadSettings
from papagaio.executors.here import on_this_machine
from papagaio.executors.options import ExecutorOptions
from papagaio.executors.ray_cluster import ray_cluster
from papagaio.executors.slurm import slurm
from papagaio.jobs import Executor

__all__ = ["executor_for"]


def executor_for(options: ExecutorOptions, folder: Path, *, device: str, threads: int) -> Executor:
    """Choose where jobs run, and refuse a place that cannot run any.

    Args:
        options: the choice.
        folder: each job has a folder here, named by its id, and writes nothing elsewhere.
        device: the torch device of each job.
        threads: the CPU threads of each job.

    Raises:
        BadSettings: an option has no effect there, a package is missing, or nothing answers.
    """
    _check(options)
    gpus = device.startswith("cuda") * options.gpu_share
    if options.executor == "ray":
        return ray_cluster(str(options.address), folder, cpus=threads, gpus=gpus)
    if options.executor == "slurm":
        return slurm(folder.with_name("slurm"), cpus=threads, gpus=round(gpus))
    return on_this_machine(options.workers)


def _check(options: ExecutorOptions) -> None:
    is_ray = options.executor == "ray"
    if options.executor != "local" and options.workers > 1:
        raise BadSettings(
            "a cluster runs as many trainings at the same time as it has room for; leave it out",
            field="workers",
            value=options.workers,
        )
    if is_ray and options.address is None:
        raise BadSettings(
            "executor ray needs it: HOST:PORT, as ray start prints it", field="address"
        )
    if not is_ray and options.address is not None:
        raise BadSettings("only executor ray takes it", field="address", value=options.address)
    if not is_ray and options.gpu_share != 1:
        raise BadSettings("only executor ray takes it", field="gpu_share", value=options.gpu_share)
