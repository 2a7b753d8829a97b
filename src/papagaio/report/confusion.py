"""The copy against the black box, class by class."""

from dataclasses import dataclass

from papagaio.result import CopyDetail, Result

__all__ = ["Confused", "Row", "confused", "matrix"]

# As a table on a phone.
_LARGEST = 12
_LISTED = 10


@dataclass(frozen=True)
class Row:
    """What the copy names where the black box names one class.

    Attributes:
        name: the black box's class.
        cells: images and their share of the row, for each class that the copy names.
    """

    name: str
    cells: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Confused:
    """Two classes that the copy takes for one another: what each names, and on how many images."""

    black_box: str
    copied: str
    images: int


def matrix(result: Result, detail: CopyDetail) -> list[Row]:
    """One row per class of the black box; empty where there are more than twelve."""
    names = [one.name for one in result.named]
    if len(names) > _LARGEST:
        return []
    counts = {(pair.black_box, pair.copied): pair.images for pair in detail.pairs}
    rows = []
    for index, name in enumerate(names):
        row = [counts.get((index, other), 0) for other in range(len(names))]
        total = sum(row) or 1
        rows.append(Row(name, tuple((images, images / total) for images in row)))
    return rows


def confused(result: Result, detail: CopyDetail) -> list[Confused]:
    """The ten most frequent differences."""
    names = [one.name for one in result.named]
    return [
        Confused(names[pair.black_box], names[pair.copied], pair.images)
        for pair in detail.pairs
        if pair.black_box != pair.copied
    ][:_LISTED]
