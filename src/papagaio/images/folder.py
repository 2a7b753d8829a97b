"""Image folders: one sub-folder a class, or flat and unlabelled."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from papagaio.errors import BadImages
from papagaio.images.decode import MOST_BYTES, decode
from papagaio.images.source import Picture, Source

__all__ = ["folder"]

# Kinds that are refused stand here too: left out in silence, they would be missed.
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def folder(path: Path) -> Source:
    """The images of a folder, in the order of their names.

    Files that are no images by their suffix, and hidden ones, are passed over.

    Args:
        path: a folder of images (unlabelled), or of sub-folders of images (a class each, in the
            order of their names).

    Raises:
        BadImages: there is no image, images lie both beside and inside sub-folders, or a class has
            none (left out, it would move the classes behind it).
    """
    flat = _images_in(path)
    folders = [c for c in sorted(path.iterdir()) if c.is_dir() and not c.name.startswith(".")]
    classes = folders if any(_images_in(child) for child in folders) else []
    if flat and classes:
        raise BadImages(
            f"{path}: images lie both in it and in its sub-folders ({classes[0].name}, ...); "
            "keep either one sub-folder a class, or no sub-folders"
        )
    if flat:
        return _of_files(path.name, flat)
    found = [_images_in(child) for child in classes]
    if not all(found):
        empty = classes[[bool(images) for images in found].index(False)]
        raise BadImages(
            f"{empty}: no images in it; each sub-folder is a class, and leaving one out would move "
            "the others: give it images, or remove it"
        )
    labels = np.repeat(np.arange(len(found), dtype=np.int64), [len(images) for images in found])
    source = _of_files(path.name, [image for images in found for image in images])
    return Source(
        source.name, source.size, source.pictures, labels, tuple(child.name for child in classes)
    )


def _of_files(name: str, paths: list[Path]) -> Source:
    def pictures() -> Iterator[Picture]:
        for path in paths:
            yield Picture(decode(_bytes_of(path), str(path)), str(path))

    return Source(name, len(paths), pictures)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One more than the limit is enough to see that it is passed.
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadImages(f"{path}: cannot be read ({error.strerror}); mend or remove it") from error


def _images_in(path: Path) -> list[Path]:
    if not path.is_dir() or path.name.startswith("."):
        return []
    return sorted(
        child
        for child in path.iterdir()
        if child.suffix.lower() in _SUFFIXES and not child.name.startswith(".") and child.is_file()
    )
