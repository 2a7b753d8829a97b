"""The one place that replaces files: under a temporary name, flushed to the disk, then renamed."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import Busy, NoSpace, PapagaioError

__all__ = [
    "Frozen",
    "disk_full_is_no_space",
    "lock",
    "locked_run",
    "need_space",
    "read_array",
    "sweep",
    "write",
    "write_array",
    "writing",
]

# An array that trainings read: an `.npy` file or, on a machine of a cluster, the array itself.
Frozen = Path | NDArray[Any]


def write(path: Path, content: str | bytes) -> None:
    """Write a file, completely or not at all.

    Args:
        path: the file; its folder is created if needed.
        content: text (stored as UTF-8) or bytes.

    Raises:
        NoSpace: the disk is full; `path` is as it was before.
    """
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an array as an `.npy` file, completely or not at all.

    Raises:
        NoSpace: the disk is full; `path` is as it was before.
    """
    with writing(path) as file:
        np.save(file, array, allow_pickle=False)


def read_array(frozen: Frozen) -> NDArray[Any]:
    """Return the array, memory-mapped where it is a file; it is not to be changed."""
    if not isinstance(frozen, Path):
        return frozen
    array: NDArray[Any] = np.load(frozen, mmap_mode="r", allow_pickle=False)
    return array


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file open for writing that becomes `path` when the block ends without an error.

    Raises:
        NoSpace: the disk is full; `path` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_full_is_no_space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove partly written files that a kill left in a folder."""
    for cut_short in folder.glob(".*.part"):
        cut_short.unlink()


@contextmanager
def disk_full_is_no_space(path: Path) -> Iterator[None]:
    """Turn the system's `no space left` error into one that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"{path}: no space left on the disk; free some and run it again"
            ) from error
        raise


def need_space(path: Path, size: int) -> None:
    """Refuse to begin writing `size` bytes to a file that its disk cannot hold.

    Raises:
        NoSpace: fewer than `size` bytes are free on the disk of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise NoSpace(
            f"{path.parent} needs {size / 1e6:,.0f} MB more and {free / 1e6:,.0f} MB are free; "
            "free some space or choose another folder"
        )


@contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `path` for this process alone; the system releases it even after a kill.

    Args:
        path: the file; its folder is created if needed.
        wait: wait until no other process holds it.

    Raises:
        Busy: another process holds it, and this one does not wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Busy(
                f"{path.parent}: another process works here (it holds {path.name}); "
                "wait for it to end, or choose another folder or ledger"
            ) from error
        yield


@contextmanager
def locked_run(folder: Path, begun: str) -> Iterator[None]:
    """Hold a run's folder for this process alone.

    A new folder is removed if the block raises a PapagaioError before any file in it matches the
    pattern `begun`.

    Raises:
        Busy: another process holds it.
    """
    is_new = not folder.exists()
    with lock(folder / ".lock"):
        try:
            yield
        except PapagaioError:
            if is_new and not any(folder.glob(begun)):
                shutil.rmtree(folder, ignore_errors=True)
            raise
