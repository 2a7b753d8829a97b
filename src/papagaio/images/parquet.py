"""Parquet files as the `datasets` library writes them."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from papagaio.errors import BadImages
from papagaio.images.decode import Picture, decode
from papagaio.images.imageset import SourceNotes
from papagaio.images.source import Source, stamp_of

__all__ = ["parquet"]

_LABEL_COLUMNS = ("label", "labels", "fine_label")
# Encoded images that are kept in memory: images chosen at random come from every row group.
_BYTES_IN_MEMORY = 256_000_000


class _Group(NamedTuple):
    """A row group: its first row in its file and in the source, and the image column."""

    path: Path
    number: int
    column: str
    in_file: int
    in_source: int


def parquet(name: str, paths: Sequence[Path]) -> Source:
    """The images of Parquet files, one file after the other.

    The image column is a struct with a field `bytes`, or plain binary. The labels, if there are
    any, are in `label`, `labels` or `fine_label`, and the names of the classes in the schema's
    metadata. Labels that are not integers are ignored.

    Raises:
        BadImages: a file is not Parquet, or has no image column.
    """
    metadata = [_metadata(path) for path in paths]
    schemas = [one.schema.to_arrow_schema() for one in metadata]
    label = next((c for c in _LABEL_COLUMNS if all(c in s.names for s in schemas)), None)
    groups = _groups(paths, metadata)
    starts = [group.in_source for group in groups]
    stamps = {path: stamp_of(path) for path in paths}
    largest = max(
        (m.row_group(g).total_byte_size for m in metadata for g in range(m.num_row_groups)),
        default=1,
    )

    @lru_cache(max(1, _BYTES_IN_MEMORY // max(1, largest)))
    def values(group: _Group) -> pa.ChunkedArray:
        try:
            return pq.ParquetFile(group.path).read_row_group(group.number, [group.column]).column(0)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(group.path, error) from error

    def find(row: int) -> tuple[_Group, int]:
        group = groups[bisect_right(starts, row) - 1]
        return group, row - group.in_source

    def where(row: int) -> str:
        group, offset = find(row)
        return f"{group.path}, row {group.in_file + offset}"

    def read(row: int) -> Picture:
        group, offset = find(row)
        value = values(group)[offset].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise BadImages(f"{where(row)}: no image bytes; only images inside the file are read")
        return decode(data, where(row))

    def stamp(row: int) -> str:
        group, offset = find(row)
        return f"{stamps[group.path]}\0{group.in_file + offset}"

    return Source(
        name,
        read,
        where,
        SourceNotes(sum(one.num_rows for one in metadata)),
        None if label is None else _all_labels(paths, label),
        None if label is None else _class_names(schemas[0], label),
        stamp,
    )


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadImages(f"{path}: not a readable Parquet file ({error})") from error


def _groups(paths: Sequence[Path], metadata: Sequence[pq.FileMetaData]) -> list[_Group]:
    groups, in_source = [], 0
    for path, one in zip(paths, metadata, strict=True):
        column = _image_column(path, one.schema.to_arrow_schema())
        in_file = 0
        for number in range(one.num_row_groups):
            groups.append(_Group(path, number, column, in_file, in_source + in_file))
            in_file += one.row_group(number).num_rows
        in_source += in_file
    return groups


def _image_column(path: Path, schema: pa.Schema) -> str:
    for field in schema:
        is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_struct or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
    raise BadImages(
        f"{path}: no image column; one of binary type, or a struct with a field `bytes`, is needed "
        f"(its columns: {', '.join(schema.names)})"
    )


def _damaged(path: Path, error: Exception) -> BadImages:
    return BadImages(f"{path}: damaged Parquet file ({error}); download or write it again")


def _all_labels(paths: Sequence[Path], column: str) -> NDArray[np.int64] | None:
    """The labels of every file; None if any of them are not integers."""
    found = [_labels(path, column) for path in paths]
    known = [labels for labels in found if labels is not None]
    return np.concatenate(known) if len(known) == len(found) else None


def _labels(path: Path, column: str) -> NDArray[np.int64] | None:
    try:
        values = pq.read_table(path, columns=[column]).column(0)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    if not pa.types.is_integer(values.type) or values.null_count:
        return None
    return np.asarray(values.to_numpy(), np.int64)


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        names = json.loads(text)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):  # not written by `datasets`
        return None
    return tuple(map(str, names)) if names else None
