"""What a response form shows of an answer, and what can be read back from it.

Pure functions over arrays: weaker responses are derived from stored stronger ones, at no query.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadSettings

__all__ = ["RESPONSES", "Answers", "Response", "centred_log", "complete", "derive", "is_derivable"]

Response = Literal[
    "probabilities", "rounded-3", "rounded-2", "rounded-1", "top-5", "top-3", "top-1", "label"
]
RESPONSES: tuple[Response, ...] = get_args(Response)

# What float32 can hold and a logarithm can bear.
_SMALLEST = 1e-30


@dataclass(frozen=True)
class Answers:
    """What a response form showed.

    Attributes:
        scores: float32 (N, K); 0 where nothing was shown.
        known: bool (N, K); whether the score was shown.
        asked: int64 (N,); the row of the transfer set each answer belongs to.
        resolution: a shown 0 means less than twice this.
    """

    scores: NDArray[np.float32]
    known: NDArray[np.bool_]
    asked: NDArray[np.int64]
    resolution: float = 0.0

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class each answer names (N,); the first of equal ones."""
        return np.asarray(self.scores.argmax(1), np.int64)


def derive(full: NDArray[np.float32], shown: Response, wanted: Response) -> Answers:
    """What `wanted` would have shown, from stored answers.

    Args:
        full: float32 (N, K), answers as they were stored.
        shown: the response form of the stored answers.
        wanted: the response form to derive.

    Returns:
        Answers whose `asked` counts from 0.

    Raises:
        BadSettings: `wanted` shows something that `shown` did not.
    """
    if not is_derivable(wanted, shown):
        raise BadSettings(f"{wanted} cannot be derived from {shown}: the black box never showed it")
    scores: NDArray[np.generic] = full
    known = np.ones(full.shape, bool)
    kind, _, digits = wanted.partition("-")
    resolution = 10.0 ** -int(digits) / 4 if kind == "rounded" else 0.0
    if kind == "rounded":
        scores = np.round(full, int(digits))
    elif kind == "top":
        known = _is_among_top(full, int(digits))
        scores = np.where(known, full, 0)
    elif kind == "label":
        scores = _is_among_top(full, 1)
    rows = np.arange(len(full), dtype=np.int64)
    return Answers(scores.astype(np.float32), known, rows, resolution)


def complete(answers: Answers) -> NDArray[np.float32]:
    """Probabilities (float32, N x K, rows sum to one) that agree with what was shown.

    What is left to one is spread evenly over the classes that were not shown. Where rounding left a
    0, half of what it may hide is put back: a logarithm would take the 0 at its word. Rows that
    rounding took off one are put right by division.
    """
    shown = np.maximum(answers.scores, answers.resolution)
    hidden = (~answers.known).sum(1, keepdims=True)
    left = np.clip(1 - answers.scores.sum(1, keepdims=True), 0, None)
    scores = np.where(answers.known, shown, left / np.maximum(hidden, 1))
    return np.asarray(scores / scores.sum(1, keepdims=True), np.float32)


def centred_log(
    probabilities: NDArray[np.float32], smallest: float = _SMALLEST
) -> NDArray[np.float32]:
    """The black box's logits, up to a constant an image, which softmax ignores.

    `ln softmax(x) = x + C`, so subtracting the row's mean leaves `x - mean(x)`: with it every
    temperature is `softmax((x - mean(x)) / T)` (Truong et al., Data-Free Model Extraction, CVPR
    2021, section 3.3; appendix A of the thesis draws the opposite conclusion).

    Args:
        probabilities: float32 (N, K).
        smallest: smaller ones count as this.

    Returns:
        float32 (N, K), each row with mean 0.
    """
    logs = np.log(np.clip(probabilities, smallest, None))
    return np.asarray(logs - logs.mean(1, keepdims=True), np.float32)


def is_derivable(wanted: str, shown: str) -> bool:
    """Whether everything that the response `wanted` shows follows from what `shown` shows."""
    if shown == "probabilities" or wanted == "label":
        return True
    same_kind = wanted.partition("-")[0] == shown.partition("-")[0]
    return same_kind and RESPONSES.index(wanted) >= RESPONSES.index(shown)


def _is_among_top(scores: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    among = np.zeros(scores.shape, bool)
    np.put_along_axis(among, order, values=True, axis=1)
    return among
