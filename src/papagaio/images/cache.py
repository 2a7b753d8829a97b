"""Decoded images on the disk, shared by runs: files that only grow.

A store holds the images of one source in one order, fitted to one shape. Its index has a record for
each image that was tried, in this order, and its pixels are those of the images that were kept. A
record counts only while the file it was read from has not changed. Pixels are written and flushed
before their records, and no byte that a record describes is ever changed, so a process that is
killed loses what it has not recorded yet, and other processes may map the same file meanwhile.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.cache import cache_folder
from papagaio.errors import BadSettings
from papagaio.images.decode_many import Fitted
from papagaio.images.fit import Shape
from papagaio.progress import Progress, Step

__all__ = ["RECORD", "Records", "Store", "kept_within", "stamp_digest", "stored"]

# One image that was tried: kept, broken, or (if neither) a repetition of an earlier one.
RECORD = np.dtype(
    [
        ("stamp", "u1", 16),
        ("digest", "u1", 32),
        ("kept", "?"),
        ("broken", "?"),
        ("rotated", "?"),
    ]
)
Records = NDArray[np.void]
_SECONDS_BETWEEN_LOOKS = 0.2


class MemoryStore:
    """A store in memory, for images whose source is in memory."""

    def __init__(self, shape: Shape) -> None:
        self.records = np.empty(0, RECORD)
        self._pixels = [np.empty((0, *shape), np.uint8)]

    def append(self, records: Records, pixels: Sequence[NDArray[np.uint8]]) -> None:
        """Add the next records and kept images."""
        self.records = np.concatenate([self.records, records])
        if pixels:
            self._pixels.append(np.stack(pixels))

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """The first kept images."""
        return np.concatenate(self._pixels)[:size]


class FileStore:
    """A store in two files, `.index` and `.pixels`; whoever appends holds `.index` locked."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self.index = path.with_suffix(".index")
        self._file = path.with_suffix(".pixels")
        self._shape = shape
        self.records = self._read()

    def append(self, records: Records, pixels: Sequence[NDArray[np.uint8]]) -> None:
        """Add the next records and kept images, the images first."""
        if pixels:
            with _at(self._file, self._bytes_kept()) as file:
                file.writelines(np.ascontiguousarray(image).data for image in pixels)
        with _at(self.index, self.records.nbytes) as file:
            file.write(records.tobytes())
        self.records = np.concatenate([self.records, records])

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """The first kept images, memory-mapped."""
        return np.asarray(np.memmap(self._file, np.uint8, "r", shape=(size, *self._shape)))

    def _bytes_kept(self) -> int:
        return int(self.records["kept"].sum()) * int(np.prod(self._shape))

    def _read(self) -> Records:
        data = self.index.read_bytes() if self.index.exists() else b""
        self.records = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)
        size = self._file.stat().st_size if self._file.exists() else 0
        # Somebody has removed or cut the pixels.
        return self.records if size >= self._bytes_kept() else self.records[:0]


Store = MemoryStore | FileStore


def stamp_digest(stamp: str) -> bytes:
    """A stamp as a record holds it: 16 bytes."""
    return hashlib.blake2b(stamp.encode(errors="surrogateescape"), digest_size=16).digest()


def kept_within(records: Records, size: int) -> Records:
    """The first records that keep `size` images; all of them if they keep fewer."""
    return records[: int(np.searchsorted(np.cumsum(records["kept"]), size)) + 1]


@contextmanager
def stored(fitted: Fitted, wanted: int, progress: Progress) -> Iterator[Store]:
    """The store of a source, locked for this process if images are missing from it.

    Args:
        fitted: the images.
        wanted: how many of them are needed.
        progress: told while another process decodes the same images.

    Raises:
        BadSettings: the cache folder cannot be written.
        NoSpace: the images would not fit on its disk.
    """
    stamp = fitted.source.stamp
    if stamp is None:
        yield MemoryStore(fitted.shape)
        return
    # Files that have changed since get another store: this one may be mapped elsewhere.
    for generation in count():
        current = partial(FileStore, _path(fitted, stamp, generation), fitted.shape)
        is_valid = partial(_is_valid, rows=fitted.rows, stamp=stamp, wanted=wanted)
        store = current()
        if not is_valid(store.records):
            continue
        if len(store.records) == len(fitted.rows) or store.records["kept"].sum() >= wanted:
            yield store
            return
        with _locked(current, wanted, fitted.source.name, progress):
            store = current()
            if is_valid(store.records):
                missing = wanted - int(store.records["kept"].sum())
                files.need_space(store.index, missing * int(np.prod(fitted.shape)))
                yield store
                return


def _path(fitted: Fitted, stamp: Callable[[int], str], generation: int) -> Path:
    decides = hashlib.sha256(b"papagaio-decoded-1")
    decides.update(stamp_digest(stamp(int(fitted.rows[0]))))
    decides.update(fitted.rows.tobytes())
    decides.update(repr((fitted.shape, fitted.fit)).encode())
    return cache_folder() / "images" / f"{decides.hexdigest()[:32]}-{generation}"


def _is_valid(
    records: Records, rows: NDArray[np.int64], stamp: Callable[[int], str], wanted: int
) -> bool:
    """Whether the files of the records that are needed are as they were."""
    needed = kept_within(records, wanted)
    now = b"".join(stamp_digest(stamp(int(row))) for row in rows[: len(needed)])
    return needed["stamp"].tobytes() == now


@contextmanager
def _locked(
    current: Callable[[], FileStore], wanted: int, name: str, progress: Progress
) -> Iterator[None]:
    """Hold a store's index; the system releases it even after a kill."""
    index = current().index
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        file = index.open("ab")
    except OSError as error:
        raise BadSettings(
            f"{index.parent}: decoded images cannot be kept here ({error.strerror}); set "
            "PAPAGAIO_CACHE to a folder that can be written"
        ) from error
    with file:
        while not _try_lock(file):
            done = min(int(current().records["kept"].sum()), wanted - 1)
            task = f"waiting for another process that decodes {name}"
            progress(Step(task, done, wanted, "images"))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _at(path: Path, offset: int) -> Iterator[IO[bytes]]:
    """A file to write from an offset on, flushed to the disk when the block ends."""
    with files.disk_full_is_no_space(path):
        path.touch()
        with path.open("r+b") as file:
            file.seek(offset)
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
