"""Arrays of pixels as JSON."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["json_of"]


def json_of(array: NDArray[np.generic]) -> str:
    """Nested lists in JSON, each number as short as its type allows.

    Args:
        array: numbers without NaN and infinity, in at least one axis. Pixels have few distinct
            values: each is written once, many times faster than all of them.
    """
    distinct, places = np.unique(array.ravel(), return_inverse=True)
    words = np.array([str(value) for value in distinct], object)[places].tolist()
    for size in reversed(array.shape):
        words = [f"[{','.join(words[at : at + size])}]" for at in range(0, len(words), size)]
    return str(words[0])
