"""What the claims share: verdicts, and figures as they are read."""

from collections.abc import Sequence
from typing import Literal

from papagaio.scores import Figure

__all__ = ["Judged", "Verdict", "ahead", "judged", "shown", "signed"]

Verdict = Literal["holds", "holds in part", "does not hold", "not decided here"]

# A verdict, and the numbers that decide it.
Judged = tuple[Verdict, str]


def ahead(one: Figure, other: Figure) -> bool | None:
    """Whether one lies above the other, intervals apart; None where they cannot be told apart."""
    if one.low > other.high:
        return True
    return False if one.high < other.low else None


def judged(verdicts: Sequence[bool | None]) -> Verdict:
    """One verdict of several, of which None are those that cannot be told."""
    if all(verdicts):
        return "holds"
    if any(verdicts):
        return "holds in part"
    return "does not hold" if False in verdicts else "not decided here"


def shown(score: Figure) -> str:
    """A share with its interval."""
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def signed(score: Figure) -> str:
    """A difference with its interval."""
    return f"{score.value:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
