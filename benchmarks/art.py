"""Compare Papagaio's copies with those of the Adversarial Robustness Toolbox.

    python benchmarks/art.py
    python benchmarks/art.py --run runs/demo --json build/art.json

Claim: from the same answers, with the same network, Papagaio's default recipes make better copies
than the toolbox's `KnockoffNets` (random sampling; Adam at 1e-3, by default 30 epochs in batches of
32).

Both train `small-cnn`, with the same initial weights and colour normalisation, on the first
`budget` letters of a demo run and the black box's stored answers, and both are tested on the same
digits. The score is fidelity: the share of images on which copy and black box name the same class.
A recipe with augmentation may average the copy's output over several views of an image; the column
`image alone` is the same copy without that. Seconds are processor seconds for training and testing,
with one thread, one training at a time. The line below the table says how many of Papagaio's copies
have exactly the scores that the run's `result.json` holds.

This script needs Papagaio with the extra `demo`. It creates a separate environment for the toolbox
if it is missing: several gigabytes, with its own torch.
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
    from papagaio.auditing.frozen import Cell, CellContext, TrainingSet
    from papagaio.result import Result, Scores
    from papagaio.vocabulary import Response

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
TOOLBOX = "adversarial-robustness-toolbox"
# The toolbox imports packaging but does not declare it.
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
    """One copy: its training, scores, and processor seconds for training and testing."""

    response: str
    budget: int
    seed: int
    parameters: int
    fidelity: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class OwnCopy(Copy):
    """A copy by Papagaio.

    Attributes:
        alone: its fidelity from one view of each image.
        as_in_run: whether its scores are those in the run's result.
    """

    alone: float
    as_in_run: bool


@dataclass(frozen=True)
class ToolboxInputs:
    """What the toolbox works with.

    Attributes:
        images: uint8 (N, H, W, C), in the order in which a budget is spent on them.
        answers: float32 (N, K), the black box's.
        test_images: uint8 (M, H, W, C).
        test_answers: float32 (M, K), the black box's.
        test_labels: int64 (M,), the true classes.
        budgets: int64 (B,), numbers of images that copies are trained on.
        epochs: int64 (), epochs per training.
        batch: int64 (), images per step.
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
    parser.add_argument("--run", type=Path, help="a finished demo run (default: run the demo)")
    parser.add_argument(
        "--venv", type=Path, default=BUILD / "art-venv", help="the toolbox's environment"
    )
    parser.add_argument("--epochs", type=int, default=30, help="the toolbox's epochs")
    parser.add_argument("--batch", type=int, default=32, help="the toolbox's batch size")
    parser.add_argument("--json", type=Path, help="write the figures of every copy to this file")
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
    inputs = _toolbox_inputs(run, wanted.epochs, wanted.batch)
    python = _toolbox_python(wanted.venv)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        versions, theirs = _ask_toolbox(python, inputs, Path(name))
        ours = _own_copies(run, result, Path(name))
    if {copy.parameters for copy in theirs} != {copy.parameters for copy in ours}:
        sys.exit(f"the toolbox trained another network than Papagaio's {STUDENT}")
    conditions = (
        f"Fidelity on {len(inputs.test_images)} test images, mean (least..most) of seeds "
        f"{', '.join(map(str, SEEDS))}. {_own_conditions(ours)} Toolbox, {wanted.epochs} epochs in "
        f"batches of {wanted.batch}: {versions}. {time.monotonic() - start:.0f} s in total."
    )
    print(f"{_table(theirs, ours)}\n\n{conditions}")
    if wanted.json:
        _write_figures(wanted.json, conditions, theirs, ours)


