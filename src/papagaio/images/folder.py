"""Image folders: one sub-folder per class, or images at any depth without labels."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages, BadSettings
from papagaio.images.decode import MOST_BYTES, decode
from papagaio.images.imageset import ClassOrder, SourceNotes
from papagaio.images.source import Source, stamp_of
from papagaio.progress import Progress, Step, no_progress

__all__ = ["SUFFIXES", "Layout", "folder", "read_names"]

# `classes`: each sub-folder is a class. `any`: sub-folders mean nothing.
Layout = Literal["classes", "any"]

SUFFIXES = (".bmp", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".webp")
# Images too, of kinds that decoding refuses: skipped like a text file, they would be missed.
_IMAGES = frozenset((*SUFFIXES, ".gif", ".tif", ".tiff"))
_MOST_CLASSES = 100_000


@dataclass
class _Listing:
    """Paths of images, sorted; how many files of each suffix are not images; sub-folders."""

    images: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)


class _Classes(NamedTuple):
    """The names of all classes, the number of each class folder, and what the order follows."""

    names: tuple[str, ...]
    numbers: dict[str, int]
    order: ClassOrder


def folder(
    path: Path,
    layout: Layout = "classes",
    classes_from: Path | None = None,
    progress: Progress = no_progress,
) -> Source:
    """The images of a folder, in the order of their paths.

    Hidden files and folders and `__MACOSX` are ignored.

    Args:
        path: the folder.
        layout: `classes` takes each sub-folder as a class. If all their names are integers, these
            are the class numbers; otherwise classes are numbered in the order of the names. A
            folder without sub-folders of images has no labels. `any` takes the images at any depth,
            without labels.
        classes_from: a file with the names of the class folders in their order, one per line.
        progress: told how many sub-folders are listed.

    Raises:
        BadImages: there is no image, images lie both beside and inside class folders, or a class
            folder has no images or no number.
        BadSettings: `classes_from` cannot be read or does not fit the folder.
    """
    task = f"listing {path}"
    progress(Step(task, 0, 1, "folders"))
    top, below = _scanned(str(path)), {}
    for done, child in enumerate(top.folders, 1):
        progress(Step(task, done, len(top.folders) + 1, "folders"))
        below[Path(child).name] = _walked(child)
        top.skipped += below[Path(child).name].skipped
    progress(Step(task, len(below) + 1, len(below) + 1, "folders"))
    if layout == "any":
        top.images += [image for listing in below.values() for image in listing.images]
        top.images.sort()
    elif any(listing.images for listing in below.values()):
        return _labelled(path, top, below, classes_from)
    if classes_from:
        raise BadSettings(f"{path} has no class folders to put in order", field="classes_from")
    return _source(path, top.images, SourceNotes(len(top.images), top.skipped))


def read_names(path: Path) -> tuple[str, ...]:
    """The names of classes in a text file, one per line; empty lines are ignored.

    Raises:
        BadSettings: the file cannot be read, is empty, or repeats a name.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(
            f"{path}: not a readable text file ({error})", field="classes_from"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        raise BadSettings(
            f"{path}: needs the names of the classes, one per line and each once",
            field="classes_from",
        )
    return names


def _labelled(
    path: Path, top: _Listing, below: dict[str, _Listing], classes_from: Path | None
) -> Source:
    classes = (
        _in_order_of(path, below, classes_from) if classes_from else _in_own_order(sorted(below))
    )
    empty = [name for name, listing in below.items() if not listing.images]
    problems = []
    if top.images:
        problems.append(
            f"images lie both in it and in its sub-folders ({min(below)}, ...); keep either one "
            "sub-folder per class, or no sub-folders"
        )
    if empty and classes.order == "name":
        problems.append(
            f"no images in {', '.join(sorted(empty))}; each sub-folder is a class, and leaving one "
            "out would renumber the others: add images to it, or remove it"
        )
    if problems:
        raise BadImages(f"{path}: {'; '.join(problems)}")
    ordered = sorted(below, key=classes.numbers.__getitem__)
    images = [image for name in ordered for image in below[name].images]
    labels = np.repeat(
        np.array([classes.numbers[name] for name in ordered], np.int64),
        [len(below[name].images) for name in ordered],
    )
    notes = SourceNotes(len(images), top.skipped, classes.order)
    return _source(path, images, notes, labels, classes.names)


def _in_own_order(folders: Sequence[str]) -> _Classes:
    """Class folders by the numbers that are their names, otherwise by the order of the names."""
    if not all(name.isascii() and name.isdecimal() for name in folders):
        return _Classes(tuple(folders), {name: n for n, name in enumerate(folders)}, "name")
    numbers = {name: int(name) for name in folders}
    if len(set(numbers.values())) < len(folders) or max(numbers.values()) >= _MOST_CLASSES:
        raise BadImages(
            f"class folders {', '.join(folders)} are not class numbers: each must occur "
            f"once and be below {_MOST_CLASSES:,}; rename them, or list them in order in a file"
        )
    names = tuple(map(str, range(max(numbers.values()) + 1)))
    return _Classes(names, numbers, "number")


def _in_order_of(path: Path, folders: dict[str, _Listing], classes_from: Path) -> _Classes:
    names = read_names(classes_from)
    unlisted = sorted(name for name in folders if name not in names)
    if unlisted:
        raise BadSettings(
            f"{classes_from} does not name the class folders {', '.join(unlisted)} of {path}",
            field="classes_from",
        )
    return _Classes(names, {name: names.index(name) for name in folders}, "file")


def _source(
    path: Path,
    images: list[str],
    notes: SourceNotes,
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Source:
    if not images:
        raise BadImages(f"{path}: no images found; {_what_instead(notes.skipped)}")
    return Source(
        path.absolute().name,
        read=lambda row: decode(_bytes_of(images[row]), images[row]),
        where=images.__getitem__,
        notes=notes,
        labels=labels,
        classes=classes,
        stamp=lambda row: stamp_of(images[row]),
    )


def _what_instead(skipped: Mapping[str, int]) -> str:
    heic = [suffix for suffix in skipped if suffix in (".heic", ".heif")]
    if heic:
        return (
            f"its {skipped[heic[0]]:,} {heic[0]} files cannot be read: convert them, for example "
            f"with ImageMagick's `magick mogrify -format jpg *{heic[0]}`"
        )
    others = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(skipped.items()))
    return f"name a source with files in {', '.join(SUFFIXES)}" + (
        f" (it has {others})" if others else ""
    )


def _bytes_of(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            # One more than the limit is enough to see that it is exceeded.
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadImages(
            f"{path}: cannot be read ({error.strerror}); repair or remove it"
        ) from error


def _walked(path: str) -> _Listing:
    """All images below a folder. Symbolic links to folders are followed once."""
    whole, waiting, seen = _Listing(), [path], set()
    while waiting:
        current = waiting.pop()
        # Of a link in a circle, the real path has been seen.
        if (real := os.path.realpath(current)) in seen:
            continue
        seen.add(real)
        listing = _scanned(current)
        whole.images += listing.images
        whole.skipped += listing.skipped
        waiting += listing.folders
    whole.images.sort()
    return whole


def _scanned(path: str) -> _Listing:
    """The entries of one folder. No file is opened or examined: there may be a million of them."""
    listing = _Listing()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                _sort_in(entry, listing)
    except OSError as error:
        raise BadImages(f"{path}: cannot be read ({error.strerror})") from error
    listing.images.sort()
    listing.folders.sort()
    return listing


def _sort_in(entry: os.DirEntry[str], listing: _Listing) -> None:
    name = entry.name
    _, dot, after = name.rpartition(".")
    suffix = f".{after.lower()}" if dot else "no suffix"
    if name.startswith("._"):
        listing.skipped["._"] += 1
    elif name.startswith(".") or name == "__MACOSX":
        return
    elif suffix in _IMAGES and not entry.is_dir(follow_symlinks=False):
        listing.images.append(entry.path)
    elif entry.is_dir():
        listing.folders.append(entry.path)
    else:
        listing.skipped[suffix] += 1
