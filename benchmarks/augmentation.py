"""Test the choice of augmentation on black boxes that it was not tuned on.

    python benchmarks/augmentation.py --data-dir FOLDER
    python benchmarks/augmentation.py --data-dir FOLDER --resnet FILE.onnx --seeds 0

Claim: the augmentation that `select_recipe` chooses makes copies about as good as those of
the best augmentation, whatever the black box is invariant to.

The script trains seven small black boxes; `--resnet` adds a ResNet-20 from an ONNX file, which
needs onnxruntime. Each answers images that are unlike its own. From these answers the script trains
a copy with every augmentation that the default recipe chooses among, and makes the choice, once per
seed. It prints one table of the black boxes and one of the copies' fidelity: the share of test
images on which copy and black box name the same class. The column `default` is the copy with the
chosen augmentation.

Black boxes, trainings and choices are files in the folder, and a second run does only what is
missing. Everything is reduced: the black boxes see few images, and copies get fewer answers, fewer
epochs than by default.
The lines above the tables have the numbers. This script needs Papagaio with the extra `demo`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydantic import TypeAdapter
from torch import nn

from papagaio import __version__, files
from papagaio.cli.progress import show_progress
from papagaio.errors import BadSettings, Diverged, PapagaioError
from papagaio.executors.here import on_this_machine
from papagaio.hardware import cores, processor
from papagaio.images.choosing import load
from papagaio.images.fit import Fit, Shape
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.jobs import Executor, Job, run_jobs
from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.networks.named import build_student, default_student
from papagaio.progress import Progress
from papagaio.responses import Answers, derive
from papagaio.scores import Figure, accuracy, fidelity, mean_over_seeds
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named
from papagaio.training.selection import select_recipe
from papagaio.vocabulary import RESPONSES, Augmentation, Part, Response

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.float32]
Augmentations = tuple[Augmentation, ...]
Photos = Literal["cifar10", "cifar100"]
T = TypeVar("T")

BUILD = Path(__file__).parents[1] / "build" / "augmentation"
MACHINE = Machine()
CANDIDATES: tuple[Augmentations, ...] = ((), ("crop",), ("flip",), ("crop", "flip"))
# The name of the ONNX file's network, which others trained on CIFAR-10 with crop and flip.
RESNET = "resnet20"
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
)


def pooled(channels: int, _: int, classes: int) -> nn.Module:
    """Three convolutions and global average pooling: position matters little."""
    layers: list[nn.Module] = []
    for before, after in pairwise((channels, 32, 64, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def dense(channels: int, side: int, classes: int) -> nn.Module:
    """Two convolutions and two dense layers: position matters."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * (side // 4) ** 2, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def separable(channels: int, _: int, classes: int) -> nn.Module:
    """Alternating depthwise and pointwise convolutions, then global average pooling."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, padding=1, stride=2, bias=False)]
    layers += [nn.BatchNorm2d(32), nn.ReLU()]
    for before, after, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)):
        layers += [nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)]
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, 1, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))


@dataclass(frozen=True)
class BlackBox:
    """A classifier to be trained, and the images that it answers.

    Attributes:
        name: its name in files and tables.
        taught: the data that it learns.
        asked: the images that it answers.
        shape: height, width and channels of both.
        network: builds it from channels, side and classes.
        augmentation: of its training.
        smoothing: of the labels in its training.
        images: how many it learns.
        epochs: of its training.
    """

    name: str
    taught: Literal["cifar10", "cifar100", "cifar100-coarse", "symbols", "digits"]
    asked: Photos
    shape: Shape
    network: Callable[[int, int, int], nn.Module]
    augmentation: Augmentations
    smoothing: float
    images: int
    epochs: int


BLACK_BOXES = (
    BlackBox(
        "objects-both", "cifar10", "cifar100", (32, 32, 3), pooled, ("crop", "flip"), 0, 15000, 10
    ),
    BlackBox("objects-none", "cifar10", "cifar100", (32, 32, 3), dense, (), 0, 10000, 20),
    BlackBox("fine-none", "cifar100", "cifar10", (32, 32, 3), pooled, (), 0, 15000, 8),
    BlackBox(
        "coarse-crop", "cifar100-coarse", "cifar10", (28, 28, 3), dense, ("crop",), 0, 10000, 10
    ),
    BlackBox("grey-flip", "cifar10", "cifar100", (28, 28, 1), separable, ("flip",), 0.1, 15000, 8),
    BlackBox("symbols-none", "symbols", "cifar100", (28, 28, 1), pooled, (), 0, 12000, 4),
    BlackBox("digits-none", "digits", "cifar100", (28, 28, 1), dense, (), 0, 6000, 6),
)
NAMES = [*(box.name for box in BLACK_BOXES), RESNET]


class Answered(NamedTuple):
    """A black box's answers, as its file holds them.

    Attributes:
        images: uint8 (N, H, W, C), what copies learn from.
        answers: float32 (N, K), the answers to them.
        test_images: uint8 (M, H, W, C), of the kind that the black box learned; it saw none.
        test_answers: float32 (M, K), the answers to them.
        test_labels: int64 (M,), their true classes.
    """

    images: Images
    answers: Probabilities
    test_images: Images
    test_answers: Probabilities
    test_labels: Labels

    @property
    def note(self) -> str:
        """The black box's accuracy, in words."""
        return f"accuracy {accuracy(self.test_answers, self.test_labels).value:.3f}"


