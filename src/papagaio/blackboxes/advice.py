"""What a black box returned -> what it should return, or what its owner should declare."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from papagaio.responses import shown_step
from papagaio.vocabulary import Response

__all__ = ["advice_on", "advice_on_shape", "declaration_for"]

# What rows of whole numbers, or of per cent, commonly sum to.
_WHOLES = (100, 255, 256, 1000, 10_000, 65_535, 65_536)
_TOLERANCE = 5e-3
_FORMS = {
    "probabilities": "return probabilities that sum to 1",
    "rounded": "return probabilities rounded as declared",
    "top": "return the largest probabilities, and zeros elsewhere, as declared",
    "label": "return one-hot rows: 1 for the named class, 0 elsewhere",
}

Scores = NDArray[np.generic]


def advice_on(scores: Scores, declared: Response) -> tuple[str, str | None]:
    """What to do instead, in words, and the setting that they are about, if any.

    Args:
        scores: (N, K) of numbers, which the response declared does not allow.
        declared: what the black box is said to show.
    """
    kind = scores.dtype.kind
    if kind not in "biu" and scores.dtype != np.float32:
        return "return float32, for example scores.astype('float32')", None
    values = scores.astype(np.float64)
    if not np.isfinite(values).all():
        return "return a finite score for every class", None
    if kind in "biu" or ((values < 0).any() and (values == np.round(values)).all()):
        return _on_whole_numbers(values)
    return _on_logits(values) if (values < 0).any() else _on_rows(values, declared), None


def advice_on_shape(returned: Scores, expected: tuple[int, int]) -> tuple[str, str | None]:
    """What to do instead of returning an array of another shape."""
    images, classes = expected
    if returned.shape == (images,) and returned.dtype.kind in "iu":
        one_hot = f"numpy.eye({classes}, dtype='float32')[labels]"
        return f"the numbers of classes; return {one_hot}, and declare that it shows label", "shows"
    return (
        f"but {images} images of {classes} classes need {expected}; fix it, or declare another "
        "number of classes"
    ), None


def declaration_for(response: Response, resolution: float) -> tuple[str, str]:
    """How to declare what answers show, in words, and the setting; not for plain probabilities."""
    if response == "probabilities":
        return f"declare the resolution {shown_step(resolution)}", "resolution"
    steps = f" and the resolution {shown_step(resolution)}" if resolution else ""
    return f"declare that it shows {response}{steps}", "shows"


def _on_whole_numbers(values: NDArray[np.float64]) -> tuple[str, str | None]:
    if ((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all():
        advice = (
            "these are labels: return scores.astype('float32'), and declare that it shows label"
        )
        return advice, "shows"
    whole = _whole(values)
    if whole:
        return (
            f"these are parts of {whole}: return float32 scores divided by {whole}, and declare "
            f"the resolution 1/{whole}"
        ), "resolution"
    return (
        "these are whole numbers, perhaps of a quantised model: return float32 scores that sum to "
        "1, from a quantised model (scores - zero point) * step"
    ), None


def _on_logits(values: NDArray[np.float64]) -> str:
    if (values <= 0).all() and (np.abs(logsumexp(values, axis=1)) <= _TOLERANCE).all():
        return (
            "these look like log-probabilities: return their exponential, or declare that a file "
            "or a service returns log-probabilities"
        )
    return (
        "return probabilities: the softmax of logits, or declare that a file or a service returns "
        "logits"
    )


def _on_rows(values: NDArray[np.float64], declared: Response) -> str:
    """On floats that are not negative, and of no form that could be declared instead."""
    wanted = _FORMS[declared.partition("-")[0]]
    if declared != "probabilities":
        return wanted
    if whole := _whole(values):
        return f"return scores divided by {whole}"
    if (values > 1 + _TOLERANCE).any():
        return f"{wanted}: of logits their softmax, otherwise scores divided by their sum"
    return (
        f"{wanted}; if they are rounded, declare that it shows rounded-k, or their resolution; if "
        "only the highest are shown, top-k"
    )


def _whole(values: NDArray[np.float64]) -> int | None:
    """What all rows are parts of, such as 100 of per cent."""
    totals = values.sum(1)
    whole = min(_WHOLES, key=lambda one: abs(one - float(totals.mean())))
    # Rounding moves a part by up to a half.
    rounding = min(values.shape[1] / 2, whole / 10) if (values == np.round(values)).all() else 0
    reach = max(rounding, _TOLERANCE * whole)
    return whole if (values >= 0).all() and (np.abs(totals - whole) <= reach).all() else None
