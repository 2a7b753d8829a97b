"""CIFAR-100's classes in groups: which kind of images teaches which class? (claim C6).

The groups join superclasses of CIFAR-100 (Krizhevsky 2009), so that each has classes enough for an
equal number of images.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUPS", "group_rows", "rows_of"]

# By the classes' positions in CIFAR-100's own, alphabetical order.
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
    """The first `count` images of a group, every class of it as often as the others, or once less.

    Args:
        classes: the group's.
        labels: int64 (N,), the fine classes of CIFAR-100.
        count: how many.

    Returns:
        int64 (M,), rows in ascending order; fewer than `count` where there are fewer.
    """
    # Shares of the count that are as equal as whole numbers can be.
    ends = count * np.arange(1, len(classes) + 1) // len(classes)
    each = np.diff(ends, prepend=0)
    found = [np.flatnonzero(labels == c)[:n] for c, n in zip(classes, each, strict=True)]
    return np.sort(np.concatenate(found)).astype(np.int64)


def group_rows(labels: NDArray[np.int64], count: int) -> dict[str, NDArray[np.int64]]:
    """Rows of `count` images of every group that has so many; and, as `all`, the first images."""
    found = {group: rows_of(classes, labels, count) for group, classes in GROUPS.items()}
    full = {group: rows for group, rows in found.items() if len(rows) == count}
    return full | {"all": np.arange(min(count, len(labels)))}
