"""The same answers in two hands: copies by the best-known toolbox, and by Papagaio.

    python benchmarks/art.py
    python benchmarks/art.py --run runs/demo --json build/art.json

Claim: from the same answers, with the same network, Papagaio's default recipes make better copies
than `KnockoffNets` of the adversarial-robustness-toolbox (random sampling; Adam with a rate of
1e-3, 30 epochs in batches of 32, where `--epochs` and `--batch` say nothing else).

Both learn from the first `budget` letters of a demo run and the black box's stored answers to them,
with `small-cnn` of the same initial weights behind the same normalisation of colours, and both are
tested on the same digits: what counts is fidelity, the share on which copy and black box name the
same class. Papagaio's is read from the run's `result.json`. A recipe that augments may answer with
the mean over several views of an image; the column `image alone` is the same copy without that.
Seconds are the processor's, for training and testing with one thread, one after another; for them
Papagaio's copies are trained again, and it is counted how many came out as in the run.

Needs Papagaio's environment with the extra `demo`. The toolbox gets an environment of its own,
made where it is missing: some gigabytes, with a torch of its own.
"""
# ruff: noqa: PLC0415  # each of the two environments lacks what the other imports

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.networks.own import small_cnn

if TYPE_CHECKING:
    from papagaio.study import Cell, Material, Study

    from papagaio.responses import Response
    from papagaio.result import CellRecord, Result

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
TOOLBOX = "adversarial-robustness-toolbox"
# The toolbox imports packaging without asking for it.
PACKAGES = (f"{TOOLBOX}==1.20.1", "torch", "packaging")
RESPONSES: "tuple[Response, ...]" = ("probabilities", "label")
SEEDS = (0, 1, 2)
STUDENT = "small-cnn"
COLUMNS = (
    "response",
    "budget",
    "toolbox",
    "Papagaio",
    "difference",
    "image alone",
    "toolbox, s",
    "Papagaio, s",
)


@dataclass(frozen=True)
class Copy:
    """One training, what came of it, and the processor's seconds for training and testing."""

    response: str
    budget: int
    seed: int
    parameters: int
    fidelity: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class OwnCopy(Copy):
    """One of Papagaio's, with its fidelity when trained again, and then from the image alone."""

    again: float
    alone: float


@dataclass(frozen=True)
class Given:
    """What the toolbox works with.

    Attributes:
        images: uint8 (N, H, W, C), in the order in which they were asked.
        answers: float32 (N, K), the black box's.
        test_images: uint8 (M, H, W, C).
        test_answers: float32 (M, K), the black box's.
        test_labels: int64 (M,), the true classes.
        budgets: how many images the copies learn from.
        epochs: of a training.
        batch: images a step.
    """

    images: NDArray[np.uint8]
    answers: NDArray[np.float32]
    test_images: NDArray[np.uint8]
    test_answers: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    budgets: NDArray[np.int64]
    epochs: NDArray[np.int64]
    batch: NDArray[np.int64]


