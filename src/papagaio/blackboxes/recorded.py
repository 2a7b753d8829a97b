"""A black box whose answers were obtained elsewhere, in a table.

`papagaio questions` writes the images as files named after their content, and the owner runs them
through whatever there is. A row of the table is the name of such a file, or its image's digest, and
its scores.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from papagaio.blackboxes.contract import Contract, Declaration
from papagaio.blackboxes.model_file import digest_files
from papagaio.blackboxes.outputs import scores_of
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.imageset import digest_images
from papagaio.vocabulary import Returned

__all__ = ["RecordedBox", "file_name", "open_recorded"]

# Bytes of an image's digest that are in its file's name.
_IN_NAME = 16
# A file's name, with or without its suffix, or a whole digest.
_NAME = re.compile(r"([0-9a-f]{32})([0-9a-f]{32}|\.png)?")


def file_name(digest: NDArray[np.uint8]) -> str:
    """The name of an image's file, from its digest (uint8, 32)."""
    return f"{digest[:_IN_NAME].tobytes().hex()}.png"


@dataclass(frozen=True)
class RecordedBox:
    """A table of answers.

    Attributes:
        rows: the row of each image's file name.
        scores: float32 (N, K), or labels, int64 (N,).
        returned: what they are.
    """

    name: str
    identity: str
    contract: Contract
    rows: dict[str, int]
    scores: NDArray[np.generic]
    returned: Returned

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Look answers up.

        Raises:
            BadAnswer: some are missing.
        """
        names = [file_name(digest) for digest in digest_images(images)]
        missing = [name for name in names if name not in self.rows]
        if missing:
            raise BadAnswer(
                f"{self.name} has no row for {len(missing)} of {len(images)} images, such as "
                f"{missing[0]}; papagaio questions with the same options writes all images"
            )
        found = self.scores[[self.rows[name] for name in names]]
        return scores_of(found, self.returned, self.contract.classes)

    def close(self) -> None:
        """Do nothing: the table is in memory."""


def open_recorded(rest: str, declared: Declaration) -> RecordedBox:
    """The black box in a table of answers; `recorded=FILE` on the command line.

    Args:
        rest: a .csv or .parquet file with a column `name` (file names or digests), and one column
            per class in their order, a column `scores` of lists, or a column `label` of class
            numbers; or an .npz file with the arrays `name` and `scores` or `label`.
        declared: shape and number of classes, and what the scores are.

    Raises:
        BadSettings: the file cannot be read, repeats a name, has a name that papagaio questions
            does not write, a score that is not a number, or classes that are not declared.
    """
    path = Path(rest)
    declared.refuse_unused(f"recorded={rest}", "returned", "concurrency")
    contract = declared.contract(rest)
    names, scores = _read(path)
    rows = _rows_of(path, names)
    broken = _broken(scores, contract.classes)
    if broken.any():
        raise BadSettings(
            f"{path}: the row of {names[int(broken.argmax())]} needs a score for each of "
            f"{contract.classes} classes, or the number of one ({broken.sum()} such rows)"
        )
    has_labels = scores.ndim == 1
    returned = declared.returned or ("labels" if has_labels else "probabilities")
    if has_labels != (returned == "labels"):
        found = "labels" if has_labels else "scores"
        raise BadSettings(f"{path} has {found}", field="returns", value=returned)
    if has_labels:
        if declared.response not in (None, "label"):
            raise BadSettings(f"{path} has labels", field="shows", value=declared.response)
        contract = replace(declared, response="label", returned="labels").contract(rest)
    identity = declared.identity or f"recorded-sha256:{digest_files(path)} {returned}"
    return RecordedBox(f"recorded={rest}", identity, contract, rows, scores, returned)


def _rows_of(path: Path, names: list[str]) -> dict[str, int]:
    strange = [name for name in names if not _NAME.fullmatch(name)]
    if strange:
        raise BadSettings(
            f"{path}: {strange[0]} is not the name of an image that papagaio questions wrote "
            f"({len(strange)} such rows)"
        )
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        twice = next(name for row, name in enumerate(names) if rows[name] != row)
        raise BadSettings(f"{path}: {twice} has several rows; keep one row per image")
    return rows


def _named(text: str) -> str:
    """The file name that a row means, or what it holds instead."""
    found = _NAME.fullmatch(Path(text).name)
    return f"{found[1]}.png" if found else text


def _broken(scores: NDArray[np.generic], classes: int) -> NDArray[np.bool_]:
    """Rows without a finite score for each class, or with a label that is no class."""
    if scores.ndim == 1:
        return np.asarray(~np.isin(scores, np.arange(classes)))
    if scores.shape[1] != classes:
        return np.ones(len(scores), bool)
    return np.asarray(~np.isfinite(scores).all(1))


def _read(path: Path) -> tuple[list[str], NDArray[np.generic]]:
    """The names, and the scores (float32, N x K) or labels (int64, N), in a file."""
    if path.suffix not in _READERS:
        raise BadSettings(f"{path}: not a .csv, .parquet or .npz file")
    if not path.is_file():
        raise BadSettings(f"{path}: no such file; papagaio questions writes the images to answer")
    try:
        return _columns(_READERS[path.suffix](path))
    except _UNREADABLE as error:
        raise BadSettings(
            f"{path}: cannot be read as a table of answers ({error}); it needs a column name, and "
            "one column of numbers per class, a column scores, or a column label"
        ) from error


def _read_npz(path: Path) -> pa.Table:
    with path.open("rb") as file, np.load(file) as arrays:
        return pa.table({name: arrays[name].tolist() for name in arrays})


_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, pa.ArrowException)
_READERS = {
    ".csv": pyarrow.csv.read_csv,
    ".parquet": pyarrow.parquet.read_table,
    ".npz": _read_npz,
}


def _columns(table: pa.Table) -> tuple[list[str], NDArray[np.generic]]:
    names = [_named(name) for name in table["name"].to_pylist()]
    if "scores" in table.column_names:
        return names, np.array(table["scores"].to_pylist(), np.float32)
    if "label" in table.column_names:
        return names, np.array(table["label"].to_pylist(), np.int64)
    # The second column of questions.csv may still be there.
    others = [table[name] for name in table.column_names if name not in ("name", "purposes")]
    return names, np.stack([column.cast(pa.float32()).to_numpy() for column in others], 1)
