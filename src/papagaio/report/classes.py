"""Accuracy class by class."""

from dataclasses import dataclass

from papagaio.report.headline import headline_row
from papagaio.result import Result
from papagaio.scores import Figure
from papagaio.summary import mean_figure

__all__ = ["ClassAccuracy", "class_accuracies"]


@dataclass(frozen=True)
class ClassAccuracy:
    """The headline copy's accuracy on one true class, the mean over seeds."""

    name: str
    accuracy: Figure | None


def class_accuracies(result: Result) -> list[ClassAccuracy]:
    """One line for every class of the headline's copy; none where there is no copy."""
    row = headline_row(result)
    if row is None:
        return []
    same = {"kind", "student", "recipe", "response", "budget"}
    wanted = row.model_dump(include=same)
    copies = [cell for cell in result.cells if cell.model_dump(include=same) == wanted]
    columns = zip(*(cell.per_class for cell in copies), strict=True)
    return [
        ClassAccuracy(_name(result, index), mean_figure(column, is_share=True))
        for index, column in enumerate(columns)
    ]


def _name(result: Result, index: int) -> str:
    names = result.black_box.class_names or []
    return names[index] if index < len(names) else str(index)
