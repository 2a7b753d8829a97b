"""A source: images before they are decoded and fitted; and `load`, which does both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from papagaio import files
from papagaio.errors import BadImages
from papagaio.images.fit import Fit, Shape, fit_image
from papagaio.images.imageset import ImageSet

__all__ = ["Part", "Picture", "Source", "arrays", "load"]

Part = Literal["train", "test"]


class Picture(NamedTuple):
    """One decoded image: uint8 (H, W, C), and words that name it in an error."""

    pixels: NDArray[np.uint8]
    where: str


@dataclass(frozen=True)
class Source:
    """Images that can be read in order.

    Attributes:
        name: what the set will be called.
        size: how many images there are.
        pictures: a function that reads them once, in order, one at a time.
        labels: int64 (N,), the true classes, or None.
        classes: the names of the classes, or None.
    """

    name: str
    size: int
    pictures: Callable[[], Iterator[Picture]]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.size == 0:
            raise BadImages(f"{self.name}: no images found; name a source that has some")


def arrays(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Source:
    """A source of images that are an array already (uint8, N x H x W x C)."""

    def pictures() -> Iterator[Picture]:
        for row, image in enumerate(pixels):
            yield Picture(image, f"{name}, image {row}")

    return Source(name, len(pixels), pictures, labels, classes)


def load(
    source: Source, file: Path, shape: Shape | None = None, fit: Fit | None = None
) -> ImageSet:
    """Read every image of a source into one memory-mapped array that fits the black box.

    Memory holds one image at a time; the rest lies in `file`.

    Args:
        source: where the images come from.
        file: the `.npy` file that is written and mapped.
        shape: height, width and channels the black box takes; None takes the first image's.
        fit: what to do with images of another shape; by default they are refused.

    Raises:
        BadImages: an image is broken, or does not fit. Nothing is left at `file`.
        NoSpace: the disk is full.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        pixels = _gather(source, part, shape, fit or Fit())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return ImageSet.of(source.name, pixels, source.labels, source.classes)


def _gather(source: Source, file: Path, shape: Shape | None, fit: Fit) -> NDArray[np.uint8]:
    pictures = source.pictures()
    first = next(pictures)
    height, width, channels = shape = shape or _shape_of(first)
    files.need_space(file, source.size * height * width * channels)
    pixels = open_memmap(file, "w+", np.uint8, (source.size, height, width, channels))
    for row, picture in enumerate(chain([first], pictures)):
        pixels[row] = fit_image(picture.pixels, shape, fit, picture.where)
    with files.disk_full_is_no_space(file):
        pixels.flush()
    return np.asarray(np.load(file, mmap_mode="r"))


def _shape_of(picture: Picture) -> Shape:
    height, width, channels = picture.pixels.shape
    return height, width, channels