@dataclass(frozen=True)
class Measurement:
    """One training of a copy, or one choice where `augmentation` is None.

    Attributes:
        box: the black box's name.
        response: what the black box shows.
        answers: how many of them the copy learns.
        epochs: of the training.
        batch: images per step.
        seed: of the training or the choice.
        augmentation: of the training.
    """

    box: str
    response: Response
    answers: int
    epochs: int
    batch: int
    seed: int
    augmentation: Augmentations | None

    @property
    def file(self) -> str:
        """The name of the file with its outcome."""
        what = "choice" if self.augmentation is None else in_words(self.augmentation)
        size = f"{self.answers}x{self.epochs}-{self.batch}"
        return f"{self.box}_{self.response}_{size}_{what}_{self.seed}.json"


@dataclass(frozen=True)
class Training:
    """The outcome of a training: the copy's fidelity, and the seconds that the training took."""

    score: Figure
    seconds: float

    @property
    def note(self) -> str:
        """The fidelity, in words."""
        return f"fidelity {self.score.value:.3f}"


@dataclass(frozen=True)
class Choice:
    """The outcome of a choice, and the seconds that it took. Its file holds the candidates too."""

    augmentation: Augmentations
    seconds: float

    @property
    def note(self) -> str:
        """The choice, in words."""
        return f"chosen: {in_words(self.augmentation)}"


Outcome = Training | Choice
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def main() -> None:
    """Do what is missing, and print the tables."""
    options = options_given()
    try:
        with show_progress() as progress:
            boxes = make_boxes(options, progress)
            outcomes = measure_all(options, list(boxes), progress)
    except PapagaioError as error:
        sys.exit(str(error))
    print("\n\n".join([conditions(options), box_table(boxes), fidelity_table(boxes, outcomes)]))


def options_given() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="the folder with CIFAR's Parquet files")
    add("--folder", type=Path, default=BUILD, help="where results are kept (default: %(default)s)")
    add("--resnet", type=Path, help="the ResNet-20 as an ONNX file")
    add("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of {', '.join(NAMES)}")
    add("--response", choices=RESPONSES, default="probabilities", help="what the black boxes show")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    add("--report", action="store_true", help="run nothing, and print what there is")
    for name, default, meaning in (
        ("answers", 400, "answers that each copy learns"),
        ("epochs", 12, "epochs per training"),
        ("batch", 32, "images per step"),
        ("asked", 4000, "images that a black box answers"),
        ("tested", 2000, "test images"),
        ("workers", cores(), "trainings at a time"),
    ):
        add(f"--{name}", type=int, default=default, help=f"{meaning} (default: {default})")
    options = parser.parse_args()
    options.only = options.only or [n for n in NAMES if n != RESNET or options.resnet]
    return options


def executor(options: argparse.Namespace) -> Executor:
    """Return what runs the jobs; for a report, an executor that runs nothing."""
    return (lambda _, __: iter(())) if options.report else on_this_machine(options.workers)


def if_exists(read: Callable[[Path], T], file: Path) -> T | None:
    """Read a file, or return None if it does not exist."""
    return read(file) if file.exists() else None


def in_words(augmentation: Sequence[str]) -> str:
    """Return the name of an augmentation."""
    return "+".join(augmentation) or "none"


# The black boxes.


