"""Rows of a source -> fitted images, decoded on all cores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages
from papagaio.hardware import cores
from papagaio.images.fit import Fit, Shape, fit_image, oriented
from papagaio.images.imageset import digest_images
from papagaio.images.source import Source

__all__ = ["Decoded", "Fitted", "decode_all", "one_error"]

_IMAGES_PER_TASK = 16
_MOST_TRIED_FOR_A_SHAPE = 100


@dataclass(frozen=True)
class Decoded:
    """One fitted image: uint8 (H, W, C), its digest, and whether it carries an EXIF rotation."""

    pixels: NDArray[np.uint8]
    digest: NDArray[np.uint8]
    rotated: bool


@dataclass(frozen=True)
class Fitted:
    """A source whose images are read in some order and fitted to one shape.

    Attributes:
        source: the images.
        rows: int64 (N,), their order.
        shape: height, width and channels of every fitted image.
        fit: the rules by which they are fitted.
    """

    source: Source
    rows: NDArray[np.int64]
    shape: Shape
    fit: Fit

    @classmethod
    def of(
        cls, source: Source, rows: NDArray[np.int64], shape: Shape | None, fit: Fit | None
    ) -> Self:
        """A source in this order. By default, the first readable image's shape is required of all.

        Raises:
            BadImages: none of the first images can be read.
        """
        fit = fit or Fit()
        return cls(source, rows, shape or _first_shape(source, rows, fit), fit)


def decode_all(
    fitted: Fitted, start: int, stop: int, tell: Callable[[int], None]
) -> list[Decoded | BadImages]:
    """Decode the images from `start` to `stop` in the order of `fitted`.

    Args:
        fitted: the images.
        start: the place of the first in the order.
        stop: the place after the last.
        tell: called with the number of images that are done, after each.

    Returns:
        for each image, what was decoded or why it cannot be used; the error of an image that does
        not fit names the field of the rule.
    """
    rows = fitted.rows[start:stop]
    results: dict[int, Decoded | BadImages] = {}

    def decode_some(some: NDArray[np.int64]) -> list[Decoded | BadImages]:
        return [_decoded(fitted, int(row)) for row in some]

    # In the order of the source, where neighbours are in one row group or folder.
    in_order = np.sort(rows)
    tasks = (in_order[at : at + _IMAGES_PER_TASK] for at in range(0, len(rows), _IMAGES_PER_TASK))
    # Pillow and hashlib release the interpreter's lock while they work.
    with ThreadPoolExecutor(cores()) as pool:
        done = chain.from_iterable(pool.map(decode_some, tasks))
        for row, result in zip(in_order, done, strict=True):
            results[int(row)] = result
            tell(len(results))
    return [results[int(row)] for row in rows]


def one_error(source: Source, problems: list[BadImages], how_many: str) -> BadImages:
    """One error for several: each broken image by name, and of those that do not fit the first."""
    if len(problems) == 1:
        return problems[0]
    misfits = [problem for problem in problems if problem.field]
    texts = dict.fromkeys(str(problem) for problem in problems if not problem.field)
    if misfits:
        others = f" (and {len(misfits) - 1:,} others)" if len(misfits) > 1 else ""
        texts[f"{misfits[0].args[0]}{others}"] = None
    return BadImages(
        f"{source.name}: {how_many} cannot be used: {'; '.join(texts)}",
        field=misfits[0].field if misfits else None,
    )


def _decoded(fitted: Fitted, row: int) -> Decoded | BadImages:
    source, fit = fitted.source, fitted.fit
    try:
        picture = source.read(row)
        pixels = fit_image(oriented(picture, fit), fitted.shape, fit, source.where(row))
    except BadImages as error:
        return error
    return Decoded(pixels, digest_images(pixels[None])[0], picture.orientation != 1)


def _first_shape(source: Source, rows: NDArray[np.int64], fit: Fit) -> Shape:
    problems = []
    for row in rows[:_MOST_TRIED_FOR_A_SHAPE]:
        try:
            height, width, channels = oriented(source.read(int(row)), fit).shape
        except BadImages as error:
            problems.append(error)
        else:
            return height, width, channels
    raise one_error(source, problems, f"the first {len(problems):,} images")
