"""What answers show, judged by their values alone."""

import numpy as np
from numpy.typing import NDArray

from papagaio.responses import step_of
from papagaio.vocabulary import RESPONSES, Response

__all__ = ["recognised_response", "recognised_step"]

# The steps that are recognised, the coarsest first: decimals, and eight bits.
_STEPS = (1e-1, 1e-2, 1 / 255, 1 / 256, 1e-3, 1e-4, 1e-5, 1e-6)
# Multiplying by a float32 step moves a multiple by one unit in the last place at most.
_UNIT = 2.0**-23
# Of the 2**24 float32 numbers per unit below 1, each multiple of a step has three so close to it.
_NEAR_MULTIPLES = 3 / 2**24
_CHANCE = 1e-6
# A row that is this much short of 1 hides some scores.
_SHORT = 0.01


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
