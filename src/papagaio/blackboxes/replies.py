"""What a service answered -> numbers, or one line that says what is wrong with it."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadAnswer

__all__ = ["at", "numbers", "one_row_each", "parsed"]


def parsed(content: bytes) -> object:
    """The value of a JSON text.

    Raises:
        BadAnswer: it is none, such as a page or a text that was cut off.
    """
    try:
        value: object = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"no JSON, or cut off ({error})") from error
    return value


def at(value: object, name: str) -> object:
    """What an object holds under a name.

    Raises:
        BadAnswer: it is no object, or has no such name.
    """
    if not isinstance(value, dict) or name not in value:
        raise BadAnswer(f"an answer without {name}")
    return value[name]


def numbers(values: object) -> NDArray[np.generic]:
    """An array of numbers, floats or integers, of the shape that nested lists have.

    Raises:
        BadAnswer: there is something else among them, or lists of several lengths.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        if not _holds_null(values):
            raise BadAnswer("rows of several lengths") from error
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        what = "null, which stands for NaN in JSON," if _holds_null(values) else "something else"
        raise BadAnswer(f"{what} where a number belongs")
    return array


def one_row_each(
    array: NDArray[np.generic], images: int, *, labels_of: int | None = None
) -> NDArray[np.generic]:
    """The rows of an answer: (N, K), or (N,) integers if they are labels.

    Args:
        array: what was answered; labels may be floats, and in a column.
        images: N.
        labels_of: the number of classes, if it is labels.

    Raises:
        BadAnswer: it has another number of rows or of axes, or labels are no numbers of classes.
    """
    labels = labels_of is not None
    if labels and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim and array.shape[0] != images:
        raise BadAnswer(f"{array.shape[0]} rows for {images} images")
    if array.ndim != (1 if labels else 2):
        wanted = "one label" if labels else "a row of scores"
        raise BadAnswer(f"an array of shape {array.shape} instead of {wanted} for each image")
    if not array.size:
        raise BadAnswer("rows without scores")
    if labels_of is None:
        return array
    if not np.isin(array, np.arange(labels_of)).all():
        raise BadAnswer(f"labels that are not 0 to {labels_of - 1}")
    return array.astype(np.int64)


def _holds_null(values: object) -> bool:
    if isinstance(values, Sequence) and not isinstance(values, str):
        return any(_holds_null(value) for value in values)
    return values is None
