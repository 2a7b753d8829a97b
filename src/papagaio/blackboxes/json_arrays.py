"""Arrays of pixels as JSON."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["json_of"]


def json_of(array: NDArray[np.generic]) -> str:
    """Nested lists in JSON, each number as short as its type allows, after spaces.

    Pixels have few distinct values: each is written once. All words are made equally long, so that
    the text is put together as an array, a hundred times faster than from texts.

    Args:
        array: numbers without NaN and infinity, at least one in each axis.
    """
    encoded = pa.array(array.ravel()).dictionary_encode()
    written = [f"{value!s}," for value in encoded.dictionary.to_numpy()]
    width = max(map(len, written))
    words = np.array([word.rjust(width) for word in written], f"S{width}")
    text = words.take(encoded.indices.to_numpy()).view(np.uint8).reshape(*array.shape, width)
    while text.ndim > 1:
        inner = text.reshape(*text.shape[:-2], -1)
        text = np.empty((*inner.shape[:-1], inner.shape[-1] + 2), np.uint8)
        text[..., 1:-1] = inner
        # In place of the last comma.
        text[..., -2] = ord("]")
        text[..., 0], text[..., -1] = ord("["), ord(",")
    return str(text[:-1].tobytes(), "ascii")
