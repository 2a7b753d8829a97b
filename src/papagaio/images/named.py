"""What a user may name as a set of images -> its source."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

from papagaio.errors import BadImages, BadSettings
from papagaio.images.cifar import cifar
from papagaio.images.digits import digits
from papagaio.images.folder import Layout, folder
from papagaio.images.letters import letters
from papagaio.images.npz import npz
from papagaio.images.parquet import parquet
from papagaio.images.source import Source
from papagaio.progress import Progress, no_progress
from papagaio.vocabulary import Part

__all__ = ["BUILT_IN", "open_source"]

BUILT_IN: dict[str, Callable[[Part, Path | None, Progress], Source]] = {
    "cifar10": lambda part, data_dir, _: cifar("cifar10", part, data_dir),
    "cifar100": lambda part, data_dir, _: cifar("cifar100", part, data_dir),
    "digits": lambda part, _, __: digits(part),
    "letters": lambda _, __, progress: letters(progress),
}


def open_source(
    spec: str,
    *,
    part: Part = "train",
    layout: Layout = "classes",
    data_dir: Path | None = None,
    classes_from: Path | None = None,
    progress: Progress = no_progress,
) -> Source:
    """Find the images that `spec` names. No image is decoded yet.

    Args:
        spec: an image folder, a `.parquet` file or a folder of them, an `.npz` archive, or one of
            `cifar10`, `cifar100`, `digits`, `letters`. `NAME:train` and `NAME:test` choose a part
            of a name or an archive.
        part: the part that is meant if `spec` chooses none.
        layout: how a folder is read: `classes` takes each sub-folder as a class; `any` takes the
            images at any depth, without labels.
        data_dir: the folder with the Parquet files of `cifar10` and `cifar100`; None downloads
            them.
        classes_from: a file with the names of the class folders in their order, one per line.
        progress: told how far listing a folder or drawing the letters is.

    Raises:
        BadImages: nothing has that name, or it is none of these kinds.
        BadSettings: `classes_from` cannot be read or does not fit the source.
    """
    if classes_from and not Path(spec).is_dir():
        raise BadSettings(f"{spec} has no class folders to put in order", field="classes_from")
    name, part = _split(spec, part)
    if name in BUILT_IN:
        return BUILT_IN[name](part, data_dir, progress)
    path = Path(name)
    if path.suffix == ".parquet" and path.is_file():
        return parquet(path.stem, [path])
    if path.suffix == ".npz" and path.is_file():
        return npz(path, part)
    if not path.is_dir():
        raise BadImages(
            f"{spec}: no such folder, .parquet or .npz file, and none of {', '.join(BUILT_IN)}"
        )
    # Path objects would take seconds for a million files.
    names = os.listdir(path)  # noqa: PTH208
    files = sorted(name for name in names if name.endswith(".parquet"))
    if files and not classes_from:
        return parquet(path.absolute().name, [path / name for name in files])
    return folder(path, layout, classes_from, progress)


def _split(spec: str, part: Part) -> tuple[str, Part]:
    """The name and the part that `NAME:PART` chooses; `part` for a name alone, or any path."""
    name, _, wanted = spec.rpartition(":")
    if name not in BUILT_IN and not name.endswith(".npz"):
        return spec, part
    if wanted not in get_args(Part):
        raise BadImages(f"{spec}: the parts are {name}:train and {name}:test")
    return name, cast("Part", wanted)
