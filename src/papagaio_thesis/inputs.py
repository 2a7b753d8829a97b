"""What the trials read: both CIFARs, the weights at the start, the teacher and its answers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio import files
from papagaio.asking import ask
from papagaio.blackboxes.contract import Contract
from papagaio.errors import BadSettings
from papagaio.images.imageset import ImageSet, digest_of_set
from papagaio.images.named import open_source
from papagaio.images.source import load
from papagaio.ledger import Ledger
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import build_headed
from papagaio.networks.initial import fitting_weights
from papagaio.progress import Progress
from papagaio.responses import centred_log
from papagaio.teaching import Phase, save_taught, taught_box, teach
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import digest_weights, load_weights
from papagaio_thesis.options import Options
from papagaio_thesis.records import TeacherRecord
from papagaio_thesis.superclasses import group_rows
from papagaio_thesis.trials import Material, Part, measured

__all__ = ["BODIES", "IMAGE_SETS", "Inputs", "Weights", "prepare", "teacher_phases"]

# The thesis's two architectures, by their names in the tables.
BODIES = {"VGG16": "torchvision/vgg16", "MobileNetV2": "torchvision/mobilenet_v2"}
# Of the teacher and of the attacker.
IMAGE_SETS = ("cifar10:train", "cifar10:test", "cifar100:train", "cifar100:test")
_CLASSES, _SHAPE = 10, (32, 32, 3)


@dataclass(frozen=True)
class Weights:
    """Where ImageNet weights lie, and the teacher that stands in where there are none for it.

    Attributes:
        folder: holds `vgg16_imagenet.safetensors` and `mobilenet_v2_imagenet.safetensors` with
            torchvision's names; None downloads them.
        stand_in: a safetensors file with the whole teacher; None teaches the thesis's own.
    """

    folder: Path | None = None
    stand_in: Path | None = None

    def of(self, body: str, initial: str) -> str:
        """What `headed.build_headed` starts an architecture from.

        Raises:
            BadSettings: the file that is needed is not there.
        """
        if initial == "random" or self.folder is None:
            return "random" if initial == "random" else "library"
        path = self.folder / f"{body.rpartition('/')[2]}_imagenet.safetensors"
        if not path.is_file():
            raise BadSettings(
                f"{path}: not there; put the ImageNet weights of {body} there, leave out "
                "--weights-dir to download them, or give --stand-in FILE and an --options file "
                f"in which its student starts at random"
            )
        return str(path)


@dataclass(frozen=True)
class Inputs:
    """What trials read, frozen in files; `groups` are those of `superclasses`, by name."""

    teacher: TeacherRecord
    large: Material
    small: Material
    own: Material
    parts: tuple[Part, ...]
    groups: dict[str, Material]


def teacher_phases(options: Options) -> tuple[Phase, Phase]:
    """Section 4.3: transfer learning with frozen convolutions, then fine tuning."""
    given = options.teacher
    variants = Variants(given.flip, given.brightness, given.brighten)
    dense = len(options.head.widths) + 1
    first = Recipe(
        "teacher, phase 1",
        rate=given.first_rate,
        batch=given.batch,
        epochs=given.first_epochs,
        variants=variants,
    )
    second = replace(
        first, name="teacher, phase 2", rate=given.second_rate, epochs=given.second_epochs
    )
    return Phase(first, dense), Phase(second, dense + given.unfrozen)


def prepare(
    options: Options,
    weights: Weights,
    data_dir: Path | None,
    machine: Machine,
    out: Path,
    progress: Progress,
) -> Inputs:
    """Read the images, teach the teacher or load its stand-in, and have its answers.

    Raises:
        BadImages, BadSettings, NoSpace: see their texts.
    """
    folder = out / "inputs"
    sets = {name: _read(name, data_dir, folder) for name in IMAGE_SETS}
    own, test = sets["cifar10:train"], sets["cifar10:test"]
    student = _teacher(options, weights, own, machine, out / "teacher", progress)
    contract = Contract(*_SHAPE, classes=_CLASSES, batch=500, class_names=own.classes)
    # Whatever students train in, the black box answers in full precision.
    exact = replace(machine, precision="float32")
    # The same weights behind another size of images are another teacher.
    identity = f"{digest_weights(student.state_dict())}+{options.design}"
    box = taught_box("teacher", student, contract, exact, identity)
    evaluated, owned = options.images.evaluated, options.images.owned
    kept = folder / f"logits-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    train_logits = _logits(student, own, max(evaluated, owned), exact, kept)
    test_logits = _logits(student, test, evaluated, exact, kept)
    with Ledger(out / "ledger.sqlite") as ledger:
        materials = {
            name: _material(name, images, rows, ask(box, images, rows, ledger, progress), folder)
            for name, (images, rows) in _chosen(options, sets).items()
        }
    # The teacher's own data are not the attacker's: no query is spent on them.
    answers = np.asarray(softmax(train_logits[:owned], axis=1), np.float32)
    logits = {"train": train_logits[:evaluated], "test": test_logits}
    return Inputs(
        teacher=_described(options, weights, student, logits, sets),
        large=materials.pop("large"),
        small=materials.pop("small"),
        own=_material("own", own, np.arange(len(answers)), answers, folder),
        groups=materials,
        parts=tuple(
            _part(part, sets[f"cifar10:{part}"], found, folder) for part, found in logits.items()
        ),
    )


def _logits(
    student: Classifier, images: ImageSet, size: int, machine: Machine, folder: Path
) -> NDArray[np.float32]:
    """The teacher's logits of the first images of a set, worked out once."""
    size = min(size, len(images))
    path = folder / f"{digest_of_set(images.digests[:size])[:16]}.npy"
    if not path.exists():
        files.write_array(path, infer(student, images.pixels[:size], machine))
    return np.asarray(np.load(path))


