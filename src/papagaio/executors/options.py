"""The settings of where trainings run, for every command that trains many networks."""

from typing import Annotated, Literal

from pydantic import Field

from papagaio.options import Option, OptionSet

__all__ = ["ExecutorOptions"]

_MACHINE = "Machine"


class ExecutorOptions(OptionSet):
    """Where trainings run, and how many at the same time."""

    workers: Annotated[int, Option(_MACHINE, "N")] = Field(default=1, ge=1)
    """The number of trainings that run at the same time on this machine."""

    executor: Annotated[Literal["local", "ray", "slurm"], Option(_MACHINE)] = "local"
    """Where trainings run: on this machine, on a Ray cluster that is running, or as jobs of Slurm.
    Each needs one of the extras ray and slurm on every machine."""

    address: Annotated[str | None, Option(_MACHINE, "HOST:PORT")] = Field(
        default=None, pattern=r"^[^/\s]+:\d{1,5}$"
    )
    """The address of the Ray cluster, as ray start prints it. This machine must belong to the
    cluster."""

    gpu_share: Annotated[float, Option(_MACHINE, "SHARE")] = Field(default=1.0, gt=0, le=1)
    """The share of a GPU that each training takes on a Ray cluster, if it runs on GPUs: 0.25 for
    four at the same time."""
