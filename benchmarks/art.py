"""Compare Papagaio's copies with those of the Adversarial Robustness Toolbox.

    python benchmarks/art.py
    python benchmarks/art.py --run runs/resnet --json build/art.json
    python benchmarks/art.py --run runs/resnet --epochs 100

Claim: from the same answers, with the same network, Papagaio's default recipes make better copies
than the toolbox's `KnockoffNets` (random sampling; Adam at 1e-3, by default 30 epochs in batches of
32).

Papagaio's copies are those that a run has made by `auto`; without `--run`, a demo is run first. The
toolbox makes one for each: the same student with the same initial weights and colour normalisation,
on the same images and stored answers, tested on the same images. The score is fidelity: the share
of test images on which copy and black box name the same class. A recipe with augmentation may
average the copy's output over several views of an image; the column `image alone` is the same copy
without that. Seconds are those of a training with its test, by the clock: Papagaio's as the run was
made, with the choice of the recipe; the toolbox's with one thread, one training at a time.

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
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from papagaio.networks.classifier import Classifier, channel_statistics
from papagaio.networks.own import residual_cnn, small_cnn

if TYPE_CHECKING:
    from papagaio.result import CellRecord, Result

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
TOOLBOX = "adversarial-robustness-toolbox"
# The toolbox imports packaging but does not declare it.
PACKAGES = (f"{TOOLBOX}==1.20.1", "torch", "packaging")
STUDENTS = {"small-cnn": small_cnn, "residual-cnn": residual_cnn}
COLUMNS = (
    "response",
    "student",
    "budget",
    "toolbox",
    "Papagaio",
    "difference",
    "image alone",
    "toolbox, s",
    "Papagaio, s",
)


@dataclass(frozen=True)
class Wanted:
    """One copy that both make: what an answer shows, how many answers, the student and the seed."""

    response: str
    budget: int
    student: str
    seed: int


@dataclass(frozen=True)
class Copy:
    """One copy: its size, scores, and the seconds of its training and test."""

    wanted: Wanted
    parameters: int
    fidelity: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class OwnCopy(Copy):
    """A copy by Papagaio.

    Attributes:
        alone: its fidelity from one view of each image.
    """

    alone: float


@dataclass(frozen=True)
class ToolboxInputs:
    """What the toolbox works with.

    Attributes:
        images: uint8 (N, H, W, C), in the order in which a budget is spent on them.
        answers: float32 (N, K), the black box's.
        test_images: uint8 (M, H, W, C).
        test_answers: float32 (M, K), the black box's.
        test_labels: int64 (M,), the true classes.
        epochs: int64 (), epochs per training.
        batch: int64 (), images per step.
    """

    images: NDArray[np.uint8]
    answers: NDArray[np.float32]
    test_images: NDArray[np.uint8]
    test_answers: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    epochs: NDArray[np.int64]
    batch: NDArray[np.int64]


def main() -> None:
    """Print the table; or, in the toolbox's environment, train its copies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished run (default: run the demo)")
    parser.add_argument(
        "--venv", type=Path, default=BUILD / "art-venv", help="the toolbox's environment"
    )
    parser.add_argument("--epochs", type=int, default=30, help="the toolbox's epochs")
    parser.add_argument("--batch", type=int, default=32, help="the toolbox's batch size")
    parser.add_argument("--json", type=Path, help="write the figures of every copy to this file")
    parser.add_argument("--inner", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.inner:
        _toolbox_copies(given.inner)
    else:
        _compare(given)


def _compare(given: argparse.Namespace) -> None:
    run = given.run or _demo()
    ours = [_own_copy(run, record) for record in _own_records(_result(run))]
    if not ours:
        sys.exit(f"{run}: no copy by auto of {', '.join(STUDENTS)} from probabilities or labels")
    inputs = _toolbox_inputs(run, given.epochs, given.batch)
    python = _toolbox_python(given.venv)
    with tempfile.TemporaryDirectory() as name:
        versions, theirs = _ask_toolbox(python, inputs, [copy.wanted for copy in ours], Path(name))
    if [copy.parameters for copy in theirs] != [copy.parameters for copy in ours]:
        sys.exit("the toolbox trained other networks than Papagaio's")
    conditions = (
        f"Fidelity on {len(inputs.test_images)} test images, mean (least..most) of seeds "
        f"{', '.join(map(str, sorted({copy.wanted.seed for copy in ours})))}. {_own_conditions()} "
        f"Toolbox, {given.epochs} epochs in batches of {given.batch}: {versions}."
    )
    print(f"{_table(theirs, ours)}\n\n{conditions}")
    if given.json:
        _write_figures(given.json, conditions, theirs, ours)


def _write_figures(
    path: Path, conditions: str, theirs: Sequence[Copy], ours: Sequence[OwnCopy]
) -> None:
    copies = {"toolbox": [asdict(copy) for copy in theirs], "papagaio": [asdict(c) for c in ours]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"conditions": conditions, **copies}, indent=1) + "\n")


def _table(theirs: Sequence[Copy], ours: Sequence[OwnCopy]) -> str:
    lines = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2))]
    for key in dict.fromkeys(_row_of(copy) for copy in ours):
        toolbox = [copy for copy in theirs if _row_of(copy) == key]
        papagaio = [copy for copy in ours if _row_of(copy) == key]
        scores = [c.fidelity for c in toolbox], [c.fidelity for c in papagaio]
        lines.append(
            (
                *key,
                *map(_spread, scores),
                f"{np.mean(scores[1]) - np.mean(scores[0]):+.3f}",
                f"{np.mean([c.alone for c in papagaio]):.3f}",
                *(f"{np.mean([c.seconds for c in copies]):.1f}" for copies in (toolbox, papagaio)),
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row_of(copy: Copy) -> tuple[str, str, str]:
    wanted = copy.wanted
    return wanted.response, wanted.student, f"{wanted.budget:,}"


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}..{max(values):.3f})"