def make_boxes(options: argparse.Namespace, progress: Progress) -> dict[str, Answered]:
    """Train and ask the black boxes that are missing; return the answers of all, by name."""
    jobs = [box_job(name, options) for name in options.only]
    outcomes = run_jobs(jobs, executor(options), unit="black boxes", progress=progress)
    made = {job.id: out for job, out in outcomes if not isinstance(out, Diverged)}
    return {name: made[name] for name in options.only if name in made}


def box_job(name: str, options: argparse.Namespace) -> Job[Answered]:
    """Return the job that makes a black box's answers."""
    make: dict[str, Callable[[Progress], Answered]] = {
        box.name: partial(make_box, box, options.data_dir, options.asked, options.tested)
        for box in BLACK_BOXES
    }
    make[RESNET] = partial(ask_resnet, options.resnet, options.data_dir, options.tested)
    file = options.folder / f"{name}.npz"
    run, finished = partial(keep_box, file, make[name]), partial(if_exists, read_box, file)
    return Job(name, 1, run, finished)


def keep_box(file: Path, make: Callable[[Progress], Answered], progress: Progress) -> Answered:
    """Make a black box's answers and write them to its file."""
    answered = make(progress)
    with files.writing(file) as out:
        np.savez(out, **answered._asdict())
    return answered


def read_box(file: Path) -> Answered:
    """Return a black box's answers from its file."""
    with np.load(file) as arrays:
        return Answered(**arrays)


def make_box(
    box: BlackBox, data_dir: Path, asked: int, tested: int, progress: Progress
) -> Answered:
    """Train a black box, and ask it about other images and about its test images."""
    images, labels = own_images(box, "train", box.images, data_dir, progress)
    classes = int(labels.max()) + 1
    torch.manual_seed(0)
    network = box.network(box.shape[2], box.shape[0], classes)
    classifier = Classifier(network, channel_statistics(images))
    recipe = Recipe(
        box.name,
        optimiser="adamw",
        rate=3e-3,
        decay=0.05,
        schedule="one-cycle",
        batch=64,
        epochs=box.epochs,
        augmentation=box.augmentation,
        smoothing=box.smoothing,
    )
    one_hot = Answers.of(np.eye(classes, dtype=np.float32)[labels])
    train(classifier, images, one_hot, recipe, seed=0, machine=MACHINE, progress=progress)
    others = photos(box.asked, "test", asked, box.shape, data_dir, progress).pixels
    own, own_labels = own_images(box, "test", tested, data_dir, progress)
    ask = partial(predict, classifier, machine=MACHINE, progress=progress)
    return Answered(others, ask(others), own, ask(own), own_labels)


