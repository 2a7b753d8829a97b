"""Examining a black box on labelled images, before anything else is paid for."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from papagaio import scores
from papagaio.asking import ask, queries_missing, question_for
from papagaio.auditing.opening import declaration_of, labelled_source, open_black_box_of
from papagaio.auditing.preparing import check_classes
from papagaio.blackboxes.contract import BlackBox, Contract, Declaration, any_answers
from papagaio.blackboxes.forms import check_form
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.model_file import ModelFile, black_box_of
from papagaio.blackboxes.named import read_model
from papagaio.blackboxes.pixels import SCALES
from papagaio.errors import BadAnswer, BadSettings, PapagaioError
from papagaio.images.choosing import choose
from papagaio.images.fit import Fit
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger
from papagaio.progress import Progress, Step, no_progress
from papagaio.recognising import recognised_response
from papagaio.responses import PLAIN
from papagaio.scores import Figure
from papagaio.settings import BlackBoxOptions, CheckOptions
from papagaio.vocabulary import ColourOrder, Layout, Response

__all__ = ["Checked", "Examination", "Way", "check", "examine", "try_ways"]


Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """A way of giving images to a model, and its accuracy when they are given that way."""

    declared: Declaration
    accuracy: Figure


@dataclass(frozen=True)
class Examination:
    """What a black box's answers to labelled images show.

    Attributes:
        accuracy: the share of the images on which it is right.
        majority: the share of the most frequent class among them.
        works: whether it is better than always naming that class, and names more than one.
        response: what the answers show, as declared, or judged by their values.
        resolution: the step of their scores, if the response does not say it, or 0.
        recognised: whether these two were judged by the values, since nothing declares them.
        never_named: the classes it names for no image.
        known: the number of the images whose answers the ledger held before.
        sent: the number of images that were sent, those that were sent again included.
        sent_again: how many of them were sent again, to see whether answers repeat.
        asked_again: the largest change of a score when the same requests are sent again.
        in_other_requests: the same, with the images in another order and in smaller requests; None
            if each request has a single image.
        per_request: the number of images in each request.
        seconds: float64, of each request that was not sent again, if there was one.
        images_per_second: over all these requests.
    """

    accuracy: Figure
    majority: Figure
    works: bool
    response: Response
    resolution: float
    recognised: bool
    never_named: tuple[int, ...]
    known: int
    sent: int
    sent_again: int
    asked_again: float
    in_other_requests: float | None
    per_request: int
    seconds: NDArray[np.float64]
    images_per_second: float

    def quantile(self, share: float) -> float:
        """The seconds within which this share of the requests was answered."""
        return float(np.quantile(self.seconds, share))


@dataclass(frozen=True)
class Checked:
    """A black box as it is best used, and what its answers show.

    Attributes:
        options: its options, completed by what was found.
        ways: for a model's file, the ways of giving it images that were tried, the best one first.
        examination: of the best one.
    """

    options: BlackBoxOptions
    ways: tuple[Way, ...]
    examination: Examination


def check(options: CheckOptions, progress: Progress = no_progress) -> Checked:
    """Open a black box, find out how a model's file takes images, and examine it.

    Answers go into the ledger, under the identity and the response of the options that are written.

    Args:
        options: the black box, the test set, and how many queries may be sent. What is stated about
            the black box is not tried otherwise.
        progress: told after every request.

    Returns:
        the options to use, the ways that were tried, and what the answers show.

    Raises:
        BadSettings: the black box cannot be opened.
        BadImages: the test set is missing or broken, or does not fit.
        BadAnswer: the black box raised, or broke its contract.
        BadLedger: the ledger's answers have another number of classes.
        Busy: another process works on the ledger.
        NoSpace: the disk is full.
    """
    stated, ways = declaration_of(options), []
    sample = cache(partial(_sample, options, progress))
    model = None if options.weights else read_model(options.black_box, options.output)
    if model:
        ways = try_ways(model, stated, sample, progress)
        stated = ways[0].declared
    with closing(black_box_of(model, stated) if model else open_black_box_of(options)) as box:
        images = sample(box.contract)
        with Ledger(options.ledger) as ledger:
            examination = examine(box, images, ledger, progress)
            shows = _less(examination.response)
            if examination.works and shows:
                ledger.restate(question_for(box), shows)
        found = {
            "scale": stated.scale,
            "colour_order": stated.colour_order,
            "layout": stated.layout,
            "shows": shows,
            "resolution": examination.resolution or None,
            "input": "x".join(map(str, box.contract.shape)),
            "classes": box.contract.classes,
        }
    own = {name: getattr(options, name) for name in BlackBoxOptions.model_fields}
    return Checked(BlackBoxOptions(**own | found), tuple(ways), examination)


def _less(response: Response) -> Response | None:
    return None if response == "probabilities" else response


def try_ways(
    model: ModelFile,
    stated: Declaration,
    sample: Callable[[Contract], ImageSet],
    progress: Progress,
) -> list[Way]:
    """The accuracy of a model for each way in which models commonly take images, the best first.

    Args:
        model: the model.
        stated: what is known and not tried otherwise.
        sample: returns labelled images for a contract.
        progress: told after every way.

    Returns:
        the ways that could be run; of equally good ones, the more common way is first.

    Raises:
        BadSettings: none can be run.
    """
    tried: list[Way] = []
    refusals: list[PapagaioError] = []
    declarations = [*_declarations(model, stated)]
    for number, declared in enumerate(declarations, 1):
        try:
            box = black_box_of(model, declared)
            images = sample(box.contract)
            answers = _answers(box, images.pixels, box.contract.batch)
        except (BadSettings, BadAnswer) as refusal:
            refusals.append(refusal)
            continue
        tried.append(Way(declared, scores.accuracy(answers, images.required_labels)))
        progress(Step("trying how it takes images", number, len(declarations), "ways"))
    if not tried:
        raise refusals[0]
    return sorted(tried, key=lambda way: -way.accuracy.value)


def _declarations(model: ModelFile, stated: Declaration) -> Iterator[Declaration]:
    if model.form or len(model.axes) != 4:
        yield stated  # nothing to try, or what `black_box_of` refuses
        return
    scales = [stated.scale] if stated.scale or model.dtype == "uint8" else [*SCALES]
    orders = [stated.colour_order]
    if not stated.colour_order and 1 not in (model.axes[1], model.axes[-1]):
        orders = [*get_args(ColourOrder)]
    layouts = [stated.layout]
    if not stated.layout and model.input.is_layout_open:
        layouts = [*get_args(Layout)]
    for layout, order, scale in product(layouts, orders, scales):
        yield replace(stated, scale=scale, colour_order=order, layout=layout)


def examine(box: BlackBox, images: ImageSet, ledger: Ledger, progress: Progress) -> Examination:
    """Query a black box about labelled images, and about some of them again.

    Args:
        box: the black box.
        images: N labelled images, sent one request after the other unless the ledger holds their
            answers; at most a tenth is sent twice more, as canaries.
        ledger: where answers are kept.
        progress: told after every request.

    Returns:
        what the answers (float32, N x K) and the times of the requests show.

    Raises:
        BadAnswer, BadLedger, NoSpace: as for `asking.ask`; answers already paid for are kept.
    """
    size = max(1, min(box.contract.batch, len(images) // 10))
    requests: list[tuple[int, float]] = []
    timed = _one_at_a_time(box, size, requests)
    missing = queries_missing(timed, images.digests, ledger)
    answers = ask(timed, images, ledger, progress, query=any_answers)
    labels = images.required_labels
    response, resolution = _form(box, answers)
    accuracy = scores.accuracy(answers, labels)
    again = _change(timed, images.pixels[:size], answers[:size], ledger)
    counts, seconds = np.array(requests[:-1] or requests).T
    mixed = np.array_split(np.random.default_rng(0).permutation(size), min(2, size))
    others = max(_change(box, images.pixels[rows], answers[rows], ledger) for rows in mixed)
    return Examination(
        accuracy=accuracy,
        majority=scores.majority(labels),
        works=scores.is_better_than_majority(accuracy, labels)
        and not scores.names_almost_one_class(answers, labels),
        response=response,
        resolution=resolution,
        recognised=(box.contract.response, box.contract.resolution) == PLAIN,
        never_named=tuple(
            np.setdiff1d(np.arange(box.contract.classes), answers.argmax(1)).tolist()
        ),
        known=len(images) - missing,
        sent=missing + 2 * size,
        sent_again=2 * size,
        asked_again=again,
        in_other_requests=others if size > 1 else None,
        per_request=size,
        seconds=seconds,
        images_per_second=float(counts.sum() / seconds.sum()),
    )


def _form(box: BlackBox, answers: Scores) -> tuple[Response, float]:
    """What answers (float32, N x K) show: as declared, or judged by all of them.

    Raises:
        BadAnswer: they do not fit it.
    """
    form = box.contract.response, box.contract.resolution
    if form == PLAIN:
        form = recognised_response(answers)
    check_form(box.name, answers, *form)
    return form


def _change(box: BlackBox, images: NDArray[np.uint8], known: Scores, ledger: Ledger) -> float:
    """Send images whose answers are known, in a request; return the largest change of a score."""
    question, count = question_for(box), len(images)
    number = ledger.note_request(question, count, canaries=count)
    answers = any_answers(box, np.ascontiguousarray(images))
    change = float(np.abs(answers - known).max())
    no_digests = np.empty((0, 32), np.uint8)
    ledger.note_answers(question, number, no_digests, known[:0], [change])
    return change


def _one_at_a_time(box: BlackBox, size: int, requests: list[tuple[int, float]]) -> FunctionBox:
    """A black box whose requests are smaller, do not overlap, and are listed with their seconds."""

    def answer(images: NDArray[np.uint8]) -> Scores:
        began = time.perf_counter()
        answers = box.answer(images)
        requests.append((len(images), time.perf_counter() - began))
        return answers

    contract = replace(box.contract, batch=size, concurrency=1)
    return FunctionBox(box.name, box.identity, contract, answer)


def _answers(box: BlackBox, images: NDArray[np.uint8], size: int) -> Scores:
    parts = (images[start : start + size] for start in range(0, len(images), size))
    return np.concatenate([any_answers(box, np.ascontiguousarray(part)) for part in parts])


def _sample(options: CheckOptions, progress: Progress, contract: Contract) -> ImageSet:
    """Some test images: as many as leave room for those that are sent twice more."""
    fit = Fit(options.resize, options.colour, options.exif)
    source = labelled_source(options, options.test, "test", progress)
    count = min(source.size, options.limit * 10 // 12)
    images = choose(source, count, shape=contract.shape, fit=fit, progress=progress)
    check_classes(images, contract)
    return images
