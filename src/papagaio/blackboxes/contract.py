"""What every black box is held to: `Contract`, `BlackBox`, and the check of its answers."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadAnswer, BadSettings
from papagaio.vocabulary import ColourOrder, Layout, Response, Returned

__all__ = ["BlackBox", "Contract", "Declaration", "checked_answers"]

# Float32 probabilities of a softmax over a thousand classes sum to one within this.
_SUM_TOLERANCE = 1e-3
_ROUNDING_TOLERANCE = 1e-5

_ALWAYS_USED = ("shape", "classes", "response", "batch", "identity", "authorised_by")

Shape = tuple[int, int, int]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Contract:
    """What a black box takes and returns.

    Attributes:
        height, width, channels: the shape of every image; images are uint8.
        classes: how many scores an answer has.
        batch: the largest number of images in one request.
        concurrency: how many requests may be in flight at the same time.
        response: how much an answer shows.
        class_names: the names of the classes in order, or None.
    """

    height: int
    width: int
    channels: int
    classes: int
    batch: int = 64
    response: Response = "probabilities"
    class_names: tuple[str, ...] | None = None
    concurrency: int = 1

    @property
    def shape(self) -> Shape:
        """Height, width and channels."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Declaration:
    """What the owner states about a black box; None where the black box itself says it.

    Attributes:
        shape: height, width and channels.
        classes: the number of classes.
        response: how much an answer shows.
        batch: the largest number of images in one request.
        identity: a stable name for exactly this model.
        scale, colour_order, layout: how a model in a file or behind a service takes images; see
            `pixels.PixelForm`.
        output: the name of the output with the scores, where there are several.
        returned: what this output is; None recognises it.
        concurrency: the most requests in flight at the same time.
        headers: `Name: value` for each request to a service; `${NAME}` is an environment variable.
        timeout: seconds that a service may take for one request.
        per_second: the most requests that a service is sent per second.
        authorised_by: who allows that a service on another machine is asked.
    """

    shape: Shape | None = None
    classes: int | None = None
    response: Response | None = None
    batch: int = 64
    identity: str | None = None
    scale: str | None = None
    colour_order: ColourOrder | None = None
    layout: Layout | None = None
    output: str | None = None
    returned: Returned | None = None
    concurrency: int = 1
    headers: tuple[str, ...] = ()
    timeout: float = 60.0
    per_second: float | None = None
    authorised_by: str | None = None

    def refuse_unused(self, name: str, *used: str) -> None:
        """Refuse what is stated and has no effect.

        Args:
            name: what messages call the black box.
            used: the fields that matter to it, besides those that matter to every black box.

        Raises:
            BadSettings: another field is stated.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in (*_ALWAYS_USED, *used) and value != field.default:
                option = {"returned": "returns"}.get(field.name, field.name)
                raise BadSettings(f"{name} does not use it; leave it out", field=option)

    def contract(self, name: str) -> Contract:
        """The contract of a black box that declares nothing itself, such as a Python function.

        Raises:
            BadSettings: the shape or the number of classes is not stated.
        """
        for field, value, example in (
            ("input", self.shape, "224x224x3"),
            ("classes", self.classes, "10"),
        ):
            if value is None:
                raise BadSettings(
                    f"{name} does not declare it; state what the model has, for example {example}",
                    field=field,
                )
        assert self.shape is not None and self.classes is not None  # noqa: S101, PT018  # above
        response = self.response or "probabilities"
        return Contract(
            *self.shape, self.classes, self.batch, response, concurrency=self.concurrency
        )

    def agreed(self, name: str, own: Contract) -> Contract:
        """The contract that a black box declares itself, with the requests that the owner wants.

        Raises:
            BadSettings: the owner states another shape, number of classes or response.
        """
        for field, stated, declared in (
            ("input", self.shape, own.shape),
            ("classes", self.classes, own.classes),
            ("shows", self.response, own.response),
        ):
            if stated not in (None, declared):
                raise BadSettings(f"{name} declares {declared}; leave it out", field=field)
        return replace(own, batch=self.batch, concurrency=self.concurrency)


class BlackBox(Protocol):
    """A classifier seen from outside.

    Attributes:
        contract: what it takes and returns.
        name: what it is called in reports.
        identity: a stable name for exactly this model: a digest of its weights, or the
            owner's choice.
    """

    @property
    def contract(self) -> Contract: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def identity(self) -> str: ...  # noqa: D102

    def answer(self, images: NDArray[np.uint8]) -> Scores:
        """Answer a batch.

        Args:
            images: uint8 (N, H, W, C), N at most `contract.batch`.

        Returns:
            float32 (N, K), a row of scores for each image, in order: probabilities; rounded ones;
            zeros except for the k largest; or one-hot rows, as `contract.response` says.
        """
        ...

    def close(self) -> None:
        """Release what it holds; it is not queried again."""
        ...


def checked_answers(box: BlackBox, images: NDArray[np.uint8]) -> Scores:
    """Ask a batch, and refuse answers that the contract does not allow.

    Args:
        box: the black box.
        images: uint8 (N, H, W, C).

    Returns:
        float32 (N, K).

    Raises:
        BadAnswer: the black box raised, or answered with another shape or type, with NaN or
            negative scores, or with rows that its response form does not allow.
    """
    try:
        scores = box.answer(images)
    except BadAnswer:  # says itself what is wrong
        raise
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadAnswer(f"{box.name} raised {type(error).__name__}: {error}") from error
    problem = _problem(scores, len(images), box.contract)
    if problem:
        raise BadAnswer(f"{box.name} {problem}")
    return scores


def _problem(scores: object, images: int, contract: Contract) -> str | None:
    expected = (images, contract.classes)
    if not isinstance(scores, np.ndarray):
        return f"returned {type(scores).__name__}; return a NumPy array of float32, {expected}"
    if scores.shape != expected:
        return (
            f"returned shape {scores.shape}, but {images} images of {contract.classes} classes "
            f"need {expected}; fix it, or declare another number of classes"
        )
    if scores.dtype != np.float32:
        return f"returned {scores.dtype}; return float32, for example scores.astype('float32')"
    broken, what = _FORMS[contract.response.partition("-")[0]]
    rows = (
        (~np.isfinite(scores).all(1), "NaN or infinity", "a finite score for every class"),
        ((scores < 0).any(1), "a negative score", "probabilities: the softmax of logits"),
        (broken(scores, contract.response), f"scores that are not {what}", what),
    )
    for wrong, returned, instead in rows:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            return (
                f"returned {returned} for image {row} of a batch ({scores[row]}); return {instead}"
            )
    return None


def _not_probabilities(scores: Scores, _: Response) -> NDArray[np.bool_]:
    return np.asarray(np.abs(scores.sum(1, dtype=np.float64) - 1) > _SUM_TOLERANCE)


def _not_rounded(scores: Scores, response: Response) -> NDArray[np.bool_]:
    decimals = int(response.partition("-")[2])
    off_grid = np.abs(scores - np.round(scores, decimals)).max(1) > _ROUNDING_TOLERANCE
    # Each of K scores is off by at most half a step.
    reach = scores.shape[1] * 0.5 * 10.0**-decimals + _SUM_TOLERANCE
    return np.asarray(off_grid | (np.abs(scores.sum(1, dtype=np.float64) - 1) > reach))


def _not_top(scores: Scores, response: Response) -> NDArray[np.bool_]:
    most = int(response.partition("-")[2])
    shown = (scores > 0).sum(1)
    return np.asarray(
        (shown > most) | (shown == 0) | (scores.sum(1, dtype=np.float64) > 1 + _SUM_TOLERANCE)
    )


def _not_one_hot(scores: Scores, _: Response) -> NDArray[np.bool_]:
    return np.asarray((scores.max(1) != 1) | ((scores != 0).sum(1) != 1))


_FORMS: dict[str, tuple[Callable[[Scores, Response], NDArray[np.bool_]], str]] = {
    "probabilities": (_not_probabilities, "probabilities that sum to 1"),
    "rounded": (_not_rounded, "probabilities rounded as declared"),
    "top": (_not_top, "the largest probabilities, and zeros elsewhere, as declared"),
    "label": (_not_one_hot, "one-hot rows: 1 for the named class, 0 elsewhere"),
}
