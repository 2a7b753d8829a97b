"""The settings of an audit. Each is defined once, here; see `options`."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from papagaio.controls import CONTROLS, control_named
from papagaio.executors.options import ExecutorOptions
from papagaio.options import Many, Option, OptionSet, Seed
from papagaio.vocabulary import (
    Augmentation,
    Colour,
    ColourOrder,
    Exif,
    Layout,
    Precision,
    Resize,
    Response,
    Returned,
)

__all__ = [
    "AuditOptions",
    "BlackBoxOptions",
    "CheckOptions",
    "CopyOptions",
    "EstimateOptions",
    "ImageOptions",
    "Settings",
    "TestOptions",
    "TransferOptions",
    "is_among",
    "price_of",
]

_BOX, _IMAGES, _BUDGET = "Black box", "Images", "Budget"
_COPIES, _MACHINE, _OUTPUT = "Copies", "Machine", "Output"

_RUN, _LEDGER = Path("runs/audit"), "ledger.sqlite"

# MEAN/DEVIATION, one number each or one per channel.
_NUMBERS = r"-?\d+(\.\d+)?(,-?\d+(\.\d+)?,-?\d+(\.\d+)?)?"
_SCALE = rf"0\.\.255|0\.\.1|-1\.\.1|imagenet|{_NUMBERS}/{_NUMBERS}"


def price_of(queries: int, price_per_1000: float | None) -> float | None:
    """The price of a number of queries; None where none is given."""
    return None if price_per_1000 is None else round(queries * price_per_1000 / 1000, 6)


def _is_control(name: str) -> str:
    return control_named(name).name


def _is_scale(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(_SCALE, text):
        raise ValueError("write 0..255, 0..1, -1..1, imagenet or MEAN,.../DEVIATION,...")
    return text


def _is_tracker(text: str) -> str:
    if not re.fullmatch(r"(tensorboard|mlflow)=.+", text):
        raise ValueError("write tensorboard=FOLDER or mlflow=URI")
    if re.search(r"//[^/]*@", text):
        raise ValueError(
            "a URI without a password: MLflow reads MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    return text


def _number(value: object) -> object:
    """The number that a text with a fraction means."""
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ValueError("write a fraction such as 1/256, or a decimal such as 0.01") from error


class Authorisation(OptionSet):
    """Who allows that a black box is asked."""

    authorised_by: Annotated[str | None, Option(_BOX, '"WHO, REFERENCE"')] = None
    """Who allowed this, if the model is not yours; recorded in the result. Required for a service
    on another machine."""


class CopyOptions(Authorisation, ExecutorOptions):
    """How copies are made, and what the answers that they learn cost."""

    price_per_1000: Annotated[float | None, Option(_BUDGET, "PRICE")] = Field(
        default=None, ge=0, allow_inf_nan=False
    )
    """The price of 1,000 queries, for the report."""

    unchecked: Annotated[bool, Option(_BUDGET)] = False
    """Continue even if the black box fails the check on the test set."""

    responses: Annotated[
        Many[Response], Option(_COPIES, "RESPONSE,...", "what the black box shows", also="response")
    ] = ()
    """How much of an answer a copier sees: probabilities, rounded-3, rounded-2, rounded-1, top-5,
    top-3, top-1, label. What shows less is derived from stored answers, without a query."""

    recipes: Annotated[Many[str], Option(_COPIES, "RECIPE,...", also="recipe")] = ("auto",)
    """How copies are trained: auto, recovered-logits, censored-logits, labels, thesis. auto begins
    with the best for the response, and tries others on answers held out of the budget."""

    students: Annotated[
        Many[str], Option(_COPIES, "STUDENT,...", "by image size", also="student")
    ] = ()
    """Architectures of copies: small-cnn, residual-cnn, timm/NAME, torchvision/NAME."""

    initial: Annotated[str, Option(_COPIES, "random|library|FILE")] = "random"
    """Initial weights of copies: random, the library's pre-trained ones (downloaded), or a
    safetensors file."""

    augmentation: Annotated[
        Many[Augmentation] | None, Option(_COPIES, "crop,flip,affine|none", "the recipe decides")
    ] = None
    """Augmentation for every recipe; then no other is tried. By default, natural-image recipes
    choose between none, crop, flip and both, on answers held out of the budget; so does auto on
    small images between none and affine, where the black box shows probabilities."""

    epochs: Annotated[int | None, Option(_COPIES, "N", "the recipe's")] = Field(default=None, ge=1)
    """Epochs of every training."""

    minutes: Annotated[float | None, Option(_COPIES, "N", "no limit")] = Field(
        default=None, gt=0, allow_inf_nan=False
    )
    """About how many minutes a training may take at most, with the choice of its recipe, which is
    left out where it would take more than half. Epochs are cut to what fits at the speed of a few
    steps, and the report names a copy that was cut."""

    seeds: Annotated[Many[Seed], Option(_COPIES, "N,N,...", also="seed")] = Field(
        default=(0,), min_length=1
    )
    """One copy for each seed, such as 0,1,2. Several seeds give intervals over seeds."""

    device: Annotated[str, Option(_MACHINE, "auto|cpu|cuda|mps")] = "auto"
    """Where copies are trained."""

    precision: Annotated[Precision | Literal["auto"], Option(_MACHINE)] = "auto"
    """Precision of training; auto measures once per machine and network which is faster."""

    threads: Annotated[int | None, Option(_MACHINE, "N", "all cores")] = Field(default=None, ge=1)
    """CPU threads of each training."""

    checkpoint_seconds: Annotated[float, Option(_MACHINE, "SECONDS")] = Field(
        default=10.0, ge=0, allow_inf_nan=False
    )
    """Minimum seconds between two checkpoints of a training."""

    @field_validator("minutes")
    @classmethod
    def _decides_the_epochs(cls, minutes: float | None, info: ValidationInfo) -> float | None:
        if minutes is not None and info.data.get("epochs") is not None:
            raise ValueError("cuts the epochs to what fits; leave out epochs")
        return minutes

    def price_of(self, queries: int) -> float | None:
        """The price of a number of queries, if a price is given."""
        return price_of(queries, self.price_per_1000)


class AuditOptions(CopyOptions):
    """How an open black box is audited."""

    budget: Annotated[int, Option(_BUDGET, "N")] = Field(ge=1, examples=[5000])
    """The most transfer images to query: what a copier would pay for. The test set and the controls
    are queried as well; --dry-run shows how many images that is."""

    budgets: Annotated[Many[int], Option(_BUDGET, "N,N,...")] = ()
    """Smaller budgets to add to the curve, such as 100,500,1000."""

    until: Annotated[float | None, Option(_BUDGET, "FIDELITY")] = Field(
        default=None, gt=0, lt=1, allow_inf_nan=False
    )
    """Buy answers in rounds, and stop as soon as held-out answers show this fidelity, such as 0.9,
    or that the budget will not reach it. Each round trains copies, which make the curve."""

    distil: Annotated[bool, Option(_COPIES)] = False
    """Also train one student on what the copies of several seeds answer together, about images that
    were sent and others that were not, at no query. It takes longer than the copies, and executor
    ray leaves it to this machine."""

    controls: Annotated[
        Many[Annotated[str, AfterValidator(_is_control)]], Option(_COPIES, "CONTROL,...|none")
    ] = tuple(control.name for control in CONTROLS)
    """Floors (shuffled, noise) and ceilings (labels, own-data) to train. noise and own-data query
    images beyond the budget."""

    ledger: Annotated[Path | None, Option(_OUTPUT, "FILE", "OUT/ledger.sqlite")] = None
    """Where answers are kept. Audits that share a ledger pay for no image twice."""

    log_to: Annotated[
        tuple[Annotated[str, AfterValidator(_is_tracker)], ...],
        Option(_OUTPUT, "TRACKER=PLACE", repeated=True),
    ] = ()
    """Where settings, epochs and scores are logged as well: tensorboard=FOLDER or mlflow=URI;
    repeat it for several. A tracker that fails is named once, and the run goes on without it."""

    out: Annotated[Path, Option(_OUTPUT, "FOLDER")] = _RUN
    """The run directory. The same command resumes an interrupted run."""

    @field_validator("budgets")
    @classmethod
    def _within_the_budget(cls, budgets: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        budget = info.data.get("budget")  # absent if it is wrong itself
        if budget is not None and not all(1 <= smaller <= budget for smaller in budgets):
            raise ValueError(f"each must be between 1 and the budget, {budget:,}")
        return budgets

    @field_validator("until")
    @classmethod
    def _chooses_the_budgets(cls, goal: float | None, info: ValidationInfo) -> float | None:
        if goal is not None and info.data.get("budgets"):
            raise ValueError("its rounds are the smaller budgets; leave out budgets")
        return goal

    @field_validator("distil")
    @classmethod
    def _has_several_seeds(cls, wanted: bool, info: ValidationInfo) -> bool:  # noqa: FBT001
        if wanted and len(info.data.get("seeds", ())) == 1:
            raise ValueError("needs copies of several seeds, such as seeds 0,1,2")
        return wanted

    @property
    def curve(self) -> tuple[int, ...]:
        """The budgets at which copies are made, smallest first, the whole budget included."""
        return tuple(sorted({*self.budgets, self.budget}))

    @property
    def ledger_path(self) -> Path:
        """Where answers are kept."""
        return self.ledger or self.out / _LEDGER


class BlackBoxOptions(Authorisation):
    """A black box, and what its owner states about it."""

    black_box: Annotated[str, Option(_BOX, "BLACKBOX", positional=True)] = Field(
        examples=["model.onnx"]
    )
    """A model's file (.onnx, .keras, .h5, .tflite), hf=FOLDER as transformers saves it, or
    taught=FOLDER from papagaio teach; a service, http(s)://HOST/v2/models/NAME,
    .../v1/models/NAME:predict or .../invocations, or a TOML file that describes another one; a
    Python function, FILE.py:NAME or PACKAGE.MODULE:NAME, from uint8 images (N, H, W, C) to float32
    probabilities (N, K); with --weights, a function that builds a torch module; or recorded=FILE, a
    table of answers to papagaio questions."""

    weights: Annotated[Path | None, Option(_BOX, "FILE")] = None
    """Safetensors file of the torch module: float32 (N, C, H, W) in [0, 1] to logits (N, K)."""

    identity: Annotated[str | None, Option(_BOX, "NAME", "a digest of weights and code")] = None
    """A stable name for exactly this model; its answers are stored under it. Give one if the
    function loads weights from another file: by default, only its own file is digested."""

    input: Annotated[str | None, Option(_BOX, "HxWxC", "what the black box declares")] = None
    """The shape of the images that the black box takes, such as 224x224x3. Required for a Python
    function, and for a model's file or a service that does not say it."""

    classes: Annotated[int | None, Option(_BOX, "N", "what the black box declares")] = Field(
        default=None, ge=2
    )
    """The number of classes. Required for a Python function, and for a service that does not say
    it."""

    shows: Annotated[Response | None, Option(_BOX, "RESPONSE", "what the black box declares")] = (
        None
    )
    """What an answer of the black box shows, if that is less than probabilities: label is one-hot
    rows, top-k has zeros beyond the k largest scores, rounded-k has k decimals."""

    resolution: Annotated[
        float | None, BeforeValidator(_number), Option(_BOX, "STEP", "what the black box declares")
    ] = Field(default=None, ge=1e-6, le=0.5)
    """The step of the scores, such as 1/256, if the black box rounds or quantises them otherwise
    than rounded-k. Their sums may then be off by half a step per class."""

    batch: Annotated[int, Option(_BOX, "N")] = Field(default=64, ge=1)
    """The largest number of images in one request."""

    concurrency: Annotated[int, Option(_BOX, "N")] = Field(default=1, ge=1)
    """The most requests that are in flight at the same time. A Python function is then called from
    several threads."""

    headers: Annotated[
        tuple[str, ...], Option(_BOX, '"NAME: VALUE"', repeated=True, also="header")
    ] = ()
    """A header for a service; repeat it for several. Write secrets as variables, in single quotes:
    'Authorization: Bearer ${API_KEY}'. They are filled in when a request is sent, and stored
    nowhere."""

    timeout: Annotated[float, Option(_BOX, "SECONDS")] = Field(
        default=60.0, gt=0, allow_inf_nan=False
    )
    """How long a service may take to answer one request."""

    per_second: Annotated[float | None, Option(_BOX, "N", "no limit")] = Field(
        default=None, gt=0, allow_inf_nan=False
    )
    """The most requests that a service is sent per second."""

    scale: Annotated[
        str | None, AfterValidator(_is_scale), Option(_BOX, "SCALE", "what papagaio check finds")
    ] = None
    """How a model's file or a service takes pixels: 0..255, 0..1, -1..1, imagenet, or
    MEAN,.../DEVIATION,... in bytes, red first. Required unless it takes bytes."""

    colour_order: Annotated[ColourOrder | None, Option(_BOX, default="rgb")] = None
    """The order in which a model's file or a service takes colours."""

    layout: Annotated[Layout | None, Option(_BOX, default="what it says")] = None
    """The order of the axes that a model's file or a service takes: batch, height, width, channels,
    or batch, channels, height, width."""

    output: Annotated[str | None, Option(_BOX, "NAME", "the only one")] = None
    """The output of a model's file or a service that holds the scores."""

    returns: Annotated[Returned | None, Option(_BOX, default="recognised")] = None
    """What this output is. A service's is taken for probabilities."""

    @field_validator("input")
    @classmethod
    def _is_a_shape(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[13]", text):
            raise ValueError("write height, width and 1 or 3 channels, such as 224x224x3")
        return text

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of `input`, if it is given."""
        if self.input is None:
            return None
        height, width, channels = map(int, self.input.split("x"))
        return height, width, channels


class TestOptions(OptionSet):
    """The owner's labelled images, and how images are fitted to the black box."""

    test: Annotated[str, Option(_IMAGES, "IMAGES")] = Field(examples=["my_test_images/"])
    """Your own labelled images, for scores only: a folder with one subfolder per class, a Parquet
    file or folder, an .npz file, cifar10, cifar100, digits or letters (NAME:test chooses the test
    part)."""

    classes_from: Annotated[Path | None, Option(_IMAGES, "FILE")] = None
    """Class names in the black box's order, one per line, if folder names sort differently."""

    resize: Annotated[Resize, Option(_IMAGES)] = "exact"
    """What to do with images of another size; exact refuses them."""

    colour: Annotated[Colour, Option(_IMAGES)] = "exact"
    """What to do with grey images where colour is needed, or the reverse; exact refuses them."""

    exif: Annotated[Exif, Option(_IMAGES)] = "ignore"
    """Whether EXIF rotations are applied."""

    data_dir: Annotated[Path | None, Option(_IMAGES, "FOLDER", "download")] = None
    """The folder that holds cifar10/ and cifar100/ as Parquet files."""


class TransferOptions(TestOptions):
    """The images that a black box is queried about, and those that its copies are scored on."""

    transfer: Annotated[str, Option(_IMAGES, "IMAGES")] = Field(examples=["photos/"])
    """Images unrelated to the black box's purpose, to query it about: a folder of images (searched
    recursively), or any form that --test takes. Their labels are never used."""


class ImageOptions(TransferOptions):
    """All images of an audit."""

    pool: Annotated[str | None, Option(_IMAGES, "IMAGES", "the transfer set beyond the budget")] = (
        None
    )
    """Images to show to distilled students, of which 40,000 (and 1 GB) are used at most; nobody
    asks about them. Needs distil."""

    own_data: Annotated[str | None, Option(_IMAGES, "IMAGES")] = None
    """More of your own labelled images of the black box's task, for the ceilings."""


class Settings(BlackBoxOptions, ImageOptions, AuditOptions):
    """All settings of `papagaio audit`: black box, images, and how they are audited."""

    @field_validator("transfer", "test", "own_data", "pool")
    @classmethod
    def _does_not_hold_the_run(cls, images: str | None, info: ValidationInfo) -> str | None:
        _refuse_among(info.data.get("out"), images)  # absent if it is wrong itself
        return images

    @field_validator("pool")
    @classmethod
    def _is_for_students(cls, pool: str | None, info: ValidationInfo) -> str | None:
        if pool is not None and not info.data.get("distil", True):
            raise ValueError("shows these images to distilled students; add distil")
        return pool


def is_among(folder: Path, images: str) -> bool:
    """Whether a folder is, or lies within, the folder that holds these images."""
    return Path(images).is_dir() and folder.resolve().is_relative_to(Path(images).resolve())


def _refuse_among(out: Path | None, images: str | None) -> None:
    if out and images and is_among(out, images):
        raise ValueError(f"the run directory {out} would lie among the images of {images}")


class EstimateOptions(BlackBoxOptions, TransferOptions, CopyOptions):
    """All settings of `papagaio estimate`."""

    sample: Annotated[int, Option(_BUDGET, "N")] = Field(default=500, ge=50)
    """The most transfer images to query now. Up to 500 test images are queried as well."""

    budget: Annotated[int | None, Option(_BUDGET, "N", "all transfer images")] = Field(
        default=None, ge=1
    )
    """The number of answers whose copy is foretold: at most ten times the sample."""

    seeds: Annotated[Many[Seed], Option(_COPIES, "N,N,...", also="seed")] = Field(
        default=(0, 1), min_length=1
    )
    """One small copy for each seed, at each of four budgets within the sample."""

    ledger: Annotated[Path, Option(_OUTPUT, "FILE")] = _RUN / _LEDGER
    """Where answers are kept: by default where an audit looks for them, which then does not pay for
    them again."""

    out: Annotated[Path, Option(_OUTPUT, "FOLDER")] = Path("runs/estimate")
    """Where the small copies and a report on them are written."""

    @field_validator("out")
    @classmethod
    def _is_not_among_images(cls, out: Path, info: ValidationInfo) -> Path:
        for name in ("transfer", "test"):
            _refuse_among(out, info.data.get(name))
        return out


class CheckOptions(BlackBoxOptions, TestOptions):
    """All settings of `papagaio check`."""

    limit: Annotated[int, Option(_BUDGET, "N")] = Field(default=500, ge=20)
    """The most queries to send; a model's file is run on them once more for each way that is
    tried. Some repeat others."""

    budget: Annotated[int | None, Option(_BUDGET, "N")] = Field(default=None, ge=1)
    """Tell how long it takes to query this many images, and what that costs."""

    price_per_1000: Annotated[float | None, Option(_BUDGET, "PRICE")] = Field(
        default=None, ge=0, allow_inf_nan=False
    )
    """The price of 1,000 queries, with --budget."""

    ledger: Annotated[Path, Option(_OUTPUT, "FILE")] = _RUN / _LEDGER
    """Where answers are kept: by default where an audit looks for them, which then does not pay for
    them again."""

    write: Annotated[Path | None, Option(_OUTPUT, "FILE")] = None
    """Write the black box's options, with what was found, to a TOML file for audit --config."""

    @field_validator("price_per_1000")
    @classmethod
    def _has_a_budget(cls, price: float | None, info: ValidationInfo) -> float | None:
        # A budget that is wrong itself is absent.
        if price is not None and info.data.get("budget", 0) is None:
            raise ValueError("needs a budget, whose price it is")
        return price
