"""The check of answers: arrays of scores, and what rows a response form allows."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.advice import advice_on, advice_on_shape, declaration_for
from papagaio.errors import BadAnswer
from papagaio.recognising import recognised_response
from papagaio.responses import PLAIN, shown_step, step_of
from papagaio.vocabulary import Response

__all__ = ["check_form", "check_numbers"]

# Float32 probabilities of a softmax over a thousand classes sum to one within this.
_SUM_TOLERANCE = 1e-3
# How far a score may be from a multiple of its step: this, or this share of the step.
_OFF_STEP, _SHARE_OFF_STEP = 1e-5, 0.05

Scores = NDArray[np.float32]
Rows = NDArray[np.bool_]
# What is wrong, and which rows have it; {total} is the sum of such a row.
Fault = tuple[str, Rows]


def check_numbers(name: str, scores: object, shape: tuple[int, int], declared: Response) -> None:
    """Refuse what is no array of scores, whatever the response form.

    Args:
        name: what messages call the black box.
        scores: what it returned.
        shape: N and K.
        declared: the response form, for the advice.

    Raises:
        BadAnswer: it is not float32 (N, K), finite and not negative.
    """
    if not isinstance(scores, np.ndarray):
        returned = type(scores).__name__
        raise BadAnswer(f"{name} returned {returned}; return a NumPy array of float32, {shape}")
    if scores.shape != shape:
        advice, field = advice_on_shape(scores, shape)
        raise BadAnswer(f"{name} returned shape {scores.shape}, {advice}", field=field)
    if scores.dtype != np.float32:
        advice, field = advice_on(scores, declared)
        raise BadAnswer(f"{name} returned {scores.dtype}; {advice}", field=field)
    for fault, rows in (
        ("NaN or infinity", np.asarray(~np.isfinite(scores).all(1))),
        ("a negative score", np.asarray((scores < 0).any(1))),
    ):
        if rows.any():
            raise _refusal(name, scores, fault, rows, advice_on(scores, declared))


def check_form(name: str, scores: Scores, response: Response, resolution: float) -> None:
    """Refuse answers that a response form and a resolution do not allow.

    Args:
        name: what messages call the black box.
        scores: float32 (N, K), finite and not negative.
        response: the form.
        resolution: the step of the scores, or 0 if they have none.

    Raises:
        BadAnswer: there is such an answer.
    """
    for fault, rows in _faults(scores, response, resolution):
        if rows.any():
            advice = _declarable(scores) or advice_on(scores, response)
            raise _refusal(name, scores, fault, rows, advice)


def _faults(scores: Scores, response: Response, resolution: float) -> list[Fault]:
    step = step_of(response, resolution)
    off = f"scores that are not multiples of {shown_step(step)}", _off_step(scores, step)
    return [off, *_FORMS[response.partition("-")[0]](scores, response, step)]


def _declarable(scores: Scores) -> tuple[str, str] | None:
    """How to declare what these answers show, where that form allows all of them."""
    found = recognised_response(scores)
    if found == PLAIN or any(rows.any() for _, rows in _faults(scores, *found)):
        return None
    return declaration_for(*found)


def _refusal(
    name: str, scores: Scores, fault: str, rows: Rows, advice: tuple[str, str | None]
) -> BadAnswer:
    row = int(rows.argmax())
    returned = fault.format(total=f"{scores[row].sum(dtype=np.float64):.5g}")
    return BadAnswer(
        f"{name} returned {returned} for image {row} of a batch ({scores[row]}); {advice[0]}",
        field=advice[1],
    )


def _off_step(scores: Scores, step: float) -> Rows:
    if not step:
        return np.zeros(len(scores), bool)
    off = np.abs(scores - np.round(scores / step) * step).max(1)
    return np.asarray(off > min(_OFF_STEP, _SHARE_OFF_STEP * step))


def _distribution(scores: Scores, _: Response, step: float) -> list[Fault]:
    # Each of K scores is off by at most half a step.
    reach = scores.shape[1] * step / 2 + _SUM_TOLERANCE
    off = np.abs(scores.sum(1, dtype=np.float64) - 1) > reach
    return [("scores that sum to {total} and not to 1", off)]


def _top(scores: Scores, response: Response, step: float) -> list[Fault]:
    most, shown = int(response.partition("-")[2]), (scores > 0).sum(1)
    over = scores.sum(1, dtype=np.float64) > 1 + most * step / 2 + _SUM_TOLERANCE
    return [
        (f"more than {most} scores above 0", shown > most),
        ("no score above 0", shown == 0),
        ("scores that sum to {total}, more than 1", over),
    ]


def _label(scores: Scores, _: Response, __: float) -> list[Fault]:
    is_one_hot = (scores.max(1) == 1) & ((scores != 0).sum(1) == 1)
    return [("a row that is not one-hot", ~is_one_hot)]


_FORMS: dict[str, Callable[[Scores, Response, float], list[Fault]]] = {
    "probabilities": _distribution,
    "rounded": _distribution,
    "top": _top,
    "label": _label,
}
