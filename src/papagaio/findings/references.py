"""Floors and ceilings: what the figures of a copy are compared with."""

from dataclasses import dataclass

from papagaio.controls import CONTROLS, Control
from papagaio.result import Result
from papagaio.scores import Figure

__all__ = ["Reference", "highest", "references"]


@dataclass(frozen=True)
class Reference:
    """A floor or ceiling.

    Attributes:
        side: `floor` or `ceiling`.
        name: one or two words.
        meaning: one sentence.
        accuracy, fidelity: None where not measured.
        budget: the number of images it learned from; None where nothing was trained.
    """

    side: str
    name: str
    meaning: str
    accuracy: Figure | None
    fidelity: Figure | None
    budget: int | None = None

    @property
    def level(self) -> float | None:
        """Its height in the plot of fidelities: its accuracy where nothing was trained."""
        figure = self.fidelity or self.accuracy
        return None if figure is None else figure.value


def references(result: Result) -> list[Reference]:
    """Every floor and ceiling, floors first; those left out of the audit have no figures."""
    given, box = result.references, result.black_box.accuracy
    return [
        Reference("floor", "chance", "A class drawn at random.", given.chance, None),
        Reference("floor", "majority", "Always the most frequent class.", given.majority, None),
        *(_trained(result, control) for control in CONTROLS),
        Reference("ceiling", "black box", "The black box itself, on the test set.", box, None),
    ]


def highest(result: Result, side: str) -> Reference | None:
    """The trained floor or ceiling with the highest fidelity; None where there is none."""
    scored = [one for one in references(result) if one.side == side and one.fidelity]
    return max(scored, key=lambda one: one.level or 0, default=None)


def _trained(result: Result, control: Control) -> Reference:
    row = next((row for row in result.summary if row.kind == control.kind), None)
    if row is None:
        return Reference(control.side, control.title, control.meaning, None, None)
    return Reference(
        control.side, control.title, control.meaning, row.accuracy, row.fidelity, row.budget
    )
