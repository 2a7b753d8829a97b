"""How strong copies are: the settings that Papagaio wants to be strong in, one run each.

    python benchmarks/strength.py --list
    python benchmarks/strength.py --only digits-100 digits-500-labels
    python benchmarks/strength.py --data-dir FOLDER --resnet FILE.onnx --only resnet-10000

Every row is an audit with the defaults: no recipe is named by hand. `--recipes` names some in
addition, for comparison. A row keeps its run in the folder; a second run does only what is missing.
The table has each row's fidelity and accuracy relative to the black box, with n, seeds and 95 %
intervals, and the time of a training with its choice of the recipe.

The rows `symbols` and `fine` audit black boxes that `benchmarks/augmentation.py` defines, trained
on more images than there. Rows with 50,000 answers take hours without a GPU. This script needs
Papagaio with the extra `demo`, and onnxruntime for the ResNet-20.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from augmentation import BLACK_BOXES, CHARACTERS, MACHINE, own_images, photos
from numpy.typing import NDArray

from papagaio.auditing.opening import open_black_box_of, open_images
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.run import audit
from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.cli.progress import show_progress
from papagaio.demo import digit_classifier
from papagaio.errors import BadSettings, PapagaioError
from papagaio.hardware import cores, processor
from papagaio.images.choosing import choose, load
from papagaio.images.imageset import ImageSet
from papagaio.images.named import open_source
from papagaio.images.source import arrays
from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.options import validated
from papagaio.progress import Progress
from papagaio.responses import Answers
from papagaio.result import Result, Scores, SummaryRow
from papagaio.scores import Figure
from papagaio.settings import AuditOptions, Settings
from papagaio.teaching.box import network_box
from papagaio.training.loop import train
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import DISTILLED, Response
from papagaio.weights import load_weights, save_weights

BUILD = Path(__file__).parents[1] / "build" / "strength"
Target = tuple[BlackBox, AuditImages]


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        name: what `--only` calls it.
        box: which black box, see `TARGETS`.
        budget: answers that a copy learns.
        response: what an answer shows.
        goal: the goal, in words.
        seeds: how many.
        distil: whether a student also learns from the copies, with 40,000 unanswered images.
    """

    name: str
    box: str
    budget: int
    response: Response = "probabilities"
    goal: str = ""
    seeds: int = 3
    distil: bool = False


ROWS = (
    Row("digits-100", "digits", 100, goal="fidelity 0.93"),
    Row("digits-500", "digits", 500, goal="fidelity 0.99"),
    Row("digits-4000", "digits", 4000, goal="fidelity 0.997"),
    Row("digits-500-labels", "digits", 500, "label", "fidelity 0.95"),
    Row("digits-4000-labels", "digits", 4000, "label", "fidelity 0.99"),
    Row("digits-500-rounded", "digits", 500, "rounded-2", "full precision - 0.02"),
    Row("digits-4000-rounded", "digits", 4000, "rounded-2", "full precision - 0.02"),
    Row("resnet-1000", "resnet", 1000, goal="the strongest", distil=True),
    Row("resnet-3000", "resnet", 3000, goal="the strongest", distil=True),
    Row("resnet-10000", "resnet", 10_000, goal="relative accuracy 0.95, 30 min", seeds=1),
    Row("resnet-10000-labels", "resnet", 10_000, "label", "relative accuracy 0.88", seeds=1),
    Row("resnet-10000-rounded", "resnet", 10_000, "rounded-2", "full precision - 0.02", seeds=1),
    Row("resnet-50000", "resnet", 50_000, goal="relative accuracy 0.985", seeds=1),
    Row("resnet-50000-labels", "resnet", 50_000, "label", "relative accuracy 0.96", seeds=1),
    Row("symbols-5000", "symbols", 5000, goal="the best single recipe", seeds=1),
    Row("symbols-20000", "symbols", 20_000, goal="the best single recipe", seeds=1),
    Row("fine-5000", "fine", 5000, goal="above every single recipe", seeds=1),
    Row("fine-5000-labels", "fine", 5000, "label", "above every single recipe", seeds=1),
    Row("fine-50000", "fine", 50_000, goal="above every single recipe", seeds=1),
    Row("fine-50000-labels", "fine", 50_000, "label", "above every single recipe", seeds=1),
)


