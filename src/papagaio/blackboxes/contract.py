"""What every black box is held to: `Contract`, `BlackBox`, and the check of its answers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadAnswer
from papagaio.vocabulary import Response

__all__ = ["BlackBox", "Contract", "answer_checked"]

# Float32 probabilities of a softmax over a thousand classes sum to one within this.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Contract:
    """What a black box takes and gives.

    Attributes:
        height, width, channels: of every image, uint8.
        classes: how many scores an answer has.
        batch: the most images a request may hold.
        response: how much an answer shows.
        class_names: what the classes are called, or None.
    """

    height: int
    width: int
    channels: int
    classes: int
    batch: int = 64
    response: Response = "probabilities"
    class_names: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels


class BlackBox(Protocol):
    """A classifier seen from outside.

    Attributes:
        contract: what it takes and gives.
        name: what it is called in reports.
        identity: a stable name of *this* model: a digest of its weights, or its owner's word.
    """

    @property
    def contract(self) -> Contract: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answer a batch.

        Args:
            images: uint8 (N, H, W, C), N at most `contract.batch`.

        Returns:
            float32 (N, K), a row of scores for each image, in order; never a part of the batch.
        """
        ...


def answer_checked(box: BlackBox, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ask, and let nothing through that the contract does not allow.

    Args:
        box: the black box.
        images: uint8 (N, H, W, C).

    Returns:
        float32 (N, K).

    Raises:
        BadAnswer: the black box raised, or answered with another shape or type, with NaN, with
            negative scores, or with rows that do not sum to one.
    """
    try:
        scores = box.answer(images)
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadAnswer(
            f"{box.name} raised {type(error).__name__}: {error}; {_how_to_go_on(box)}"
        ) from error
    problem = _problem(scores, len(images), box.contract)
    if problem:
        raise BadAnswer(f"{box.name} {problem}; {_how_to_go_on(box)}")
    return scores


def _how_to_go_on(box: BlackBox) -> str:
    # An identity by default is a digest of the file that is about to be mended.
    return (
        "answers already paid are kept; once it is mended run the same command again, "
        f"with --identity {box.identity} if its file changed but not its answers"
    )


def _problem(scores: object, images: int, contract: Contract) -> str | None:
    expected = (images, contract.classes)
    if not isinstance(scores, np.ndarray):
        return f"returned {type(scores).__name__}; return a NumPy array of float32, {expected}"
    if scores.shape != expected:
        return (
            f"returned shape {scores.shape} where {expected} is due "
            f"({images} images, {contract.classes} classes); mend it, or say --classes"
        )
    if scores.dtype != np.float32:
        return f"returned {scores.dtype}; return float32, as in scores.astype('float32')"
    rows = (
        (~np.isfinite(scores).all(1), "NaN or infinity", "a finite score for every class"),
        ((scores < 0).any(1), "a negative score", "probabilities: the softmax of logits"),
        (_sums_off_one(scores), "scores that do not sum to 1", "probabilities"),
    )
    for wrong, what, instead in rows:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            return f"returned {what} for image {row} of a batch ({scores[row]}); return {instead}"
    return None


def _sums_off_one(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(scores.sum(1, dtype=np.float64) - 1) > _SUM_TOLERANCE)
