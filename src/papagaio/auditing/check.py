"""The check on the test set, before anything is spent on the transfer set.

A black box that is used in the wrong way (scale of pixels, order of colours or of classes) still
answers, but nothing measured on its copies then means anything.
"""

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.advice import declaration_for
from papagaio.blackboxes.contract import BlackBox
from papagaio.errors import BadAnswer
from papagaio.numbers import percent, with_interval
from papagaio.recognising import recognised_response
from papagaio.responses import PLAIN, shown_form
from papagaio.scores import is_better_than_majority, majority, names_almost_one_class, rate

__all__ = ["check_learnable", "check_response", "check_test_answers"]

_MISUSED = (
    "It is probably used in the wrong way, or the test set's classes are in another order. Check "
    "the scale of pixels (0..255 or 0..1), the order of colours (RGB or BGR), and the order of "
    "class folders; papagaio check tries scales and colours for a model's file"
)
# Fewer answers may be equal by chance, where only a label is seen.
_ENOUGH = 10
_ONE_CLASS = "All test images are of one class, which shows nothing: name a test set with several"


def check_test_answers(
    box: BlackBox, answers: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Refuse a black box that seems to be used in the wrong way.

    Args:
        box: the black box.
        answers: float32 (N, K), to the test images.
        labels: int64 (N,), their true classes.

    Raises:
        BadAnswer: the interval of its accuracy does not lie wholly above the share of the most
            frequent class, or it names almost only one class.
    """
    named = answers.argmax(1)
    accuracy = rate(named == labels)
    most = majority(labels).value
    if not is_better_than_majority(accuracy, labels):
        problem = (
            f"is right on {with_interval(accuracy)} of {len(labels):,} test images, which is not "
            f"better than always naming the most frequent class ({percent(most)})"
        )
    elif names_almost_one_class(answers, labels):
        counts = np.bincount(named)
        share = counts.max() / len(named)
        problem = f"names class {counts.argmax()} for {percent(share)} of the test images"
    else:
        return
    cause = _ONE_CLASS if most == 1 else _MISUSED
    raise BadAnswer(
        f"{box.name} {problem}. {cause}; nothing was spent on the transfer set. These answers are "
        f"kept under {box.identity}: give a corrected black box another identity. To audit it as "
        "it is, add --unchecked"
    )


def check_response(box: BlackBox, answers: NDArray[np.float32]) -> None:
    """Refuse a black box that shows less than it declares.

    Copies would learn invented logarithms of the zeros in its answers.

    Args:
        box: the black box.
        answers: float32 (N, K), to the test images.

    Raises:
        BadAnswer: it declares plain probabilities, and its answers are one-hot rows, only the
            highest few, rounded, or in steps.
    """
    contract, found = box.contract, recognised_response(answers)
    if (contract.response, contract.resolution) == PLAIN and found != PLAIN:
        declare, field = declaration_for(*found)
        raise BadAnswer(
            f"{box.name} declares probabilities, and all its answers to the test images fit "
            f"{shown_form(*found)}: {declare}; nothing was spent on the transfer set. To audit it "
            "as it is, add --unchecked",
            field=field,
        )


def check_learnable(box: BlackBox, answers: NDArray[np.float32]) -> None:
    """Refuse answers from which nothing can be learned: all are the same.

    Args:
        box: the black box.
        answers: float32 (N, K), to the transfer images.

    Raises:
        BadAnswer: there are at least ten answers, and all are equal.
    """
    if len(answers) >= _ENOUGH and (answers == answers[0]).all():
        raise BadAnswer(
            f"{box.name} gives the same answer, class {answers[0].argmax()}, to all "
            f"{len(answers):,} transfer images: nothing can be learned from them. Name other "
            "images; these answers are kept. To audit it as it is, add --unchecked",
            field="transfer",
        )
