"""The processor that this process runs on."""

import os
import platform
from pathlib import Path

__all__ = ["cores", "processor"]


def cores() -> int:
    """Return how many processor cores this process may use."""
    # On Linux: the cores that this container may use, not all that the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name, or at least its architecture."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
