"""Asking the black box: send images in requests, and keep every answer in the ledger."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice, pairwise
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox, checked_answers
from papagaio.canaries import Canaries, Request, no_canaries, requests_of
from papagaio.errors import BadAnswer, BadImages, BadLedger
from papagaio.images.imageset import ImageSet, as_keys
from papagaio.ledger import Ledger, Question
from papagaio.progress import Progress, Step, no_progress

__all__ = ["answered_before", "ask", "check_shape", "queries_missing", "question_for"]

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]


def question_for(box: BlackBox) -> Question:
    """The key under which a ledger keeps the black box's answers."""
    return Question(box.identity, box.contract.response)


def ask(
    box: BlackBox,
    images: ImageSet,
    ledger: Ledger,
    progress: Progress = no_progress,
    *,
    canaries: Canaries | None = None,
    query: Callable[[BlackBox, Pixels], Scores] = checked_answers,
) -> NDArray[np.float32]:
    """Return an answer for every image, sending only those that the ledger does not hold.

    As many requests are in flight as the contract allows. Each is noted before it is sent, and its
    answers as soon as they come, so nothing that was paid for is lost, whenever the process ends.
    It never sends more than `len(images)` images and the canaries among them. After an error or a
    first Ctrl-C no request is sent any more, and the answers to those in flight are still stored.

    Args:
        box: the black box.
        images: what it is asked about; the budget is their number.
        ledger: where answers are kept.
        progress: told after every request.
        canaries: known images to send among the others, to notice a black box that no longer
            answers as it did.
        query: sends a batch, and refuses answers that break the contract.

    Returns:
        float32 (N, K), in the order of the images.

    Raises:
        BadImages: the images do not have the shape that the contract names.
        BadLedger: the ledger's answers have another number of classes.
        BadAnswer: the black box raised, broke its contract, or answers canaries in another way;
            earlier answers are kept.
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
    canaries = canaries or no_canaries(images.pixels, box.contract.classes)
    requests = requests_of(missing, box.contract.batch, len(canaries.pixels))
    for answered in _send(box, images, requests, ledger, canaries, query):
        done += answered
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


def answered_before(box: BlackBox, digests: NDArray[np.uint8], ledger: Ledger) -> NDArray[np.int64]:
    """The rows of these images (digests, uint8, N x 32) whose answers the ledger holds."""
    return np.setdiff1d(np.arange(len(digests)), ledger.missing(question_for(box), digests))


def _send(
    box: BlackBox,
    images: ImageSet,
    requests: Iterator[Request],
    ledger: Ledger,
    canaries: Canaries,
    query: Callable[[BlackBox, Pixels], Scores],
) -> Iterator[int]:
    """Send requests and store the answers; yield the number of new images of each."""
    question, most = question_for(box), box.contract.concurrency
    in_flight: dict[Future[Scores], tuple[int, Request]] = {}
    failed: BadAnswer | None = None
    changes: list[float] = []
    with _first_interrupt() as interrupted:
        while True:
            stopping = failed is not None or interrupted()
            for request in () if stopping else islice(requests, most - len(in_flight)):
                number = ledger.note_request(question, len(request.is_known), len(request.known))
                pixels = request.pixels(images.pixels, canaries)
                answering = _started(partial(query, box, pixels), apart=most > 1)
                in_flight[answering] = number, request
            if not in_flight:
                break
            # Python notices a Ctrl-C that comes just before it waits only when the wait ends.
            answered, _ = wait(in_flight, timeout=0.5, return_when=FIRST_COMPLETED)
            for answering in answered:
                number, request = in_flight.pop(answering)
                try:
                    scores = answering.result()
                except BadAnswer as error:
                    failed = _resumable(error, box) if ledger.classes(question) else error
                    continue
                digests, moved = images.digests[request.new], request.changes(scores, canaries)
                ledger.note_answers(question, number, digests, scores[~request.is_known], moved)
                yield len(request.new)
                changes = changes[-1:] + moved
                for pair in pairwise(changes):
                    if min(pair) > canaries.tolerance:
                        failed = failed or _changed(pair, box)
    if failed:
        raise failed


def _changed(changes: tuple[float, float], box: BlackBox) -> BadAnswer:
    return BadAnswer(
        f"{box.name} answers the same images in another way than before: their scores change by "
        f"{changes[0]:.3f} and {changes[1]:.3f}. Its model changed, its answers come in another "
        f"order, or it adds noise. What was paid for is kept under {box.identity}: give it another "
        "identity once it is fixed; if it adds noise on purpose, add --unchecked"
    )


def _resumable(error: BadAnswer, box: BlackBox) -> BadAnswer:
    # By default the identity is a digest of the file that is about to be fixed.
    return type(error)(
        f"{error.args[0]}; answers already paid for are kept: fix it and run the same command "
        f"again, with the identity {box.identity} if the file changes but its answers do not",
        field=error.field,
        value=error.value,
    )


def _started(send: Callable[[], Scores], *, apart: bool) -> Future[Scores]:
    """A request under way in a thread of its own, or answered in this one.

    An owner's code may need this thread, so it is only called from others if requests overlap.
    """
    future: Future[Scores] = Future()
    if apart:
        # A process that is told to end does not wait for it.
        threading.Thread(target=_settle, args=(future, send), daemon=True).start()
    else:
        _settle(future, send)
    return future


def _settle(future: Future[Scores], send: Callable[[], Scores]) -> None:
    try:
        future.set_result(send())
    except BaseException as error:  # noqa: BLE001  # raised again where the result is read
        future.set_exception(error)


@contextmanager
def _first_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C until requests in flight are answered and stored.

    Yields a function that says whether it was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def remember(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _missing(ledger: Ledger, question: Question, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows of `digests` that have no answer yet, each image once."""
    missing = ledger.missing(question, digests)
    _, first = np.unique(as_keys(digests[missing]), return_index=True)
    return missing[np.sort(first)]