def _write_figures(
    path: Path, conditions: str, theirs: Sequence[Copy], ours: Sequence[OwnCopy]
) -> None:
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
    from papagaio.hardware import cores, processor

    return (
        f"{processor()}, {cores()} cores, one thread. "
        f"Papagaio {__version__}: {_versions('torch', 'numpy')}; "
        f"{sum(copy.as_in_run for copy in ours)} of {len(ours)} copies have the scores of the run."
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


def _toolbox_inputs(run: Path, epochs: int, batch: int) -> ToolboxInputs:
    from papagaio.demo import BUDGETS

    def read(name: str) -> NDArray[Any]:
        return np.asarray(np.load(run / "inputs" / f"{name}.npy"))

    return ToolboxInputs(
        images=read("transfer-images"),
        answers=read("transfer-queried-answers"),
        test_images=read("test-images"),
        test_answers=read("test-queried-answers"),
        test_labels=read("test-labels"),
        budgets=np.array(BUDGETS),
        epochs=np.array(epochs),
        batch=np.array(batch),
    )


def _own_copies(run: Path, result: "Result", folder: Path) -> list[OwnCopy]:
    from papagaio.auditing.cells import run_cell
    from papagaio.auditing.frozen import CellContext, ScoringSet
    from papagaio.training.machine import Machine

    test = ScoringSet(_stored(run, "test"), run / "inputs" / "test-labels.npy")
    # No checkpoints: they are not part of a training's time.
    context = CellContext(folder, test, Machine(), float("inf"))
    cells = list(_cells(_stored(run, "transfer"), result.black_box.input))
    in_run = {
        (record.recipe, record.response, record.budget, record.seed): record.scores
        for record in result.cells
        if record.kind == "copy" and record.student == STUDENT
    }
    run_cell(context, cells[0])  # the first training pays for imports and set-up
    return [_own_copy(context, cell, in_run) for cell in cells]


def _own_copy(
    context: "CellContext", cell: "Cell", in_run: "dict[tuple[str, str, int, int], Scores]"
) -> OwnCopy:
    from papagaio.auditing.cells import run_cell

    start = time.process_time()
    record = run_cell(context, cell)
    seconds = time.process_time() - start
    fidelity, accuracy = record.scores.fidelity, record.scores.accuracy
    if fidelity is None or accuracy is None:
        sys.exit(f"{record.id}: no scores")
    key = record.recipe, record.response, record.budget, record.seed
    return OwnCopy(
        response=record.response,
        budget=record.budget,
        seed=record.seed,
        parameters=record.parameters,
        fidelity=fidelity.value,
        accuracy=accuracy.value,
        seconds=seconds,
        alone=_fidelity_from_one_view(context, cell),
        as_in_run=in_run.get(key) == record.scores,
    )


def _fidelity_from_one_view(context: "CellContext", cell: "Cell") -> float:
    """The fidelity of a finished cell's copy, without further views of each image."""
    from papagaio import files
    from papagaio.networks.named import build_student
    from papagaio.training.inference import predict
    from papagaio.weights import load_weights

    answered = context.test.answered
    test, answers = files.read_array(answered.images), files.read_array(answered.answers)
    student = build_student(STUDENT, "random", test, answers.shape[1], seed=0)
    weights = context.folder / context.id_of(cell) / "student.safetensors"
    student.load_state_dict(load_weights(weights))
    return _agreement(predict(student, test, context.machine), answers.argmax(1))


def _cells(letters: "TrainingSet", shape: tuple[int, int, int]) -> "Iterator[Cell]":
    """Yield the demo's copies by default recipes."""
    from papagaio.auditing.frozen import Cell
    from papagaio.auditing.plan import AttackConfig, Training
    from papagaio.demo import BUDGETS
    from papagaio.training.recipes import auto_recipe

    for response, budget, seed in product(RESPONSES, BUDGETS, SEEDS):
        attack = AttackConfig(response, auto_recipe(response, 0, shape))
        training = Training(
            "copy", STUDENT, "random", attack, budget, seed, images="transfer", answers="queried"
        )
        yield Cell(training, letters)


def _stored(run: Path, purpose: str) -> "TrainingSet":
    """The images and answers that a run has stored for a purpose."""
    from papagaio.auditing.frozen import TrainingSet

    images = run / "inputs" / f"{purpose}-images.npy"
    answers = run / "inputs" / f"{purpose}-queried-answers.npy"
    # The digest only tells cells of different data apart; here all have the same.
    return TrainingSet(images, answers, "probabilities", digest="")


def _agreement(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    return float((scores.argmax(1) == classes).mean())


# The toolbox's side: the first two functions run here, the others in its environment.


def _toolbox_python(folder: Path) -> Path:
    """The interpreter of the toolbox's environment, which is created if it is missing."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {' '.join(PACKAGES)} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), *pip, *PACKAGES], check=True)
        ready.touch()
    return python


def _ask_toolbox(python: Path, inputs: ToolboxInputs, folder: Path) -> tuple[str, list[Copy]]:
    """The toolbox's versions and copies."""
    file = folder / "inputs.npz"
    np.savez(file, **vars(inputs))
    # The toolbox writes files to the home folder.
    variables = {
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(folder),
        "USERPROFILE": str(folder),
    }
    # -P: without it, `import art` finds this file.
    command = [str(python), "-P", __file__, "--inner", str(file)]
    subprocess.run(command, check=True, env=os.environ | variables)
    output = json.loads(file.with_suffix(".json").read_bytes())
    return output["versions"], [Copy(**copy) for copy in output["copies"]]


def _toolbox_copies(file: Path) -> None:
    with np.load(file) as arrays:
        inputs = ToolboxInputs(**arrays)
    _toolbox_copy(inputs, "label", int(inputs.budgets[0]), 0)  # pays for imports and set-up
    copies = [
        asdict(_toolbox_copy(inputs, response, int(budget), seed))
        for response, budget, seed in product(RESPONSES, inputs.budgets, SEEDS)
    ]
    versions = _versions(TOOLBOX, "torch", "numpy")
    file.with_suffix(".json").write_text(json.dumps({"versions": versions, "copies": copies}))


def _toolbox_copy(inputs: ToolboxInputs, response: "Response", budget: int, seed: int) -> Copy:
    # Not installed where types are checked.
    from art.attacks.extraction import KnockoffNets  # type: ignore[import-not-found]
    from art.estimators.classification import (  # type: ignore[import-not-found]
        BlackBoxClassifier,
        PyTorchClassifier,
    )

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the toolbox draws from it
    start = time.process_time()
    images, classes = inputs.images[:budget], inputs.answers.shape[1]
    network = Classifier(small_cnn(images, classes), channel_statistics(images))
    shape = _as_floats(images).shape[1:]
    box = _StoredAnswers(_as_floats(images), inputs.answers[:budget])
    attack = KnockoffNets(
        BlackBoxClassifier(box, shape, classes),
        batch_size_fit=int(inputs.batch),
        nb_epochs=int(inputs.epochs),
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
    scores = copy.predict(_as_floats(inputs.test_images))
    return Copy(
        response=response,
        budget=budget,
        seed=seed,
        parameters=sum(weights.numel() for weights in network.parameters()),
        fidelity=_agreement(scores, inputs.test_answers.argmax(1)),
        accuracy=_agreement(scores, inputs.test_labels),
        seconds=time.process_time() - start,
    )


class _StoredAnswers:
    """The black box: from images (float32, N x C x H x W) to stored answers (float32, N x K)."""

    def __init__(self, images: NDArray[np.float32], answers: NDArray[np.float32]) -> None:
        self.known = {one.tobytes(): answer for one, answer in zip(images, answers, strict=True)}
        self.asked: list[bytes] = []

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        keys = [one.tobytes() for one in images]
        self.asked += keys
        return np.array([self.known[key] for key in keys])

    def check_asked_once(self) -> None:
        """Exit unless the toolbox asked for each image exactly once, and for no other."""
        if sorted(self.asked) != sorted(self.known):
            sys.exit("the toolbox did not ask for each image exactly once")


def _as_floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images as the toolbox takes them (N, C, H, W), from 0 to 255."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


if __name__ == "__main__":
    main()
