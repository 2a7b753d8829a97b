"""What the black box named on the transfer set, and the copy's accuracy, class by class."""

from dataclasses import dataclass

from papagaio.findings.copies import trainings
from papagaio.findings.strongest import strongest_copy
from papagaio.result import Result
from papagaio.scores import Figure
from papagaio.summary import mean_share

__all__ = ["ClassFigures", "class_figures"]


@dataclass(frozen=True)
class ClassFigures:
    """One class.

    Attributes:
        name: the name of the class.
        named: the number of transfer images on which the black box named it.
        part: `named`, divided by that of the class named most often.
        accuracy: the headline copy's, on test images of this class, the mean over seeds; None
            where there is no copy or no such image.
    """

    name: str
    named: int
    part: float
    accuracy: Figure | None


def class_figures(result: Result) -> list[ClassFigures]:
    """One line per class, in the black box's order."""
    row = strongest_copy(result)
    cells = trainings(result, row) if row else []
    most = max((one.images for one in result.named), default=0) or 1
    return [
        ClassFigures(
            one.name,
            one.images,
            one.images / most,
            mean_share([cell.per_class[index] for cell in cells]),
        )
        for index, one in enumerate(result.named)
    ]
