"""Parquet files as the `datasets` library writes them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from papagaio.errors import BadImages
from papagaio.images.decode import decode
from papagaio.images.source import Picture, Source

__all__ = ["parquet"]

_LABEL_COLUMNS = ("label", "labels", "fine_label")
_ROWS_AT_ONCE = 256


def parquet(name: str, paths: Sequence[Path]) -> Source:
    """The images of Parquet files, one after the other.

    The image column is a struct with a field `bytes`, or plain binary; the labels, where there
    are any, stand in `label`, `labels` or `fine_label`, and the classes' names in the schema's
    metadata. Labels that are no integers are none.

    Raises:
        BadImages: a file is not Parquet, or has no image column.
    """
    schemas = [_schema(path) for path in paths]
    columns = [_image_column(path, schema) for path, schema in zip(paths, schemas, strict=True)]
    label = next((c for c in _LABEL_COLUMNS if all(c in s.names for s in schemas)), None)

    def pictures() -> Iterator[Picture]:
        for path, column in zip(paths, columns, strict=True):
            yield from _read(path, column)

    return Source(
        name,
        sum(pq.read_metadata(path).num_rows for path in paths),
        pictures,
        None if label is None else _all_labels(paths, label),
        None if label is None else _class_names(schemas[0], label),
    )


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadImages(f"{path}: not a readable Parquet file ({error})") from error


def _image_column(path: Path, schema: pa.Schema) -> str:
    for field in schema:
        is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_struct or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
    raise BadImages(
        f"{path}: no image column; one of binary type, or a struct with a field `bytes`, is needed "
        f"(its columns: {', '.join(schema.names)})"
    )


def _read(path: Path, column: str) -> Iterator[Picture]:
    for row, value in enumerate(_values(path, column)):
        where = f"{path}, row {row}"
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise BadImages(f"{where}: no image bytes; only images inside the file are read")
        yield Picture(decode(data, where), where)


def _values(path: Path, column: str) -> Iterator[Any]:
    try:
        for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE, columns=[column]):
            yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> BadImages:
    return BadImages(f"{path}: damaged Parquet file ({error}); fetch or write it again")


def _all_labels(paths: Sequence[Path], column: str) -> NDArray[np.int64] | None:
    """The labels of every file; None where they are no classes' numbers."""
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
    except (ValueError, KeyError, TypeError):  # written by something else than `datasets`
        return None
    return tuple(map(str, names)) if names else None
