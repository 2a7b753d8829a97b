"""Claims C1 to C8 of the thesis, and what the measured numbers say about them."""

from collections.abc import Callable
from dataclasses import dataclass

from papagaio_thesis.claims_of_experiments import gap, longer, more_data, transfer
from papagaio_thesis.claims_of_studies import size, taxonomy, temperature
from papagaio_thesis.explosion import explosion
from papagaio_thesis.records import ThesisResult
from papagaio_thesis.verdicts import Judgement, Verdict

__all__ = ["Claim", "claims"]


@dataclass(frozen=True)
class Claim:
    """A claim, whether it holds, and the numbers that decide it."""

    name: str
    says: str
    verdict: Verdict
    text: str


_CLAIMS: dict[str, tuple[str, Callable[[ThesisResult], Judgement]]] = {
    "C1": ("Out-of-scope distillation transfers knowledge.", transfer),
    "C2": ("VGG16's loss explodes while its accuracy stays.", explosion),
    "C3": ("Distilling for longer does no harm and helps.", longer),
    "C4": ("More transfer data is far better; distillation accuracy does not tell.", more_data),
    "C5": ("Distillation regularises: no gap between train and test.", gap),
    "C6": ("The kind of transfer images decides what is learned.", taxonomy),
    "C7": ("VGG16 is the better student: its architecture, or its size?", size),
    "C8": ("Temperature must be left at 1.", temperature),
}


def claims(result: ThesisResult) -> list[Claim]:
    """Return all eight claims; those for which nothing was run are not decided."""
    judged = [(name, says, judge(result)) for name, (says, judge) in _CLAIMS.items()]
    return [Claim(name, says, one.verdict, one.text) for name, says, one in judged]