def ask_resnet(model: Path | None, data_dir: Path, tested: int, progress: Progress) -> Answered:
    """Ask the ONNX file's network about the test parts of CIFAR-100 and CIFAR-10.

    Raises:
        BadSettings: no file is named.
    """
    if model is None:
        raise BadSettings(f"name the ONNX file of {RESNET}", field="resnet")
    import onnxruntime  # noqa: PLC0415  # only this black box needs it

    session = onnxruntime.InferenceSession(model)

    def ask(images: Images) -> Probabilities:
        batches = np.array_split(images, max(1, len(images) // 500))
        return np.concatenate([session.run(None, {"images": batch})[0] for batch in batches])

    shape = (32, 32, 3)
    others = photos("cifar100", "test", 10_000, shape, data_dir, progress).pixels
    own = photos("cifar10", "test", tested, shape, data_dir, progress)
    return Answered(others, ask(others), own.pixels, ask(own.pixels), own.required_labels)


def own_images(
    box: BlackBox, part: Part, count: int, data_dir: Path, progress: Progress
) -> tuple[Images, Labels]:
    """Return images of the kind that a black box learns, and their classes."""
    if box.taught in ("symbols", "digits"):
        characters = CHARACTERS if box.taught == "symbols" else CHARACTERS[:10]
        return draw(characters, count, seed=1 if part == "train" else 2)
    name: Photos = "cifar10" if box.taught == "cifar10" else "cifar100"
    own = photos(name, part, count, box.shape, data_dir, progress)
    if box.taught == "cifar100-coarse":
        return own.pixels, coarse_labels(part, count, data_dir)
    return own.pixels, own.required_labels


def photos(
    name: Photos, part: Part, count: int, shape: Shape, data_dir: Path, progress: Progress
) -> ImageSet:
    """Return the first images of a part of CIFAR, stretched to this shape."""
    source = open_source(f"{name}:{part}", data_dir=data_dir)
    images = load(source, shape=shape, fit=Fit("stretch", "convert"), progress=progress)
    return images.take(np.arange(count))


def coarse_labels(part: Part, count: int, data_dir: Path) -> Labels:
    """Return CIFAR-100's superclasses of the first images."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # only one black box needs it

    paths = sorted((data_dir / "cifar100").glob(f"{part}-*.parquet"))
    columns = [pq.read_table(path, columns=["coarse_label"]).column(0) for path in paths]
    return np.concatenate([column.to_numpy() for column in columns])[:count].astype(np.int64)


def draw(characters: str, count: int, seed: int) -> tuple[Images, Labels]:
    """Draw characters in many fonts, slightly rotated, sheared and stretched: (N, 28, 28, 1)."""
    random = np.random.default_rng(seed)
    folder = Path(get_data_path(), "fonts", "ttf")
    fonts = [ImageFont.truetype(folder / f"{name}.ttf", 64) for name in FONTS]
    labels = random.integers(len(characters), size=count)
    pixels = np.empty((count, 28, 28, 1), np.uint8)
    for row, label in enumerate(labels):
        image = Image.new("L", (84, 84))
        font = fonts[random.integers(len(fonts))]
        ImageDraw.Draw(image).text((42, 42), characters[label], 255, font, anchor="mm")
        angle, shear = random.normal(0, 0.12), random.normal(0, 0.15)
        wide, high = np.exp(random.normal(0.1, 0.1, 2))
        matrix = np.array(
            [
                [np.cos(angle) * wide, (shear - np.sin(angle)) * wide],
                [np.sin(angle) * high, np.cos(angle) * high],
            ]
        )
        move = 42 - matrix @ [42, 42] + random.normal(0, 2, 2)
        changed = image.transform(
            image.size,
            Image.Transform.AFFINE,
            (*matrix[0], move[0], *matrix[1], move[1]),
            Image.Resampling.BILINEAR,
        )
        pixels[row, :, :, 0] = np.asarray(changed.resize((28, 28), Image.Resampling.BOX))
    return pixels, labels.astype(np.int64)


# The copies.


def measure_all(
    options: argparse.Namespace, boxes: Sequence[str], progress: Progress
) -> dict[Measurement, Outcome]:
    """Run the trainings and choices that are missing; return all outcomes."""
    reduced = options.response, options.answers, options.epochs, options.batch
    measurements = [
        Measurement(box, *reduced, seed, augmentation)
        for seed, box, augmentation in product(options.seeds, boxes, [*CANDIDATES, None])
    ]
    # Equal costs keep this order, so a whole seed is complete before the next one begins.
    jobs = [measurement_job(one, options.folder) for one in measurements]
    outcomes = run_jobs(jobs, executor(options), unit="trainings and choices", progress=progress)
    by_file = {one.file: one for one in measurements}
    return {by_file[job.id]: out for job, out in outcomes if not isinstance(out, Diverged)}


def measurement_job(measurement: Measurement, folder: Path) -> Job[Outcome]:
    """Return the job of a training or a choice."""
    read = partial(if_exists, read_outcome, folder / "results" / measurement.file)
    return Job(measurement.file, 1, partial(measure, measurement, folder), read)


def read_outcome(file: Path) -> Outcome:
    """Return an outcome from its file."""
    return OUTCOME.validate_json(file.read_bytes())


def measure(measurement: Measurement, folder: Path, progress: Progress) -> Outcome:
    """Train a copy or choose an augmentation; write the outcome to its file and return it.

    Raises:
        BadSettings: there are too few answers for a choice.
    """
    box, seed = read_box(folder / f"{measurement.box}.npz"), measurement.seed
    images = box.images[: measurement.answers]
    answers = derive(box.answers[: measurement.answers], "probabilities", measurement.response)
    shape, classes = images.shape[1:], box.answers.shape[1]
    recipe = recipe_named(default_recipe(measurement.response), shape)
    recipe = replace(recipe, epochs=measurement.epochs, batch=measurement.batch, least_batches=0)
    build = partial(build_student, default_student(shape), "random", images, classes, seed=seed)
    start = time.monotonic()
    if measurement.augmentation is None:
        selection = select_recipe(
            build, images, answers, recipe, seed=seed, machine=MACHINE, progress=progress
        )
        if selection is None:
            raise BadSettings("too few for a choice", field="answers", value=len(images))
        record = {
            "augmentation": selection.recipe.augmentation,
            "candidates": [vars(one) for one in selection.candidates],
            "seconds": time.monotonic() - start,
        }
    else:
        recipe = replace(recipe, augmentation=measurement.augmentation)
        copy = build()
        train(copy, images, answers, recipe, seed=seed, machine=MACHINE, progress=progress)
        seconds = time.monotonic() - start
        predicted = predict(copy, box.test_images, MACHINE, recipe.augmentation)
        record = {"score": asdict(fidelity(predicted, box.test_answers)), "seconds": seconds}
    text = json.dumps(record, default=np.ndarray.tolist)
    files.write(folder / "results" / measurement.file, text)
    return OUTCOME.validate_json(text)


# The tables.


def conditions(options: argparse.Namespace) -> str:
    """Return the conditions of the measurements."""
    recipe = recipe_named(default_recipe(options.response), (32, 32, 3))
    learned = [box.images for box in BLACK_BOXES]
    return (
        f"This machine: {processor()}, {cores()} cores, one thread per training; "
        f"papagaio {__version__}, torch {torch.__version__}, numpy {np.__version__}.\n"
        f"Recipe {recipe.name}, response {options.response}. Reduced: {options.answers:,} answers; "
        f"{options.epochs} epochs instead of {recipe.epochs}, in batches of {options.batch} "
        f"instead of {recipe.settled(options.answers).batch}; the script's own black boxes learn "
        f"{min(learned):,} to {max(learned):,} images.\n"
        "Fidelity on n test images: the mean of the seeds, ± half its 95 % interval. Seconds (s) "
        "are means, as measured when each training or choice ran."
    )


def box_table(boxes: Mapping[str, Answered]) -> str:
    """Return the table of the black boxes: what they take, how good they are, and how sure."""
    columns = ["black box", "classes", "images", "n", "accuracy"]
    rows = [[*columns, "top probability, test images", "top probability, asked images"]]
    for name, box in boxes.items():
        n, classes = box.test_answers.shape
        size = " x ".join(map(str, box.images.shape[1:]))
        figure = accuracy(box.test_answers, box.test_labels)
        sure = [f"{answers.max(1).mean():.3f}" for answers in (box.test_answers, box.answers)]
        rows.append([name, str(classes), size, f"{n:,}", f"{figure.value:.3f}", *sure])
    return table(rows)


def fidelity_table(boxes: Iterable[str], outcomes: Mapping[Measurement, Outcome]) -> str:
    """Return the table of fidelities: a row per black box with at least one complete seed."""
    measured = ["default", "chosen", "default below the best", "s per training", "s per choice"]
    rows = [["black box", "n", "seeds", *map(in_words, CANDIDATES), *measured]]
    for box in boxes:
        mine = {
            (one.seed, one.augmentation): out for one, out in outcomes.items() if one.box == box
        }
        needed = {seed: {(seed, one) for one in (None, *CANDIDATES)} for seed, _ in mine}
        complete = sorted(seed for seed, keys in needed.items() if keys <= mine.keys())
        if complete:
            rows.append([box, *fidelity_row(complete, mine)])
    return table(rows)


def fidelity_row(
    seeds: Sequence[int], outcomes: Mapping[tuple[int, Augmentations | None], Outcome]
) -> list[str]:
    """Return a black box's cells, from its outcomes by seed and augmentation."""
    choices = [cast("Choice", outcomes[seed, None]) for seed in seeds]
    chosen = [choice.augmentation for choice in choices]
    columns = [
        [cast("Training", outcomes[pair]) for pair in zip(seeds, augmentations, strict=True)]
        for augmentations in (*([one] * len(seeds) for one in CANDIDATES), chosen)
    ]
    figures = [mean_over_seeds([copy.score for copy in column]) for column in columns]
    trainings = [copy.seconds for column in columns[:-1] for copy in column]
    return [
        f"{columns[0][0].score.n:,}",
        ", ".join(map(str, seeds)),
        *(f"{figure.value:.3f} ± {(figure.high - figure.low) / 2:.3f}" for figure in figures),
        ", ".join(map(in_words, chosen)),
        f"{max(figure.value for figure in figures) - figures[-1].value:.3f}",
        f"{np.mean(trainings):.0f}",
        f"{np.mean([choice.seconds for choice in choices]):.0f}",
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


if __name__ == "__main__":
    main()
