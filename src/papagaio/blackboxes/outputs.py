"""What a model's output is, and the scores that a black box answers with."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from papagaio.recognising import recognised_step
from papagaio.vocabulary import Returned

__all__ = ["recognised", "scores_of"]

Output = NDArray[np.generic]

# Probabilities in float16 sum to one within this.
_SUM_TOLERANCE = 5e-3


def recognised(output: Output, resolution: float = 0.0) -> Returned:
    """What an output is, by its values: any rows that are no distribution are taken for logits.

    Args:
        output: (N, K) of floats, or (N,) of integers.
        resolution: its step, where it is known; otherwise that of probabilities is recognised.
    """
    if output.dtype.kind in "iu" and output.ndim == 1:
        return "labels"
    rows = output.astype(np.float64)
    if (rows >= 0).all() and (rows <= 1 + _SUM_TOLERANCE).all():
        step = resolution or recognised_step(output.astype(np.float32))
        # Each of K scores is off by at most half a step.
        reach = max(_SUM_TOLERANCE, rows.shape[1] * step / 2)
        if (np.abs(rows.sum(1) - 1) <= reach).all():
            return "probabilities"
    if (rows <= 0).all() and (np.abs(logsumexp(rows, axis=1)) <= _SUM_TOLERANCE).all():
        return "log-probabilities"
    return "logits"


def scores_of(output: Output, returned: Returned, classes: int) -> NDArray[np.float32]:
    """Turn an output into scores, float32 (N, K).

    Args:
        output: (N, K) of floats, or (N,) of integers if it is `labels`.
        returned: what it is.
        classes: K.

    Returns:
        probabilities as they are, and those of logits and log-probabilities; one-hot rows of
        labels. NaN stays NaN, and what cannot be computed becomes it: the check of answers refuses
        it.
    """
    if returned == "labels":
        return np.eye(classes, dtype=np.float32)[output.astype(np.int64)]
    with np.errstate(invalid="ignore", over="ignore"):
        if returned == "probabilities":
            return output.astype(np.float32)
        return np.asarray(softmax(output.astype(np.float64), axis=1), np.float32)