def _chosen(
    options: Options, sets: Mapping[str, ImageSet]
) -> dict[str, tuple[ImageSet, NDArray[np.int64]]]:
    """Which images of which set the teacher is asked about, by material."""
    train, test = sets["cifar100:train"], sets["cifar100:test"]
    large, small = (
        np.arange(min(size, len(images)))
        for size, images in ((options.images.large, train), (options.images.small, test))
    )
    groups = group_rows(train.truth, options.studies.superclass_images)
    chosen = {"large": (train, large), "small": (test, small)}
    return chosen | {group: (train, rows) for group, rows in groups.items()}


def _described(
    options: Options,
    weights: Weights,
    student: Classifier,
    logits: Mapping[str, NDArray[np.float32]],
    sets: Mapping[str, ImageSet],
) -> TeacherRecord:
    """The teacher, from its logits on both parts of CIFAR-10."""
    epochs = options.teacher.first_epochs + options.teacher.second_epochs
    return TeacherRecord(
        name=weights.stand_in.stem if weights.stand_in else "VGG16 by the thesis's two phases",
        stand_in=weights.stand_in is not None,
        parameters=sum(p.numel() for p in student.parameters()),
        identity=digest_weights(student.state_dict()),
        measured=[
            measured(found, sets[f"cifar10:{part}"].truth, found.argmax(1), part, epochs)
            for part, found in logits.items()
        ],
        temperature_errors={
            temperature: _temperature_error(logits["test"], temperature)
            for temperature in options.studies.temperatures
        },
    )


def _read(name: str, data_dir: Path | None, folder: Path) -> ImageSet:
    path = folder / f"{name.replace(':', '-')}.npy"
    return load(open_source(name, data_dir=data_dir), path, _SHAPE)


def _teacher(
    options: Options,
    weights: Weights,
    own: ImageSet,
    machine: Machine,
    out: Path,
    progress: Progress,
) -> Classifier:
    """The teacher: its stand-in, or taught in two phases."""
    design = options.design
    if weights.stand_in is not None:
        student = build_headed(design, str(weights.stand_in), _SHAPE, _CLASSES, seed=0)
        fitting = fitting_weights(student.network, load_weights(weights.stand_in))
        missing = student.network.state_dict().keys() - fitting.keys()
        if missing:
            raise BadSettings(
                f"{weights.stand_in}: {min(missing)} is missing or of another shape "
                f"({len(missing)} in all); a stand-in is the whole teacher, dense layers included, "
                "as the options have it"
            )
        return student
    initial = weights.of(design.body, options.teacher.weights)
    student = build_headed(design, initial, _SHAPE, _CLASSES, seed=0)
    pixels, truth = own.pixels[: options.images.owned], own.truth[: options.images.owned]
    phases = teacher_phases(options)
    teach(student, pixels, truth, phases, seed=0, machine=machine, folder=out, progress=progress)
    save_taught(out, student, design, _SHAPE, own.classes)
    return student


def _temperature_error(logits: NDArray[np.float32], temperature: float) -> float:
    """How far the answer at a temperature, from stored probabilities, lies from the true one."""
    stored = np.asarray(softmax(logits, axis=1), np.float32)
    recovered = softmax(centred_log(stored) / temperature, axis=1)
    exact = softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(np.abs(recovered - exact).max())


def _material(
    name: str,
    images: ImageSet,
    rows: NDArray[np.int64],
    answers: NDArray[np.float32],
    folder: Path,
) -> Material:
    """Some images of a set, and the answers to them (float32, as many x K)."""
    words = name.replace(",", "").replace(" ", "-")
    images_path, answers_path, truth_path = paths = [
        folder / f"{words}-{what}.npy" for what in ("images", "answers", "truth")
    ]
    _save_all(paths, (images.pixels[rows], answers, images.truth[rows]))
    digest = hashlib.sha256(images.digests[rows].tobytes() + answers.tobytes()).hexdigest()
    return Material(name, images_path, answers_path, truth_path, len(rows), digest)


def _part(name: str, images: ImageSet, logits: NDArray[np.float32], folder: Path) -> Part:
    images_path, labels_path, named_path = paths = [
        folder / f"part-{name}-{what}.npy" for what in ("images", "labels", "named")
    ]
    size = len(logits)
    _save_all(paths, (images.pixels[:size], images.truth[:size], logits.argmax(1)))
    return Part(name, images_path, labels_path, named_path, size)


def _save_all(paths: Sequence[Path], arrays: Sequence[NDArray[Any]]) -> None:
    for path, array in zip(paths, arrays, strict=True):
        files.write_array(path, array)
