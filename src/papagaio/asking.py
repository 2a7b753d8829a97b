"""Asking the black box: send images in requests, and keep every answer in the ledger."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox, checked_answers
from papagaio.errors import BadImages, BadLedger
from papagaio.images.imageset import ImageSet, as_keys
from papagaio.ledger import Ledger, Question
from papagaio.progress import Progress, Step, no_progress

__all__ = ["ask", "check_shape", "queries_missing", "question_for"]


def question_for(box: BlackBox) -> Question:
    """The key under which a ledger keeps the black box's answers."""
    return Question(box.identity, box.contract.response)


def ask(
    box: BlackBox, images: ImageSet, ledger: Ledger, progress: Progress = no_progress
) -> NDArray[np.float32]:
    """Return an answer for every image, sending only those that the ledger does not hold.

    A request is noted before it is sent, and its answers before the next is sent, so nothing that
    was paid for is lost, whenever the process ends. It never sends more than `len(images)` images.

    Args:
        box: the black box.
        images: what it is asked about; the budget is their number.
        ledger: where answers are kept.
        progress: told after every request.

    Returns:
        float32 (N, K), in the order of the images.

    Raises:
        BadImages: the images do not have the shape that the contract names.
        BadLedger: the ledger's answers have another number of classes.
        BadAnswer: the black box raised or broke its contract; earlier answers are kept.
        NoSpace: the disk is full; earlier answers are kept.
    """
    check_shape(box, images)
    question = question_for(box)
    classes = ledger.classes(question)
    if classes not in (None, box.contract.classes):
        raise BadLedger(
            f"{ledger.path}: {box.identity} answered with {classes} classes before, and "
            f"{box.contract.classes} are declared now; correct the number of classes, or give the "
            "new model another identity"
        )
    missing = _missing(ledger, question, images.digests)
    done = len(images) - len(missing)
    task = f"asking about {images.name}"
    progress(Step(task, done, len(images), "images"))
    for start in range(0, len(missing), box.contract.batch):
        rows = missing[start : start + box.contract.batch]
        with _finishing_first():
            request = ledger.note_request(question, len(rows))
            scores = checked_answers(box, np.ascontiguousarray(images.pixels[rows]))
            ledger.note_answers(question, request, images.digests[rows], scores)
        done += len(rows)
        progress(Step(task, done, len(images), "images"))
    return ledger.read(question, images.digests)


def check_shape(box: BlackBox, images: ImageSet) -> None:
    """Refuse images that the black box does not take.

    Raises:
        BadImages: they have another shape than the contract names.
    """
    if images.shape != box.contract.shape:
        raise BadImages(
            f"{images.name}: images of {images.shape}, but {box.name} takes {box.contract.shape}"
        )


def queries_missing(box: BlackBox, digests: NDArray[np.uint8], ledger: Ledger) -> int:
    """How many of these images (digests, uint8, N x 32) `ask` would send, each once."""
    return len(_missing(ledger, question_for(box), digests))


@contextmanager
def _finishing_first() -> Iterator[None]:
    """Hold back the first Ctrl-C until the request in flight is answered and stored."""
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


def _missing(ledger: Ledger, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows of `digests` that have no answer yet, each image once."""
    missing = ledger.missing(question, digests)
    _, first = np.unique(as_keys(digests[missing]), return_index=True)
    return missing[np.sort(first)]