def main() -> None:
    """Print the table; or, in the toolbox's environment, train its copies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished demo run (default: makes one)")
    parser.add_argument("--venv", type=Path, default=BUILD / "art-venv", help="the toolbox's")
    parser.add_argument("--epochs", type=int, default=30, help="the toolbox's")
    parser.add_argument("--batch", type=int, default=32, help="the toolbox's")
    parser.add_argument("--json", type=Path, help="keep every copy's figures there")
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    if wanted.inner:
        _toolbox_copies(wanted.inner)
    else:
        _compare(wanted)


def _compare(wanted: argparse.Namespace) -> None:
    run = wanted.run or _demo()
    result = _result(run)
    cells = list(_cells(run, result))
    given = _given(run, wanted.epochs, wanted.batch)
    python = _toolbox_python(wanted.venv)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        versions, theirs = _ask_toolbox(python, given, folder)
        ours = _own_copies(_study(run, folder, result), cells)
    if {copy.parameters for copy in theirs} != {copy.parameters for copy in ours}:
        sys.exit(f"{run}: made with another {STUDENT} than this Papagaio's; make it anew")
    conditions = (
        f"Fidelity on {len(given.test_images)} test images, mean (least..most) of seeds "
        f"{', '.join(map(str, SEEDS))}. {_own_conditions(ours)} Toolbox, {wanted.epochs} epochs in "
        f"batches of {wanted.batch}: {versions}. {time.monotonic() - start:.0f} s in all."
    )
    print(f"{_table(theirs, ours)}\n\n{conditions}")
    if wanted.json:
        _keep(wanted.json, conditions, theirs, ours)


def _keep(path: Path, conditions: str, theirs: Sequence[Copy], ours: Sequence[OwnCopy]) -> None:
    copies = {"toolbox": [asdict(copy) for copy in theirs], "papagaio": [asdict(c) for c in ours]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"conditions": conditions, **copies}, indent=1) + "\n")


def _table(theirs: Sequence[Copy], ours: Sequence[OwnCopy]) -> str:
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
    for response, budget in dict.fromkeys((copy.response, copy.budget) for copy in ours):
        toolbox = [c for c in theirs if (c.response, c.budget) == (response, budget)]
        papagaio = [c for c in ours if (c.response, c.budget) == (response, budget)]
        scores = [c.fidelity for c in toolbox], [c.fidelity for c in papagaio]
        lines.append(
            (
                response,
                f"{budget:,}",
                *map(_spread, scores),
                f"{np.mean(scores[1]) - np.mean(scores[0]):+.3f}",
                f"{np.mean([c.alone for c in papagaio]):.3f}",
                *(f"{np.mean([c.seconds for c in copies]):.1f}" for copies in (toolbox, papagaio)),
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}..{max(values):.3f})"


def _own_conditions(ours: Sequence[OwnCopy]) -> str:
    from papagaio import __version__
    from papagaio.training.machine import cores, processor

    as_in_run = sum(copy.again == copy.fidelity for copy in ours)
    return (
        f"{processor()}, {cores()} cores, one thread. "
        f"Papagaio {__version__}: {_versions('torch', 'numpy')}; "
        f"{as_in_run} of {len(ours)} copies, trained again, scored as in the run."
    )


def _versions(*packages: str) -> str:
    named = (f"{package} {version(package)}" for package in packages)
    return ", ".join([f"Python {platform.python_version()}", *named])


# Papagaio's side.


def _demo() -> Path:
    from papagaio.demo import demo

    demo(BUILD / "art-demo")
    return BUILD / "art-demo"


def _result(run: Path) -> "Result":
    from papagaio.errors import BadSettings
    from papagaio.result import read_result

    try:
        return read_result(run / "result.json")
    except BadSettings as error:
        sys.exit(str(error))


def _given(run: Path, epochs: int, batch: int) -> Given:
    from papagaio.demo import BUDGETS

    def read(name: str) -> NDArray[Any]:
        return np.asarray(np.load(run / "inputs" / f"{name}.npy"))

    return Given(
        images=read("transfer-images"),
        answers=read("transfer-answers"),
        test_images=read("test-images"),
        test_answers=read("test-answers"),
        test_labels=read("test-labels"),
        budgets=np.array(BUDGETS),
        epochs=np.array(epochs),
        batch=np.array(batch),
    )


def _own_copies(study: "Study", cells: "Sequence[tuple[Cell, CellRecord]]") -> list[OwnCopy]:
    from papagaio.study import run_cell

    run_cell(study, cells[0][0])  # the first training pays for imports and set-up
    return [_own_copy(study, cell, record) for cell, record in cells]


def _own_copy(study: "Study", cell: "Cell", record: "CellRecord") -> OwnCopy:
    from papagaio.study import run_cell

    start = time.process_time()
    again = run_cell(study, cell)
    seconds = time.process_time() - start
    fidelity, accuracy = record.scores.fidelity, record.scores.accuracy
    if fidelity is None or accuracy is None or again.scores.fidelity is None:
        sys.exit(f"{record.id}: not scored")
    return OwnCopy(
        response=cell.response,
        budget=cell.budget,
        seed=cell.seed,
        parameters=again.parameters,
        fidelity=fidelity.value,
        accuracy=accuracy.value,
        seconds=seconds,
        again=again.scores.fidelity.value,
        alone=_from_image_alone(study, cell),
    )


def _from_image_alone(study: "Study", cell: "Cell") -> float:
    """The fidelity of the copy that a cell has just left, from one view of each image."""
    from papagaio.networks.named import build_student
    from papagaio.training.loop import predict
    from papagaio.weights import load_weights

    test, answers = np.load(study.test.images), np.load(study.test.answers)
    student = build_student(cell.student, cell.initial, test, answers.shape[1], seed=cell.seed)
    student.load_state_dict(load_weights(study.folder / study.id_of(cell) / "student.safetensors"))
    return _agreement(predict(student, test, study.machine), answers.argmax(1))


def _study(run: Path, folder: Path, result: "Result") -> "Study":
    from papagaio.study import Study

    from papagaio.training.machine import Machine

    # No checkpoints: they are not part of a training.
    test = _material(run, "test", result)
    return Study(folder, test, run / "inputs" / "test-labels.npy", Machine(), float("inf"))


def _cells(run: Path, result: "Result") -> "Iterator[tuple[Cell, CellRecord]]":
    """The run's copies by default recipes, each as a cell and as it stands in the result."""
    from papagaio.study import Cell

    from papagaio.demo import BUDGETS
    from papagaio.training.recipes import default_recipe, recipe_named

    records = {
        (record.student, record.recipe, record.response, record.budget, record.seed): record
        for record in result.cells
        if record.kind == "copy"
    }
    material = _material(run, "transfer", result)
    for response, budget, seed in product(RESPONSES, BUDGETS, SEEDS):
        recipe = recipe_named(default_recipe(response), result.black_box.input)
        record = records.get((STUDENT, recipe.name, response, budget, seed))
        if record is None:
            sys.exit(f"{run}: no copy from {response} by {recipe.name}, {budget}, seed {seed}")
        initial = record.initial
        yield Cell("copy", STUDENT, initial, "", recipe, response, budget, seed, material), record


