"""The teacher: trained in the thesis's two phases, or a stand-in; its answers and its figures."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio import files
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import BadSettings
from papagaio.images.imageset import ImageSet, digest_of_set
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import Architecture, build_headed
from papagaio.networks.initial import fitting_weights
from papagaio.progress import Progress, no_progress
from papagaio.responses import centred_log
from papagaio.teaching.box import network_box
from papagaio.teaching.folder import save_taught
from papagaio.teaching.phases import Phase, teach
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.vocabulary import Part
from papagaio.weights import digest_weights, load_weights
from papagaio_thesis.initial import initial_weights, initial_words
from papagaio_thesis.measuring import measurement
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.records import Measurement, TeacherRecord
from papagaio_thesis.settings import ReproduceSettings

__all__ = ["CLASSES", "SHAPE", "Teacher", "load_stand_in", "prepare_teacher", "teacher_phases"]

CLASSES, SHAPE = 10, (32, 32, 3)
_NAME = "VGG16 by the thesis's two phases"


@dataclass(frozen=True)
class Teacher:
    """The teacher.

    Attributes:
        box: the teacher as a black box.
        record: its figures.
        own_answers: float32 (N, K), to the images it was trained on.
        labels: int64 (N,) by part of CIFAR-10: the classes it names in the evaluated images.
    """

    box: FunctionBox
    record: TeacherRecord
    own_answers: NDArray[np.float32]
    labels: Mapping[Part, NDArray[np.int64]]


def teacher_phases(options: StudyOptions) -> tuple[Phase, Phase]:
    """Return section 4.3's phases: transfer learning, then fine-tuning of the last layers."""
    teacher = options.teacher
    dense = len(options.head.widths) + 1
    first = Recipe(
        "teacher, phase 1",
        rate=teacher.first_rate,
        batch=teacher.batch,
        epochs=teacher.first_epochs,
        variants=Variants(teacher.flip, teacher.brightness, teacher.brighten),
    )
    second = replace(
        first, name="teacher, phase 2", rate=teacher.second_rate, epochs=teacher.second_epochs
    )
    return Phase(first, dense), Phase(second, dense + teacher.unfrozen)


def prepare_teacher(
    settings: ReproduceSettings,
    options: StudyOptions,
    sets: Mapping[Part, ImageSet],
    machine: Machine,
    progress: Progress = no_progress,
) -> Teacher:
    """Train the teacher, or load it, and measure it on both parts of CIFAR-10.

    Args:
        settings: where weights are, and the run directory.
        options: the options of the study.
        sets: both parts of CIFAR-10.
        machine: where it is trained.
        progress: told how far it is.

    Raises:
        BadSettings: the weights cannot be loaded, or do not fit.
        Diverged: the loss stopped being finite.
        NoSpace: the disk is full.
    """
    if settings.stand_in is None:
        network = _trained(settings, options, sets["train"], machine, progress)
    else:
        network = load_stand_in(options.architecture(), settings.stand_in)
    weights = digest_weights(network.state_dict())
    # The same weights with other normalisation or another image size are another teacher.
    identity = f"{weights}+{options.architecture()}"
    # Whatever precision students are trained in, the black box answers in full precision.
    exact = replace(machine, precision="float32")
    evaluated, owned = options.images.evaluated, options.images.owned
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    folder = settings.out / "inputs" / f"logits-{digest}"
    train_logits = _logits(network, sets["train"], max(evaluated, owned), exact, folder, progress)
    test_logits = _logits(network, sets["test"], evaluated, exact, folder, progress)
    logits: dict[Part, NDArray[np.float32]] = {
        "train": train_logits[:evaluated],
        "test": test_logits,
    }
    contract = Contract(*SHAPE, CLASSES, batch=500, class_names=sets["train"].classes)
    return Teacher(
        box=network_box("teacher", network, contract, exact, identity),
        record=TeacherRecord(
            name=settings.stand_in.stem if settings.stand_in else _NAME,
            stand_in=settings.stand_in is not None,
            parameters=sum(p.numel() for p in network.parameters()),
            start="" if settings.stand_in else initial_words(_initial(settings, options)),
            identity=weights,
            measurements=_measurements(logits, sets, options.teacher.epochs),
            temperature_errors={
                temperature: _temperature_error(test_logits, temperature)
                for temperature in options.studies.temperatures
            },
        ),
        own_answers=np.asarray(softmax(train_logits[:owned], axis=1), np.float32),
        labels={part: each.argmax(1) for part, each in logits.items()},
    )


def load_stand_in(architecture: Architecture, path: Path) -> Classifier:
    """Load a trained teacher in place of the thesis's own.

    Raises:
        BadSettings: the file cannot be read, or is not the whole teacher.
    """
    network = build_headed(architecture, str(path), SHAPE, CLASSES, seed=0)
    fitting = fitting_weights(network.network, load_weights(path))
    missing = network.network.state_dict().keys() - fitting.keys()
    if missing:
        raise BadSettings(
            f"{min(missing)} is missing or has another shape ({len(missing)} tensors in all); a "
            "stand-in is the whole teacher, with the dense layers that the options describe",
            field="stand_in",
            value=path,
        )
    return network


def _trained(
    settings: ReproduceSettings,
    options: StudyOptions,
    own: ImageSet,
    machine: Machine,
    progress: Progress,
) -> Classifier:
    """The thesis's own teacher, trained in two phases; also a black box for `papagaio audit`."""
    architecture, folder = options.architecture(), settings.out / "teacher"
    features = folder / "features"
    network = build_headed(architecture, _initial(settings, options), SHAPE, CLASSES, seed=0)
    teach(
        network,
        own.pixels[: options.images.owned],
        own.required_labels[: options.images.owned],
        teacher_phases(options),
        seed=0,
        machine=machine,
        folder=folder,
        features=features,
        progress=progress,
    )
    save_taught(folder, network, architecture, SHAPE, own.classes)
    shutil.rmtree(features, ignore_errors=True)
    return network


def _initial(settings: ReproduceSettings, options: StudyOptions) -> str:
    body = options.architecture().body
    return initial_weights(body, options.teacher.weights, settings.weights_dir)


def _logits(
    network: Classifier,
    images: ImageSet,
    size: int,
    machine: Machine,
    folder: Path,
    progress: Progress,
) -> NDArray[np.float32]:
    """The logits of the first images of a set, float32 (N, K); computed once."""
    size = min(size, len(images))
    path = folder / f"{digest_of_set(images.digests[:size])[:16]}.npy"
    if not path.exists():
        logits = infer(network, images.pixels[:size], machine, progress=progress)
        files.write_array(path, logits)
    return np.asarray(np.load(path))


def _measurements(
    logits: Mapping[Part, NDArray[np.float32]], sets: Mapping[Part, ImageSet], epoch: int
) -> list[Measurement]:
    return [
        measurement(each, sets[part].required_labels, each.argmax(1), part, epoch)
        for part, each in logits.items()
    ]


def _temperature_error(logits: NDArray[np.float32], temperature: float) -> float:
    """The largest difference between answers at T from stored probabilities and from logits."""
    stored = np.asarray(softmax(logits, axis=1), np.float32)
    recovered = softmax(centred_log(stored) / temperature, axis=1)
    exact = softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(np.abs(recovered - exact).max())
