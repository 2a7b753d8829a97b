"""Claims C1 to C8: what the thesis says, and what the measured numbers say of it."""

from dataclasses import dataclass

from papagaio_thesis.claims_of_experiments import gap, longer, more_data, transfer
from papagaio_thesis.claims_of_studies import explosion, size, taxonomy, temperature
from papagaio_thesis.records import ThesisResult
from papagaio_thesis.verdicts import Verdict

__all__ = ["Claim", "claims"]


@dataclass(frozen=True)
class Claim:
    """What is claimed, whether it holds, and the numbers that decide it."""

    name: str
    says: str
    verdict: Verdict
    text: str


def claims(result: ThesisResult) -> list[Claim]:
    """All eight; of what was not run, that it is not decided here."""
    return [
        Claim("C1", "Out-of-scope distillation transfers knowledge.", *transfer(result)),
        Claim("C2", "VGG16's loss explodes while its accuracy stays.", *explosion(result)),
        Claim("C3", "Distilling for longer does no harm and helps.", *longer(result)),
        Claim(
            "C4",
            "More transfer data is far better; distillation accuracy does not tell.",
            *more_data(result),
        ),
        Claim("C5", "Distillation regularises: no gap between train and test.", *gap(result)),
        Claim("C6", "The kind of transfer images decides what is learned.", *taxonomy(result)),
        Claim("C7", "VGG16 is the better student: its architecture, or its size?", *size(result)),
        Claim("C8", "Temperature must be left at 1.", *temperature(result)),
    ]
