"""NumPy archives: images, and, if there are any, labels and the names of classes."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages
from papagaio.images.source import Source, arrays, stamp_of
from papagaio.vocabulary import Part

__all__ = ["npz"]

Array = NDArray[Any]


def npz(path: Path, part: Part) -> Source:
    """The images of one part of an `.npz` archive.

    The images are uint8, N x H x W, N x H x W x C or N x C x H x W, with 1 or 3 channels. The
    labels are whole numbers, (N,) or (N, 1). An array `classes`, strings (K,), names the classes.

    Args:
        path: the archive.
        part: which images are read if it has several parts, named `x_test`, `y_test` as by Keras
            or `test_images`, `test_labels` as by MedMNIST. Otherwise they are `images` and
            `labels`, or `x` and `y`.

    Raises:
        BadImages: not such an archive, or one that needs pickle, which is never loaded. Every
            problem is named.
    """
    found = _arrays_of(path)
    names = (
        (f"x_{part}", f"y_{part}"),
        (f"{part}_images", f"{part}_labels"),
        ("images", "labels"),
        ("x", "y"),
    )
    name, label = next((pair for pair in names if pair[0] in found), ("", ""))
    if not name:
        raise BadImages(
            f"{path}: needs an array `images` of uint8 (or `x`, `x_{part}`, `{part}_images`); "
            f"it has {', '.join(found) or 'none'}"
        )
    images, labels, classes = found[name], found.get(label), found.get("classes")
    problems = [
        *_problems_of_images(name, images),
        *([] if labels is None else _problems_of_labels(label, labels, images.shape[:1])),
    ]
    if classes is not None and classes.ndim != 1:
        problems.append("`classes` must be the names of the classes, an array of strings")
    if problems:
        raise BadImages(f"{path}: {'; '.join(problems)}")
    stamp = stamp_of(path)
    return arrays(
        path.stem,
        _channels_last(images),
        None if labels is None else labels.reshape(-1).astype(np.int64),
        None if classes is None else tuple(map(str, classes)),
        lambda row: f"{stamp}\0{name}\0{row}",
    )


def _arrays_of(path: Path) -> Mapping[str, Array]:
    try:
        # Opened here: NumPy leaves the file of a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    # TypeError, AttributeError: a single array under this name.
    except (
        *(ValueError, TypeError, AttributeError, EOFError, OSError),
        *(zlib.error, zipfile.BadZipFile),
    ) as error:
        raise BadImages(
            f"{path}: not a plain NumPy archive ({error}); save uint8 arrays with numpy.savez, "
            "pickled objects are never loaded"
        ) from error


def _channels_last(images: Array) -> NDArray[np.uint8]:
    if images.ndim == 3:
        return images[..., None]
    return images if images.shape[3] in (1, 3) else images.transpose(0, 2, 3, 1)


def _problems_of_images(name: str, images: Array) -> list[str]:
    problems = []
    if images.dtype != np.uint8:
        problems.append(
            f"`{name}` is {images.dtype} and must be uint8; convert it: {_conversion(name, images)}"
        )
    if images.ndim not in (3, 4):
        problems.append(f"`{name}` has shape {images.shape} and needs N x H x W or N x H x W x C")
    elif images.ndim == 4 and not {1, 3} & {images.shape[1], images.shape[3]}:
        problems.append(f"`{name}` has {images.shape[3]} channels; 1 or 3 are needed")
    return problems


def _conversion(name: str, images: Array) -> str:
    """The line of NumPy code that converts these images to uint8, by the range of their values."""
    if images.dtype.kind != "f" or not images.size:
        return f"{name}.astype(np.uint8), if its values are 0 to 255"
    low, high = images.min(), images.max()
    if low < 0:
        return f"np.rint(({name} + 1) * 127.5).astype(np.uint8), if its values are -1 to 1"
    scaled = f"{name} * 255" if high <= 1 else name
    return f"np.rint({scaled}).astype(np.uint8)"


def _problems_of_labels(name: str, labels: Array, images: tuple[int, ...]) -> list[str]:
    if labels.shape not in (images, (*images, 1)):
        return [
            f"`{name}` has shape {labels.shape} and must have one number for each of the "
            f"{sum(images)} images"
            + (f"; of one-hot rows, take {name}.argmax(1)" if labels.ndim == 2 else "")
        ]
    is_whole = labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f" and bool((np.isfinite(labels) & (labels == np.rint(labels))).all())
    )
    return [] if is_whole else [f"`{name}` must be integers: class numbers, counted from 0"]
