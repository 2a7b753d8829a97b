"""`papagaio estimate`: a small audit, and what its learning curve says about a larger one."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from papagaio.asking import ask, question_for
from papagaio.auditing.opening import open_black_box_of, open_images
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.points import groups_of, held_out_fidelity, points_of
from papagaio.auditing.run import audit
from papagaio.blackboxes.contract import BlackBox
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import Diverged
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.learning_curve import FARTHEST, LearningCurve, Needed, Point, fit_curve
from papagaio.ledger import Ledger
from papagaio.progress import Progress, no_progress
from papagaio.result import CellRecord, Result
from papagaio.scores import Figure
from papagaio.settings import EstimateOptions, Settings

__all__ = ["GOALS", "Estimate", "Prediction", "estimate"]

# Fidelity goals: an estimate says how many answers they need.
GOALS = (0.8, 0.9, 0.95)
_PARTS = (1 / 8, 1 / 4, 1 / 2)
_TESTED = 500
_Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What copies made in one way are expected to reach.

    Attributes:
        student, recipe, response: how they are made.
        fidelity: on images like the test set's, at the estimate's budget.
        relative_accuracy: the same; None where the black box fails the check on the test set.
        measured: fidelity on the test images asked about, one point per small copy.
        held_out: fidelity on the half of the sample that these small copies did not learn.
        needed: for each of `GOALS`, how many answers reach it; None if it is not expected to be
            reached by `farthest`.
        farthest: the largest number of answers that is told: ten times those of the largest copy.
        training_seconds: the most that a copy at the budget is expected to take on this machine.
    """

    student: str
    recipe: str
    response: str
    fidelity: Figure
    relative_accuracy: Figure | None
    measured: tuple[Point, ...]
    held_out: tuple[Point, ...]
    needed: Mapping[float, Needed | None]
    farthest: int
    training_seconds: float


@dataclass(frozen=True)
class Estimate:
    """What an audit is expected to find, foretold from a sample of its answers.

    Attributes:
        wanted: the budget that was asked about.
        budget: the budget that the predictions are for: `wanted`, or ten times the sample if that
            is less.
        sample: the number of transfer images that the black box was queried about.
        tested: the number of test images that it was queried about.
        sent: the images sent now, canaries included; the ledger held the other answers.
        price: of `budget` answers, if a price is given.
        query_seconds: to query `budget` images at the speed of now; None if nothing was sent.
        predictions: one for each student, recipe and response.
    """

    wanted: int
    budget: int
    sample: int
    tested: int
    sent: int
    price: float | None
    query_seconds: float | None
    predictions: tuple[Prediction, ...]


class _SampleSettings(EstimateOptions, Settings):  # type: ignore[misc]  # two constructors
    """The settings of an audit of a sample: its defaults are those of `estimate`."""

    budget: int


@dataclass(frozen=True)
class _Request:
    images: int
    began: float
    ended: float


def estimate(options: EstimateOptions, progress: Progress = no_progress) -> Estimate:
    """Audit a sample, and foretell what a larger budget would reach.

    Small copies learn an eighth, a quarter, a half and all of the sample. All are scored on up to
    500 test images, or all those whose answers are known, and the first three also on the half of
    the sample that none of them learns.

    Args:
        options: the black box, the images, the size of the sample and the budget.
        progress: told how far it is.

    Returns:
        the predictions, and what the budget costs.

    Raises:
        BadImages, BadSettings, BadAnswer, BadLedger, Busy, NoSpace: as for `audit`; all answers are
            kept.
        Diverged: every training did.
    """
    source = open_source(
        options.transfer, layout="any", data_dir=options.data_dir, progress=progress
    )
    wanted = options.budget or source.size
    settings = _settings(options, min(options.sample, wanted, source.size))
    requests: list[_Request] = []
    with closing(open_black_box_of(settings)) as box:
        result, held_out = _audited(_listing(box, requests), settings, progress)
    groups = groups_of(result)
    if not groups:
        raise Diverged("every training diverged; the answers are kept: try another recipe")
    farthest = FARTHEST * min(max(cell.budget for cell in cells) for cells in groups)
    budget = min(wanted, farthest)
    return Estimate(
        wanted=wanted,
        budget=budget,
        sample=result.transfer.images,
        tested=result.test.images,
        sent=sum(request.images for request in requests),
        price=options.price_of(budget),
        query_seconds=_seconds(requests, budget),
        predictions=tuple(_prediction(cells, held_out, budget) for cells in groups),
    )


