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
    "RESPONSES",
    "Answers",
    "Response",
    "centred_log",
    "complete",
    "derive",
    "is_derivable",
    "recognised_response",
    "recognised_step",
    "shown_form",
    "shown_step",
    "step_of",
]

# The form of full answers: a response, and the step of scores that have none.
PLAIN: tuple[Response, float] = ("probabilities", 0.0)

# Float32 holds it, and its logarithm is finite.
_SMALLEST = 1e-30

# The steps that are recognised, the coarsest first: decimals, and eight bits.
_STEPS = (1e-1, 1e-2, 1 / 255, 1 / 256, 1e-3, 1e-4, 1e-5, 1e-6)
# Multiplying by a float32 step moves a multiple by one unit in the last place at most.
_UNIT = 2.0**-23
# Of the 2**24 float32 numbers per unit below 1, each multiple of a step has three so close to it.
_NEAR_MULTIPLES = 3 / 2**24
_CHANCE = 1e-6
# A row that is this much short of 1 hides some scores.
_SHORT = 0.01


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


def recognised_response(answers: NDArray[np.float32]) -> tuple[Response, float]:
    """What answers show, judged by their values: the least that all of them fit, and their step.

    * One-hot rows are labels.
    * At most k scores above 0 are `top-k` where some row is also clearly short of 1, by more than
      0.01 and by more than rounding down explains. Zeros alone are no sign: a sure black box may
      underflow.
    * Scores that are all multiples of a tenth, a hundredth or a thousandth are rounded; of 1/255,
      1/256, 1e-4, 1e-5 or 1e-6, probabilities in steps; see `recognised_step`.

    Args:
        answers: float32 (N, K), finite and not negative.

    Returns:
        the response, and the step where the response does not say it; 0 if there is none.
    """
    if ((answers > 0).sum(1) == 1).all() and (answers.max(1) == 1).all():
        return "label", 0.0
    step = recognised_step(answers)
    most, classes = int((answers > 0).sum(1).max()), answers.shape[1]
    missing = 1 - answers.sum(1, dtype=np.float64)
    if (missing > max(_SHORT, classes * step)).any():
        tops: tuple[tuple[Response, int], ...] = (("top-1", 1), ("top-3", 3), ("top-5", 5))
        for response, count in tops:
            if most <= count < classes:
                return response, step
    for response in RESPONSES:
        if response.startswith("rounded") and step_of(response) == step:
            return response, 0.0
    return "probabilities", step


def recognised_step(scores: NDArray[np.float32]) -> float:
    """The coarsest of the usual steps of which all scores are multiples, or 0.

    Chance is ruled out: a float32 score is as near as this to a multiple of a step with a
    probability of at most 2e-7 / step, so n rows with a score between 0 and 1 all are with that to
    the power of n, and a step is only taken where this is below one in a million (2 rows for three
    decimals, 9 for six). It can err only where rows repeat one another, such as those of a model
    that answers everything alike. A model that itself computes in steps, such as the votes of ten
    neighbours, has a step.

    Args:
        scores: float32 (N, K).
    """
    return next((step for step in _STEPS if _is_in_steps(scores, step)), 0.0)


def _is_in_steps(answers: NDArray[np.float32], step: float) -> bool:
    """Whether all scores are multiples of a step, and not by chance."""
    multiples = np.round(answers.astype(np.float64) / step) * step
    # A score near 0 is no 0: a sure black box comes as close to 0 as one likes.
    if (np.abs(answers - multiples) > _UNIT * multiples).any():
        return False
    telling = ((multiples > 0) & (multiples < 1)).any(1).sum()
    return bool((_NEAR_MULTIPLES / step) ** telling < _CHANCE)


def _is_among_top(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    among = np.zeros(scores.shape, bool)
    np.put_along_axis(among, order, values=True, axis=1)
    return among
