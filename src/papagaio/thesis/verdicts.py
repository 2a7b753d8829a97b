"""What the claims share: verdicts, and figures as they are read."""

from collections.abc import Sequence
from typing import Literal

from papagaio.scores import Score

__all__ = ["Judged", "Verdict", "judged", "shown", "signed"]

Verdict = Literal["holds", "holds in part", "does not hold", "not decided here"]

# A verdict, and the numbers that decide it.
Judged = tuple[Verdict, str]


def judged(verdicts: Sequence[bool]) -> Verdict:
    """One verdict of several."""
    if all(verdicts):
        return "holds"
    return "holds in part" if any(verdicts) else "does not hold"


def shown(score: Score) -> str:
    """A share with its interval."""
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def signed(score: Score) -> str:
    """A difference with its interval."""
    return f"{score.value:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
