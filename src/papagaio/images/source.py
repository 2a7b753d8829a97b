"""A source: images that can be read one by one, in any order, before they are fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages
from papagaio.images.decode import Picture
from papagaio.images.imageset import SourceNotes

__all__ = ["Source", "arrays", "stamp_of"]


@dataclass(frozen=True)
class Source:
    """Images that can be read in any order, and from several threads.

    Attributes:
        name: what the set will be called.
        read: decodes the image of a row; raises BadImages if it cannot.
        where: names the image of a row in messages.
        notes: what listing the source showed.
        labels: int64 (N,), the true classes, or None.
        classes: the names of the classes, or None.
        stamp: a text for a row that changes when its file does, by which decoded images are
            cached; None for images that are in memory.
    """

    name: str
    read: Callable[[int], Picture]
    where: Callable[[int], str]
    notes: SourceNotes
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    stamp: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        if self.size == 0:
            raise BadImages(f"{self.name}: no images found; name a source that has some")

    @property
    def size(self) -> int:
        """The number of images."""
        return self.notes.entries


def arrays(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] | None = None,
    stamp: Callable[[int], str] | None = None,
) -> Source:
    """A source of images that are in memory (uint8, N x H x W x C)."""
    return Source(
        name,
        read=lambda row: Picture(pixels[row]),
        where=lambda row: f"{name}, image {row}",
        notes=SourceNotes(len(pixels)),
        labels=labels,
        classes=classes,
        stamp=stamp,
    )


def stamp_of(path: str | Path) -> str:
    """The absolute path, size and time of modification of a file, as one text."""
    path = Path(path).absolute()
    try:
        stat = path.stat()
    except OSError:  # a link to nothing; reading it will tell
        return f"{path}\0missing"
    return f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"
