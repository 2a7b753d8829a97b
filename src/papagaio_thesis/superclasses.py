"""CIFAR-100's classes in groups, to find out which kind of images teaches which class (claim C6).

A group joins superclasses of CIFAR-100 (Krizhevsky 2009), so that each has enough classes for the
same number of images.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUPS", "group_rows", "rows_of"]

# Classes by their index in CIFAR-100, which is alphabetical.
GROUPS: dict[str, tuple[int, ...]] = {
    "vehicles": (8, 13, 48, 58, 90, 41, 69, 81, 85, 89),
    "mammals": (3, 42, 43, 88, 97, 15, 19, 21, 31, 38, 34, 63, 64, 66, 75, 36, 50, 65, 74, 80),
    "fish and sea mammals": (1, 32, 67, 73, 91, 4, 30, 55, 72, 95),
    "insects, reptiles, others": (6, 7, 14, 18, 24, 27, 29, 44, 78, 93, 26, 45, 77, 79, 99),
    "plants": (54, 62, 70, 82, 92, 0, 51, 53, 57, 83, 47, 52, 56, 59, 96),
    "things of a household": (9, 10, 16, 28, 61, 22, 39, 40, 86, 87, 5, 20, 25, 84, 94),
    "landscapes and buildings": (12, 17, 37, 68, 76, 23, 33, 49, 60, 71),
    "people": (2, 11, 35, 46, 98),
}


def rows_of(classes: tuple[int, ...], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the first rows of some classes, nearly the same number of each.

    Args:
        classes: the classes.
        labels: int64 (N,), the fine classes of CIFAR-100.
        count: the number of rows.

    Returns:
        int64 (M,), ascending; M is below `count` if a class has too few images. Numbers of rows per
        class differ by at most one.
    """
    ends = count * np.arange(1, len(classes) + 1) // len(classes)
    sizes = np.diff(ends, prepend=0)
    rows = [np.flatnonzero(labels == c)[:n] for c, n in zip(classes, sizes, strict=True)]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def group_rows(labels: NDArray[np.int64], count: int) -> dict[str, NDArray[np.int64]]:
    """Return `count` rows of each group that has as many; `all` holds the first rows of all."""
    rows = {group: rows_of(classes, labels, count) for group, classes in GROUPS.items()}
    full = {group: some for group, some in rows.items() if len(some) == count}
    return full | {"all": np.arange(min(count, len(labels)))}
