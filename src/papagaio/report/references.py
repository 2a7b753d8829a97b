"""Floors and ceilings: what a copy's figures are to be read against."""

from dataclasses import dataclass

from papagaio.report.headline import row_of
from papagaio.result import Kind, Result
from papagaio.scores import Figure

__all__ = ["Reference", "references"]


@dataclass(frozen=True)
class Reference:
    """A floor or ceiling.

    Attributes:
        side: `floor` or `ceiling`.
        name: in a word or two.
        meaning: in one line.
        accuracy, fidelity: as far as they were measured.
        budget: how many images it learned from, where it learned.
    """

    side: str
    name: str
    meaning: str
    accuracy: Figure | None
    fidelity: Figure | None
    budget: int | None = None

    @property
    def level(self) -> float | None:
        """Where it stands beside fidelities; its accuracy, where nothing was trained."""
        figure = self.fidelity or self.accuracy
        return None if figure is None else figure.value


_TRAINED: tuple[tuple[Kind, str, str], ...] = (
    (
        "floor:shuffled",
        "shuffled",
        "A student of the same images with each other\u2019s answers: the knowledge taken out.",
    ),
    (
        "floor:noise",
        "noise",
        "A student of the black box\u2019s answers about noise images: pictures of nothing.",
    ),
    (
        "ceiling:labels",
        "true labels",
        "A student of the owner\u2019s own images and their true labels: honest training.",
    ),
    (
        "ceiling:own-data",
        "own data",
        "A student of the black box\u2019s answers about the owner\u2019s images: the best to ask.",
    ),
)


def references(result: Result) -> list[Reference]:
    """Every floor and ceiling, floors first; those left out of the audit have no figures."""
    given, box = result.references, result.black_box.accuracy
    return [
        Reference("floor", "chance", "A class drawn at random.", given.chance, None),
        Reference("floor", "majority", "Always the most frequent class.", given.majority, None),
        *(_trained(result, *one) for one in _TRAINED),
        Reference("ceiling", "black box", "The black box itself, on the test set.", box, None),
    ]


def _trained(result: Result, kind: Kind, name: str, meaning: str) -> Reference:
    row = row_of(result, kind)
    side = kind.partition(":")[0]
    if row is None:
        return Reference(side, name, meaning, None, None)
    return Reference(side, name, meaning, row.accuracy, row.fidelity, row.budget)
