"""CIFAR-10 and CIFAR-100: from local Parquet files, or by torchvision's verified download.

Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from pathlib import Path
from typing import Literal
from urllib.error import URLError

import numpy as np

from papagaio.cache import cache_folder
from papagaio.errors import BadImages
from papagaio.images.parquet import parquet
from papagaio.images.source import Source, arrays
from papagaio.vocabulary import Part

__all__ = ["cifar"]


def cifar(name: Literal["cifar10", "cifar100"], part: Part, data_dir: Path | None) -> Source:
    """One part of CIFAR-10 or CIFAR-100: 50,000 (train) or 10,000 (test) images of 32 x 32 x 3.

    Args:
        name: which of the two.
        part: which part.
        data_dir: a folder with `cifar10/train-*.parquet` and so on, or None to download.

    Raises:
        BadImages: the files are missing, or could not be downloaded.
    """
    if data_dir is None:
        return _downloaded(name, part)
    paths = sorted((data_dir / name).glob(f"{part}-*.parquet"))
    if not paths:
        raise BadImages(
            f"no {part}-*.parquet in {data_dir / name}; name the folder that holds {name}",
            field="data_dir",
        )
    return parquet(f"{name} {part}", paths)


def _downloaded(name: str, part: Part) -> Source:
    # Slow to import, and needed here only.
    from torchvision.datasets import CIFAR10, CIFAR100  # noqa: PLC0415

    kind = CIFAR10 if name == "cifar10" else CIFAR100
    folder = cache_folder()
    try:
        data = kind(folder, train=part == "train", download=True)
    except (URLError, OSError, RuntimeError) as error:
        raise BadImages(
            f"{name} could not be downloaded to {folder} ({error}); without internet access, "
            f"name a folder that holds its Parquet files in {name}",
            field="data_dir",
        ) from error
    return arrays(
        f"{name} {part}",
        data.data,
        np.asarray(data.targets, np.int64),
        tuple(data.classes),
        # torchvision has compared the files with this digest, so they are always the same.
        stamp=lambda row: f"{kind.tgz_md5} {part} {row}",
    )
