"""What a user may name as a set of images -> its source."""

from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

from papagaio.errors import BadImages
from papagaio.images.cifar import cifar
from papagaio.images.digits import digits
from papagaio.images.folder import folder
from papagaio.images.letters import letters
from papagaio.images.npz import npz
from papagaio.images.parquet import parquet
from papagaio.images.source import Part, Source

__all__ = ["BUILT_IN", "open_source"]

BUILT_IN: dict[str, Callable[[Part, Path | None], Source]] = {
    "cifar10": lambda part, data_dir: cifar("cifar10", part, data_dir),
    "cifar100": lambda part, data_dir: cifar("cifar100", part, data_dir),
    "digits": lambda part, _: digits(part),
    "letters": lambda _, __: letters(),
}


def open_source(spec: str, *, part: Part = "train", data_dir: Path | None = None) -> Source:
    """Find the images that `spec` names.

    Args:
        spec: an image folder, a `.parquet` file or a folder of them, a `.npz` archive, or one of
            `cifar10`, `cifar100`, `digits`, `letters`. `NAME:train` and `NAME:test` choose a part.
        part: the part that a name alone means.
        data_dir: where the Parquet files of `cifar10` and `cifar100` lie; None downloads them.

    Raises:
        BadImages: there is nothing of that name, or it is no such source.
    """
    name, colon, wanted = spec.partition(":")
    if name in BUILT_IN:
        if colon and wanted not in get_args(Part):
            raise BadImages(f"{spec}: the parts are {name}:train and {name}:test")
        return BUILT_IN[name](cast("Part", wanted) if colon else part, data_dir)
    path = Path(spec)
    if path.suffix == ".parquet" and path.is_file():
        return parquet(path.stem, [path])
    if path.suffix == ".npz" and path.is_file():
        return npz(path)
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        return parquet(path.name, files) if files else folder(path)
    raise BadImages(
        f"{spec}: no such folder, .parquet or .npz file, and none of {', '.join(BUILT_IN)}"
    )
