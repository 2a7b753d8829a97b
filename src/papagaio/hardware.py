"""The processor that this process runs on, and how the process uses its memory."""

import ctypes
import os
import platform
from pathlib import Path

__all__ = ["cores", "keep_memory", "processor"]

# Of glibc's malloc.h: below these sizes in bytes, freed memory stays with the process.
_MALLOC_LIMITS = {-3: 2**26, -1: 2**29}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


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


def keep_memory() -> None:
    """Keep up to 512 MB of freed memory for this process's next allocations (glibc only).

    Every training step frees and allocates the same arrays. From the system, each of their pages
    arrives with a fault: a step of VGG16 at 32 pixels takes 3 to 5 % longer.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is None:
        return
    for limit, size in _MALLOC_LIMITS.items():
        adjust(limit, size)