def _material(run: Path, name: str, result: "Result") -> "Material":
    from papagaio.study import Material

    images = run / "inputs" / f"{name}-images.npy"
    return Material(
        images=images,
        answers=run / "inputs" / f"{name}-answers.npy",
        shown="probabilities",
        size=len(np.load(images, mmap_mode="r")),
        digest=result.transfer.digest,
    )


def _agreement(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    return float((scores.argmax(1) == classes).mean())


# The toolbox's side: the first two here, the rest in its environment.


def _toolbox_python(folder: Path) -> Path:
    """The interpreter of the toolbox's environment, which is made where it is missing."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {' '.join(PACKAGES)} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), *pip, *PACKAGES], check=True)
        ready.touch()
    return python


def _ask_toolbox(python: Path, given: Given, folder: Path) -> tuple[str, list[Copy]]:
    """The toolbox's versions and copies."""
    file = folder / "given.npz"
    np.savez(file, **vars(given))
    # The toolbox leaves files in the home folder.
    surroundings = {
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder),
        "USERPROFILE": str(folder),
    }
    # -P: without it this very file would be what `import art` finds.
    command = [str(python), "-P", __file__, "--inner", str(file)]
    subprocess.run(command, check=True, env=os.environ | surroundings)
    found = json.loads(file.with_suffix(".json").read_bytes())
    return found["versions"], [Copy(**copy) for copy in found["copies"]]


def _toolbox_copies(file: Path) -> None:
    with np.load(file) as arrays:
        given = Given(**arrays)
    _toolbox_copy(given, "label", int(given.budgets[0]), 0)  # pays for imports and set-up
    copies = [
        asdict(_toolbox_copy(given, response, int(budget), seed))
        for response, budget, seed in product(RESPONSES, given.budgets, SEEDS)
    ]
    versions = _versions(TOOLBOX, "torch", "numpy")
    file.with_suffix(".json").write_text(json.dumps({"versions": versions, "copies": copies}))


def _toolbox_copy(given: Given, response: "Response", budget: int, seed: int) -> Copy:
    # Not installed where types are checked.
    from art.attacks.extraction import KnockoffNets  # type: ignore[import-not-found]
    from art.estimators.classification import (  # type: ignore[import-not-found]
        BlackBoxClassifier,
        PyTorchClassifier,
    )

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the toolbox draws from it
    start = time.process_time()
    images, classes = given.images[:budget], given.answers.shape[1]
    network = Classifier(small_cnn(images, classes), channel_statistics(images))
    shape = _as_floats(images).shape[1:]
    box = _StoredAnswers(_as_floats(images), given.answers[:budget])
    attack = KnockoffNets(
        BlackBoxClassifier(box, shape, classes),
        batch_size_fit=int(given.batch),
        nb_epochs=int(given.epochs),
        nb_stolen=budget,
        sampling_strategy="random",
        use_probability=response == "probabilities",
        verbose=False,
    )
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    thief = PyTorchClassifier(
        network, nn.CrossEntropyLoss(), shape, classes, optimizer=adam, device_type="cpu"
    )
    copy = attack.extract(_as_floats(images), thieved_classifier=thief)
    box.check_asked_once()
    scores = copy.predict(_as_floats(given.test_images))
    return Copy(
        response=response,
        budget=budget,
        seed=seed,
        parameters=sum(weights.numel() for weights in network.parameters()),
        fidelity=_agreement(scores, given.test_answers.argmax(1)),
        accuracy=_agreement(scores, given.test_labels),
        seconds=time.process_time() - start,
    )


class _StoredAnswers:
    """The black box: images (float32, N x C x H x W) to their stored answers (float32, N x K)."""

    def __init__(self, images: NDArray[np.float32], answers: NDArray[np.float32]) -> None:
        self.known = {one.tobytes(): answer for one, answer in zip(images, answers, strict=True)}
        self.asked: list[bytes] = []

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        found = [one.tobytes() for one in images]
        self.asked += found
        return np.array([self.known[one] for one in found])

    def check_asked_once(self) -> None:
        """Make sure that the toolbox learned from these images, all of them and no other."""
        if sorted(self.asked) != sorted(self.known):
            sys.exit("the toolbox did not ask for each image once")


def _as_floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """As the toolbox wants them, and from 0 to 255 as the student does."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


if __name__ == "__main__":
    main()
