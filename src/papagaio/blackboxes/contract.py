"""What every black box is held to: `Contract`, `BlackBox`, and the check of its answers."""

import sysconfig
import traceback
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.forms import check_form, check_numbers
from papagaio.errors import BadAnswer, BadSettings
from papagaio.responses import shown_step
from papagaio.vocabulary import ColourOrder, Layout, Response, Returned

__all__ = ["BlackBox", "Contract", "Declaration", "any_answers", "checked_answers"]

# Where Papagaio and Python itself are, and the folders of other packages.
_NOT_THE_OWNERS = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
_INSTALLED = {"site-packages", "dist-packages"}

_ALWAYS_USED = ("shape", "classes", "response", "resolution", "batch", "identity", "authorised_by")

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
        resolution: the step of the scores, where the response does not say it; 0 if they have none.
    """

    height: int
    width: int
    channels: int
    classes: int
    batch: int = 64
    response: Response = "probabilities"
    class_names: tuple[str, ...] | None = None
    concurrency: int = 1
    resolution: float = 0.0

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
        resolution: the step of the scores.
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
    resolution: float | None = None

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
            BadSettings: the shape or the number of classes is not stated, or a step of scores that
                have none of their own.
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
        self._refuse_steps_of_others()
        return Contract(
            *self.shape,
            self.classes,
            self.batch,
            self.response or "probabilities",
            concurrency=self.concurrency,
            resolution=self.resolution or 0.0,
        )

    def _refuse_steps_of_others(self) -> None:
        """Refuse a resolution of scores that have no step, or whose form says it."""
        is_computed = self.returned not in (None, "probabilities")
        if self.resolution and (is_computed or str(self.response).startswith(("label", "rounded"))):
            raise BadSettings(
                "labels and scores computed from logits have no step, and rounded-k states it; "
                "leave it out",
                field="resolution",
                value=shown_step(self.resolution),
            )

    def agreed(self, name: str, own: Contract) -> Contract:
        """The contract that a black box declares itself, with the requests that the owner wants.

        Raises:
            BadSettings: the owner states another shape, number of classes, response or resolution.
        """
        for field, stated, declared in (
            ("input", self.shape, own.shape),
            ("classes", self.classes, own.classes),
            ("shows", self.response, own.response),
            ("resolution", self.resolution, own.resolution),
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
            negative scores, or with rows that its response form and resolution do not allow.
    """
    scores = any_answers(box, images)
    check_form(box.name, scores, box.contract.response, box.contract.resolution)
    return scores


def any_answers(box: BlackBox, images: NDArray[np.uint8]) -> Scores:
    """Ask a batch, and take answers in any response form.

    Args:
        box: the black box.
        images: uint8 (N, H, W, C).

    Returns:
        float32 (N, K), finite and not negative.

    Raises:
        BadAnswer: the black box raised, or answered with something else.
    """
    try:
        scores = box.answer(images)
    except BadAnswer:  # says itself what is wrong
        raise
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raised = f"{type(error).__name__}: {error}{_place_of(error)}"
        raise BadAnswer(f"{box.name} raised {raised}") from error
    contract = box.contract
    check_numbers(box.name, scores, (len(images), contract.classes), contract.response)
    return np.asarray(scores)


def _place_of(error: BaseException) -> str:
    """Where in the owner's own code an error was raised, in words; empty where there is none."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not _INSTALLED & {*Path(frame.filename).parts}
        if not any(Path(frame.filename).is_relative_to(place) for place in _NOT_THE_OWNERS)
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
