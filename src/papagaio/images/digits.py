"""The 1,797 real handwritten digits that ship with scikit-learn, 8 x 8 pixels.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998: bitmaps of 32 x 32,
on-pixels counted in blocks of 4 x 4, so 17 levels.
"""

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadImages, to_install
from papagaio.images.source import Source, arrays
from papagaio.vocabulary import Part

__all__ = ["digits", "levels_to_pixels"]

_TEST_SIZE = 590


def digits(part: Part) -> Source:
    """One part of the digits: 1,207 (train) or 590 (test) images of 8 x 8 x 1, split by class."""
    try:
        # Optional, and slow to import.
        from sklearn.datasets import load_digits  # noqa: PLC0415
        from sklearn.model_selection import train_test_split  # noqa: PLC0415
    except ImportError as error:
        raise BadImages(f"digits: {error}; {to_install('demo')}") from error

    images, labels = load_digits(return_X_y=True)
    rows = train_test_split(
        np.arange(len(labels)), test_size=_TEST_SIZE, stratify=labels, random_state=0
    )[part == "test"]
    return arrays(
        f"digits {part}",
        levels_to_pixels(images[rows].reshape(-1, 8, 8, 1)),
        labels[rows].astype(np.int64),
        tuple("0123456789"),
    )


def levels_to_pixels(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Counts of on-pixels (0 to 16) as grey levels (0 to 255)."""
    return np.asarray(np.rint(levels * (255 / 16)), np.uint8)
