"""The one place that chooses device, precision and threads, and says why."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from papagaio.errors import BadSettings

__all__ = ["Machine", "Precision", "choose_device", "cores", "faster_precision", "processor"]

Precision = Literal["float32", "bfloat16"]
_PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Machine:
    """Where a network is trained.

    Attributes:
        device: `cpu`, `cuda` or `mps`, perhaps with a number.
        precision: of convolutions and matrix products; weights and losses are always float32.
        threads: CPU threads a training.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 1

    def use(self) -> torch.device:
        """Set the threads, make the device's arithmetic repeatable, and give it back."""
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        device = torch.device(self.device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        return device

    def autocast(self) -> torch.autocast:
        """A context in which convolutions and matrix products run in the chosen precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")


def choose_device(wanted: str) -> tuple[str, str]:
    """The device to use, and the reason in words.

    Args:
        wanted: `auto`, or a torch device.

    Raises:
        BadSettings: there is no such device here.
    """
    if wanted != "auto":
        try:
            torch.zeros(1, device=wanted).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise BadSettings(
                f"device {wanted}: not usable here ({reason}); say --device cpu"
            ) from error
        return wanted, "asked for"
    for kind, present in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    ):
        if present:
            return kind, "the fastest device here"
    return "cpu", "no GPU that torch can use"


def faster_precision(step: Callable[[Machine], None], machine: Machine) -> tuple[Precision, str]:
    """Which precision takes a training step faster here, by a short measurement.

    Processors without bfloat16 instructions emulate it many times slower, and networks of
    depthwise convolutions lose with it even where there are some: only measuring tells.

    Args:
        step: does one training step on a given machine.
        machine: device and threads to measure with.

    Returns:
        the precision, and the reason in words.
    """
    seconds: dict[Precision, float] = {}
    # In turns, so that what else the machine does hits both; the first ones pay for set-up.
    for turn in range(5):
        for precision in _PRECISIONS:
            start = time.perf_counter()
            step(Machine(machine.device, precision, machine.threads))
            took = time.perf_counter() - start
            seconds[precision] = min(took, seconds[precision]) if turn > 1 else took
    ratio = seconds["float32"] / seconds["bfloat16"]
    # A tenth faster at least: float32 is the safer choice.
    chosen: Precision = "bfloat16" if ratio > 1.1 else "float32"
    return chosen, f"a step in bfloat16 takes {1 / ratio:.2f} of one in float32"


def cores() -> int:
    """How many processor cores this process may use."""
    # Where the system can tell (Linux), a container's share counts and not the machine's size.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