def main() -> None:
    """Run the rows that are asked for, and print the table."""
    options = options_given()
    if options.list:
        print("\n".join(f"{row.name}: {row.budget:,} {row.response}, {row.goal}" for row in ROWS))
        return
    print(f"{processor()}, {cores()} cores, {options.threads or 'all'} threads per training\n")
    print("| row | recipe | seeds | n | fidelity | relative accuracy | seconds | chosen | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    try:
        with show_progress() as progress:
            for row in (row for row in ROWS if row.name in options.only):
                result = run(row, options, progress)
                print("\n".join(table_rows(row, result)), flush=True)
    except PapagaioError as error:
        sys.exit(str(error))


def options_given() -> argparse.Namespace:
    """Parse the command line."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--list", action="store_true", help="list the rows")
    add("--only", nargs="+", choices=names, default=names, metavar="ROW", help="some of the rows")
    add("--recipes", nargs="+", default=["auto"], help="default: auto")
    add("--data-dir", type=Path, help="the folder with CIFAR's Parquet files")
    add("--resnet", type=Path, help="the ResNet-20 as an ONNX file")
    add("--folder", type=Path, default=BUILD, help="where runs are kept (default: %(default)s)")
    add("--threads", type=int, help="threads per training (default: all cores)")
    return parser.parse_args()


def run(row: Row, options: argparse.Namespace, progress: Progress) -> Result:
    """Audit a row's black box; a run that is there is resumed."""
    box, images = TARGETS[row.box](row, options, progress)
    how = AuditOptions(
        budget=row.budget,
        responses=(row.response,),
        recipes=tuple(options.recipes),
        seeds=tuple(range(row.seeds)),
        controls=(),
        distil=row.distil,
        threads=options.threads,
        ledger=options.folder / f"{row.box}.sqlite",
        out=options.folder / row.name,
    )
    return audit(box, images, how, progress)


def digits(row: Row, options: argparse.Namespace, progress: Progress) -> Target:
    """The demo's classifier of digits, asked about letters."""
    own = load(open_source("digits:train"), progress=progress)
    letters = choose(open_source("letters", progress=progress), row.budget, progress=progress)
    box = digit_classifier(own, options.folder / "digits.safetensors", progress)
    return box, AuditImages(letters, load(open_source("digits:test"), progress=progress))


def resnet(row: Row, options: argparse.Namespace, progress: Progress) -> Target:
    """A ResNet-20 for CIFAR-10, asked about CIFAR-100's test part, or part of its train part."""
    if options.resnet is None:
        raise BadSettings("name the ONNX file of the ResNet-20", field="resnet")
    part = "test" if row.budget == 10_000 else "train"
    given = {
        "black-box": str(options.resnet),
        "transfer": f"cifar100:{part}",
        "test": "cifar10:test",
        "budget": row.budget,
        "distil": row.distil,
        "seeds": tuple(range(row.seeds)),
        "data-dir": data_dir(options),
    }
    settings = validated(Settings, given)
    box = open_black_box_of(settings)
    return box, open_images(settings, box.contract, progress)


def taught(
    name: str, images: int, row: Row, options: argparse.Namespace, progress: Progress
) -> Target:
    """A black box of `benchmarks/augmentation.py`, trained on more images here."""
    (spec,) = (one for one in BLACK_BOXES if one.name == name)
    folder = data_dir(options)
    own, labels = own_images(spec, "train", images, folder, progress)
    classes = int(labels.max()) + 1
    network = Classifier(
        spec.network(spec.shape[2], spec.shape[0], classes), channel_statistics(own)
    )
    weights = options.folder / f"{name}.safetensors"
    if weights.exists():
        network.load_state_dict(load_weights(weights))
    else:
        recipe = Recipe(
            name, "cross-entropy", optimiser="adamw", rate=3e-3, decay=0.05, epochs=spec.epochs
        )
        recipe = replace(recipe, schedule="one-cycle", batch=64)
        one_hot = Answers.of(np.eye(classes, dtype=np.float32)[labels])
        train(network, own, one_hot, recipe, seed=0, machine=MACHINE, progress=progress)
        save_weights(weights, network)
    contract = Contract(*spec.shape, classes=classes)
    transfer = photos(spec.asked, "train", row.budget, spec.shape, folder, progress)
    test = labelled(name, *own_images(spec, "test", 5000, folder, progress))
    return network_box(name, network, contract, MACHINE), AuditImages(transfer, test)


def labelled(name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageSet:
    """The image set of labelled images."""
    classes = tuple(map(str, range(len(CHARACTERS if "symbols" in name else range(100)))))
    return load(arrays(name, pixels, labels, classes))


def data_dir(options: argparse.Namespace) -> Path:
    """The folder with CIFAR.

    Raises:
        BadSettings: none is named.
    """
    if options.data_dir is None:
        raise BadSettings("name the folder with CIFAR's Parquet files", field="data_dir")
    folder: Path = options.data_dir
    return folder


TARGETS: dict[str, Callable[[Row, argparse.Namespace, Progress], Target]] = {
    "digits": digits,
    "resnet": resnet,
    "symbols": partial(taught, "symbols-none", 12_000),
    "fine": partial(taught, "fine-none", 50_000),
}


def table_rows(row: Row, result: Result) -> list[str]:
    """The lines of a row: one per recipe, for copies, for copies together, and for a student."""
    lines = [
        table_row(row, one.recipe, one, [one.seeds, f"{one.seconds:.0f}", chosen(result, one)])
        for one in result.summary
        if one.kind == "copy"
    ]
    for together in result.ensembles if row.distil else ():
        about = [len(together.seeds), "none", ""]
        lines.append(table_row(row, f"{together.recipe}, together", together.scores, about))
    for one in result.summary:
        if one.kind == DISTILLED:
            about = [one.seeds, f"{one.seconds:.0f}", ""]
            lines.append(table_row(row, f"{one.recipe}, a student of these", one, about))
    return lines


def table_row(row: Row, who: str, scores: Scores, about: list[object]) -> str:
    """One line of the table."""
    seeds, seconds, choice = about
    n = scores.fidelity.n if scores.fidelity else 0
    figures = [in_words(scores.fidelity), in_words(scores.relative_accuracy)]
    parts = [row.name, who, seeds, n, *figures, seconds, choice, row.goal]
    return f"| {' | '.join(map(str, parts))} |"


def chosen(result: Result, copy: SummaryRow) -> str:
    """What each of these copies chose."""
    return "; ".join(
        " ".join(f"{n}={v}" for n, v in cell.selection.changes.items()) or "as given"
        for cell in result.cells
        if cell.kind == "copy" and cell.recipe == copy.recipe and cell.selection
    )


def in_words(figure: Figure | None) -> str:
    """A figure with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else ""


if __name__ == "__main__":
    main()