def _own_conditions() -> str:
    from papagaio import __version__
    from papagaio.hardware import cores, processor

    return f"{processor()}, {cores()} cores. Papagaio {__version__}: {_versions('torch', 'numpy')}."


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
    return ToolboxInputs(
        images=_stored(run, "transfer-images"),
        answers=_stored(run, "transfer-queried-answers"),
        test_images=_stored(run, "test-images"),
        test_answers=_stored(run, "test-queried-answers"),
        test_labels=_stored(run, "test-labels"),
        epochs=np.array(epochs),
        batch=np.array(batch),
    )


def _stored(run: Path, name: str) -> NDArray[Any]:
    return np.asarray(np.load(run / "inputs" / f"{name}.npy"))


def _own_records(result: "Result") -> "Iterator[CellRecord]":
    """The run's copies by default recipes, from answers that the toolbox can learn from."""
    from papagaio.training.recipes import AUTO

    for record in result.cells:
        by_default = (record.kind, record.recipe, record.initial) == ("copy", AUTO, "random")
        learnable = record.response in ("probabilities", "label")
        if by_default and learnable and record.student in STUDENTS:
            yield record


def _own_copy(run: Path, record: "CellRecord") -> OwnCopy:
    if record.scores.fidelity is None or record.scores.accuracy is None:
        sys.exit(f"{record.id}: no scores")
    return OwnCopy(
        wanted=Wanted(record.response, record.budget, record.student, record.seed),
        parameters=record.parameters,
        fidelity=record.scores.fidelity.value,
        accuracy=record.scores.accuracy.value,
        seconds=record.seconds,
        alone=_fidelity_from_one_view(run, record),
    )


def _fidelity_from_one_view(run: Path, record: "CellRecord") -> float:
    """The fidelity of a finished copy, without further views of each image."""
    from papagaio.networks.named import build_student
    from papagaio.training.inference import predict
    from papagaio.training.machine import Machine
    from papagaio.weights import load_weights

    test, answers = _stored(run, "test-images"), _stored(run, "test-queried-answers")
    student = build_student(record.student, "random", test, answers.shape[1], seed=0)
    student.load_state_dict(load_weights(run / "cells" / record.id / "student.safetensors"))
    return _agreement(predict(student, test, Machine(threads=1)), answers.argmax(1))


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


def _ask_toolbox(
    python: Path, inputs: ToolboxInputs, wanted: Sequence[Wanted], folder: Path
) -> tuple[str, list[Copy]]:
    """The toolbox's versions and copies."""
    file = folder / "inputs.npz"
    np.savez(file, **vars(inputs))
    file.with_suffix(".json").write_text(json.dumps([asdict(one) for one in wanted]))
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
    copies = output["copies"]
    return output["versions"], [Copy(**c | {"wanted": Wanted(**c["wanted"])}) for c in copies]


def _toolbox_copies(file: Path) -> None:
    with np.load(file) as arrays:
        inputs = ToolboxInputs(**arrays)
    wanted = [Wanted(**one) for one in json.loads(file.with_suffix(".json").read_bytes())]
    least = min(wanted, key=lambda one: one.budget)
    _toolbox_copy(replace(inputs, epochs=np.array(1)), least)  # pays for imports and set-up
    copies = [asdict(_toolbox_copy(inputs, one)) for one in wanted]
    versions = _versions(TOOLBOX, "torch", "numpy")
    file.with_suffix(".json").write_text(json.dumps({"versions": versions, "copies": copies}))


def _toolbox_copy(inputs: ToolboxInputs, wanted: Wanted) -> Copy:
    # Not installed where types are checked.
    from art.attacks.extraction import KnockoffNets  # type: ignore[import-not-found]
    from art.estimators.classification import (  # type: ignore[import-not-found]
        BlackBoxClassifier,
        PyTorchClassifier,
    )

    torch.manual_seed(wanted.seed)
    np.random.seed(wanted.seed)  # noqa: NPY002  # the toolbox draws from it
    start = time.monotonic()
    images, classes = inputs.images[: wanted.budget], inputs.answers.shape[1]
    network = Classifier(STUDENTS[wanted.student](images, classes), channel_statistics(images))
    shape = _as_floats(images).shape[1:]
    box = _StoredAnswers(_as_floats(images), inputs.answers[: wanted.budget])
    attack = KnockoffNets(
        BlackBoxClassifier(box, shape, classes),
        batch_size_fit=int(inputs.batch),
        nb_epochs=int(inputs.epochs),
        nb_stolen=wanted.budget,
        sampling_strategy="random",
        use_probability=wanted.response == "probabilities",
        verbose=False,
    )
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    thief = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(),
        shape,
        classes,
        optimizer=torch.optim.Adam(trained, lr=1e-3),
        device_type="cpu",
    )
    copy = attack.extract(_as_floats(images), thieved_classifier=thief)
    box.check_asked_once()
    scores = copy.predict(_as_floats(inputs.test_images))
    return Copy(
        wanted,
        parameters=sum(weights.numel() for weights in network.parameters()),
        fidelity=_agreement(scores, inputs.test_answers.argmax(1)),
        accuracy=_agreement(scores, inputs.test_labels),
        seconds=time.monotonic() - start,
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
