"""Response forms: what each shows of an answer, and what can be recovered from it.

Pure functions over arrays. A response that shows less is derived from a stored one that shows more,
without a query.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadSettings
from papagaio.vocabulary import RESPONSES, Response

__all__ = [
    "PLAIN",
    "Answers",
    "centred_log",
    "complete",
    "derive",
    "is_derivable",
    "shown_form",
    "shown_step",
    "step_of",
]

# The form of full answers: a response, and the step of scores that have none.
PLAIN: tuple[Response, float] = ("probabilities", 0.0)

# Float32 holds it, and its logarithm is finite.
_SMALLEST = 1e-30


@dataclass(frozen=True)
class Answers:
    """What the black box showed about each image. Training takes this.

    Attributes:
        scores: float32 (N, K); 0 where nothing was shown.
        known: bool (N, K); whether the score was shown.
        resolution: the step to which shown scores are rounded, or 0 if they are not: a shown 0
            means less than half a step.
    """

    scores: NDArray[np.float32]
    known: NDArray[np.bool_]
    resolution: float = 0.0

    @classmethod
    def of(cls, probabilities: NDArray[np.float32]) -> "Answers":
        """Answers that show every probability (float32, N x K); one-hot rows for true labels."""
        return cls(probabilities, np.ones(probabilities.shape, bool))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> "Answers":
        return Answers(self.scores[rows], self.known[rows], self.resolution)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class each answer names (N,); the first of equal ones."""
        return np.asarray(self.scores.argmax(1), np.int64)


def step_of(response: str, resolution: float = 0.0) -> float:
    """The step of the scores in a response from scores of this resolution, or 0 if there is none.

    Rounding is never finer than the scores that are rounded, and a label has no scores.
    """
    kind, _, digits = response.partition("-")
    if kind == "label":
        return 0.0
    return max(resolution, 10.0 ** -int(digits)) if kind == "rounded" else resolution


def shown_step(step: float) -> str:
    """A step as people write it, such as 1/256."""
    return str(Fraction(step).limit_denominator(1_000_000))


def shown_form(response: str, resolution: float) -> str:
    """What answers show, in words."""
    return f"{response} in steps of {shown_step(resolution)}" if resolution else response


def derive(
    full: NDArray[np.float32], shown: Response, wanted: Response, resolution: float = 0.0
) -> Answers:
    """Return what `wanted` would have shown, from stored answers.

    Args:
        full: float32 (N, K), answers as they were stored.
        shown: the response form of the stored answers.
        wanted: the response form to derive.
        resolution: the step of the stored scores, or 0 if they have none.

    Raises:
        BadSettings: `wanted` shows something that `shown` did not.
    """
    if not is_derivable(wanted, shown):
        raise BadSettings(f"{wanted} cannot be derived from {shown}: the black box never showed it")
    scores: NDArray[np.generic] = full
    known = np.ones(full.shape, bool)
    kind, _, digits = wanted.partition("-")
    if kind == "rounded":
        scores = np.round(full, int(digits))
    elif kind == "top":
        known = _is_among_top(full, int(digits))
        if shown.startswith("top"):
            # A black box may show fewer: its zeros are classes that it did not show.
            known &= full > 0
        scores = np.where(known, full, 0)
    elif kind == "label":
        scores = _is_among_top(full, 1)
    return Answers(scores.astype(np.float32), known, step_of(wanted, resolution))


def complete(answers: Answers) -> NDArray[np.float32]:
    """Return probabilities (float32, N x K, rows sum to 1) that agree with what was shown.

    The remainder to 1 is spread evenly over the classes that were not shown. Where scores have a
    step, a shown 0 becomes a quarter of it, the middle of what it can mean, and a row whose sum
    rounding moved away from 1 is moved back, no score by more than half a step.
    """
    half = answers.resolution / 2
    shown = np.maximum(answers.scores, half / 2)
    hidden = (~answers.known).sum(1, keepdims=True)
    left = np.clip(1 - answers.scores.sum(1, keepdims=True), half, None)
    scores = np.where(answers.known, shown, left / np.maximum(hidden, 1))
    if half:
        scores = _moved_to_one(scores, answers, half)
    return np.asarray(scores / scores.sum(1, keepdims=True), np.float32)


def _moved_to_one(
    scores: NDArray[np.float32], answers: Answers, half: float
) -> NDArray[np.float32]:
    """Rows moved to the sum 1: each shown score by the same share of the room that it has."""
    excess = scores.sum(1, keepdims=True) - 1
    lowest = np.maximum(answers.scores - half, 0)
    room = np.where(excess > 0, scores - lowest, answers.scores + half - scores)
    room = np.where(answers.known, room, 0)
    share = np.minimum(np.abs(excess) / np.maximum(room.sum(1, keepdims=True), _SMALLEST), 1)
    # Above 0, because its logarithm is learned.
    return np.asarray(np.maximum(scores - np.sign(excess) * share * room, half / 500))


def centred_log(
    probabilities: NDArray[np.float32], smallest: float = _SMALLEST
) -> NDArray[np.float32]:
    """Return the black box's logits, up to one constant per image, which softmax ignores.

    `ln softmax(x) = x + C`, so subtracting the row's mean leaves `x - mean(x)`, and the answer at
    temperature T is `softmax((x - mean(x)) / T)` (Truong et al., Data-Free Model Extraction, CVPR
    2021, section 3.3; appendix A of the thesis draws the opposite conclusion).

    Args:
        probabilities: float32 (N, K).
        smallest: smaller probabilities count as this.

    Returns:
        float32 (N, K), each row with mean 0.
    """
    logs = np.log(np.clip(probabilities, smallest, None))
    return np.asarray(logs - logs.mean(1, keepdims=True), np.float32)


def is_derivable(wanted: str, shown: str) -> bool:
    """Whether everything that the response `wanted` shows follows from what `shown` shows."""
    if shown in {wanted, "probabilities"} or wanted == "label":
        return True
    same_kind = wanted.partition("-")[0] == shown.partition("-")[0]
    return same_kind and RESPONSES.index(wanted) > RESPONSES.index(shown)


def _is_among_top(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    among = np.zeros(scores.shape, bool)
    np.put_along_axis(among, order, values=True, axis=1)
    return among
