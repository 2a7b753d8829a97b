"""What others call the threat that an audit measures: ids, names and versions."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

__all__ = ["STANDARDS", "Standard"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Standard:
    """An entry of a published catalogue.

    Attributes:
        catalogue: who published it.
        version: its edition; names change between editions, ids rarely.
        id: the entry's id; empty where entries have only names.
        name: the entry's name in that edition.
        meaning: what an audit has to do with it, in one sentence.
    """

    catalogue: str
    version: str
    id: str
    name: str
    meaning: str


STANDARDS = (
    Standard(
        "MITRE ATLAS",
        "December 2025",
        "AML.T0024.002",
        "Extract AI Model",
        "A functional copy is made by querying the model: what this audit does.",
    ),
    Standard(
        "MITRE ATLAS",
        "December 2025",
        "AML.T0005.001",
        "Train Proxy via Replication",
        "The copy serves to prepare attacks on the model: fidelity says how well.",
    ),
    Standard(
        "MITRE ATLAS",
        "December 2025",
        "AML.T0048.004",
        "AI Intellectual Property Theft",
        "The copy is used instead of the model: relative accuracy says how well.",
    ),
    Standard(
        "OWASP Machine Learning Security Top Ten",
        "2023",
        "ML05:2023",
        "Model Theft",
        "Here a functional copy, not the theft of the weights.",
    ),
    Standard(
        "NIST AI 100-2",
        "E2025",
        "",
        "Privacy attack: model extraction",
        "With query access and black-box knowledge; the black box is the target model, a copy a"
        " surrogate model.",
    ),
)
