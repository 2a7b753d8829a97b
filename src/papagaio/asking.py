"""Spending a budget: choose images, send them, write down what came back."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox, answer_checked
from papagaio.errors import BadImages, BadLedger, BadSettings
from papagaio.images.imageset import ImageSet, as_keys
from papagaio.ledger import Ledger, Question
from papagaio.progress import Progress, Step, no_progress

__all__ = ["ask", "choose", "queries_owed", "question_for"]


def question_for(box: BlackBox) -> Question:
    """What a ledger files the black box's answers under."""
    return Question(box.identity, box.contract.response)


def choose(images: ImageSet, budget: int, seed: int = 0) -> NDArray[np.int64]:
    """The images a budget is spent on: a seeded shuffle of the distinct ones, cut off.

    A smaller budget's choice is the beginning of a larger one's, so a curve over budgets costs no
    more than its last point.

    Args:
        images: the transfer set.
        budget: the most queries.
        seed: of the shuffle.

    Returns:
        int64 (M,), rows of `images`; fewer than `budget` where images are repeated in the set.

    Raises:
        BadSettings: a budget of 0, or of more than there are images.
    """
    if not 1 <= budget <= len(images):
        raise BadSettings(
            f"budget {budget:,}: {images.name} has {len(images):,} images; "
            f"say a --budget from 1 to {len(images):,}"
        )
    return np.random.default_rng(seed).permutation(images.distinct())[:budget]


def ask(
    box: BlackBox,
    images: ImageSet,
    rows: NDArray[np.int64],
    ledger: Ledger,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Have an answer to every chosen image, sending only those that the ledger does not hold.

    A request is noted before it is sent, and its answers before the next is sent, so nothing that
    was paid for is lost, whenever the process ends. It never sends more than `len(rows)` images.

    Args:
        box: the black box.
        images: the set that is asked about.
        rows: int64 (N,), which of its images; the budget is their number.
        ledger: where answers are kept.
        progress: told after every request.

    Returns:
        float32 (N, K), in the order of `rows`.

    Raises:
        BadImages: the images do not have the shape that the contract names.
        BadLedger: the ledger's answers have another number of classes.
        BadAnswer: the black box raised or broke its contract; earlier answers are kept.
        NoSpace: the disk is full; earlier answers are kept.
    """
    if images.shape != box.contract.shape:
        raise BadImages(
            f"{images.name}: images of {images.shape}, {box.name} takes {box.contract.shape}"
        )
    question = question_for(box)
    classes = ledger.classes(question)
    if classes not in (None, box.contract.classes):
        raise BadLedger(
            f"{ledger.path}: {box.identity} answered with {classes} classes before, and "
            f"{box.contract.classes} are expected now; mend --classes, or give the new model "
            "another --identity"
        )
    digests = images.digests[rows]
    missing = _owed(ledger, question, digests)
    done = len(rows) - len(missing)
    task = f"asking about {images.name}"
    progress(Step(task, done, len(rows), "images"))
    for start in range(0, len(missing), box.contract.batch):
        batch = missing[start : start + box.contract.batch]
        with _finishing_first():
            request = ledger.note_request(question, len(batch))
            scores = answer_checked(box, np.ascontiguousarray(images.pixels[rows[batch]]))
            ledger.note_answers(question, request, digests[batch], scores)
        done += len(batch)
        progress(Step(task, done, len(rows), "images"))
    return ledger.read(question, digests)


def queries_owed(box: BlackBox, digests: NDArray[np.uint8], ledger: Ledger) -> int:
    """How many of these images (digests, uint8, N x 32) `ask` would send, each once."""
    return len(_owed(ledger, question_for(box), digests))


@contextmanager
def _finishing_first() -> Iterator[None]:
    """Hold Ctrl-C back until the request in flight is answered and written; a second one is not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def remember(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _owed(ledger: Ledger, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows of `digests` to send: without an answer yet, and each image once."""
    missing = ledger.missing(question, digests)
    _, first = np.unique(as_keys(digests[missing]), return_index=True)
    return missing[np.sort(first)]