def _audited(
    box: BlackBox, settings: Settings, progress: Progress
) -> tuple[Result, dict[str, Figure]]:
    """Audit the sample; return the result, and the fidelity on held-out answers by cell."""
    images = open_images(settings, box.contract, progress)
    with Ledger(settings.ledger_path) as ledger:
        test = _tested(images.test, box, ledger)
    result = audit(box, AuditImages(images.transfer, test), settings, progress)
    with Ledger(settings.ledger_path) as ledger:
        answers = ask(box, images.transfer, ledger)
    half = len(answers) - len(answers) // 2
    pixels = images.transfer.pixels
    return result, held_out_fidelity(result, settings.out, pixels, answers, half)


def _settings(options: EstimateOptions, sample: int) -> Settings:
    """The audit of the sample, with the one floor that a verdict needs and no query pays for."""
    given = {name: getattr(options, name) for name in options.model_fields_set}
    budgets = tuple(max(1, round(part * sample)) for part in _PARTS)
    own = {"budget": sample, "budgets": budgets, "controls": ("shuffled",)}
    return _SampleSettings(**given | own)


def _tested(test: ImageSet, box: BlackBox, ledger: Ledger) -> ImageSet:
    """500 test images, or all whose answers are known: these first, the others drawn."""
    drawn = np.random.default_rng(0).permutation(len(test))
    unknown = np.isin(drawn, ledger.missing(question_for(box), test.digests))
    count = max(_TESTED, int((~unknown).sum()))
    return test.take(np.sort(drawn[np.argsort(unknown, kind="stable")][:count]))


def _listing(box: BlackBox, requests: list[_Request]) -> FunctionBox:
    """The black box, which lists its requests."""

    def answer(images: NDArray[np.uint8]) -> _Scores:
        began = time.perf_counter()
        answers = box.answer(images)
        requests.append(_Request(len(images), began, time.perf_counter()))
        return answers

    return FunctionBox(box.name, box.identity, box.contract, answer)


def _seconds(requests: Sequence[_Request], budget: int) -> float | None:
    """How long a budget takes at the speed of these requests, which may have overlapped."""
    busy, until = 0.0, 0.0
    for request in sorted(requests, key=lambda one: one.began):
        busy += max(0.0, request.ended - max(request.began, until))
        until = max(until, request.ended)
    sent = sum(request.images for request in requests)
    return budget * busy / sent if sent else None


def _prediction(
    cells: Sequence[CellRecord], held_out: Mapping[str, Figure], budget: int
) -> Prediction:
    fidelities = points_of(cells, {cell.id: cell.scores.fidelity for cell in cells})
    ratios = points_of(cells, {cell.id: cell.scores.relative_accuracy for cell in cells})
    curve, of_ratios = LearningCurve(fidelities), fit_curve(ratios)
    largest = max(cells, key=lambda cell: cell.budget)
    return Prediction(
        student=largest.student,
        recipe=largest.recipe,
        response=largest.response,
        fidelity=curve.at(budget),
        relative_accuracy=of_ratios.at(budget) if of_ratios else None,
        measured=fidelities,
        held_out=points_of(cells, held_out),
        needed={goal: curve.needed(goal) for goal in GOALS},
        farthest=curve.farthest,
        # Epochs do not grow with the budget.
        training_seconds=largest.seconds * budget / largest.budget,
    )
