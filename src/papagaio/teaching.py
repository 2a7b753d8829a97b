"""Teaching a black box of one's own: phases of training, and the folder that they leave."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from papagaio import files
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.errors import BadImages, BadSettings
from papagaio.images.imageset import ImageSet, check_labels
from papagaio.images.named import open_source
from papagaio.images.source import Part, load
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import freeze
from papagaio.networks.headed import Architecture, build_headed
from papagaio.progress import Progress, no_progress, remark
from papagaio.responses import Answers
from papagaio.scores import Score, accuracy
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine, choose_device, cores
from papagaio.training.precision import settled_precision
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import digest_weights, load_weights, save_weights

__all__ = [
    "Lecture",
    "Phase",
    "open_taught",
    "phases_from",
    "save_taught",
    "taught_box",
    "teach",
    "teach_from",
]

_WEIGHTS, _DESCRIPTION = "weights.safetensors", "black-box.json"


@dataclass(frozen=True)
class Phase:
    """A part of a training: how, and how many of the last layers learn (None lets all)."""

    recipe: Recipe
    trained: int | None = None


def teach(  # noqa: PLR0913  # as training
    student: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    phases: Sequence[Phase],
    *,
    seed: int,
    machine: Machine,
    folder: Path,
    progress: Progress = no_progress,
) -> None:
    """Teach a network true classes, phase after phase, in place.

    Frozen layers in front of the first that learns are computed once a phase, where what they make
    of all images stays below 6 GB. An interrupted teaching goes on: each phase leaves its weights
    in `folder`, under a name that another start, seed, phase or set of images does not have.

    Args:
        student: the network, with its initial weights.
        images: uint8 (N, H, W, C).
        labels: int64 (N,).
        phases: in order.
        seed: of the order of images and of augmentation.
        machine: where.
        folder: where it keeps itself.
        progress: told after every epoch.

    Raises:
        BadSettings: a phase is to train more layers than there are.
        Diverged: the loss stopped being finite.
    """
    # A phase that cannot be is found before the first begins.
    for phase in phases:
        freeze(student, phase.trained)
    answers = Answers.of(np.eye(_classes_of(student), dtype=np.float32)[labels])
    student.to(machine.use())
    known = hashlib.sha256(digest_weights(student.state_dict()).encode())
    for array in (images, labels):
        known.update(np.ascontiguousarray(array).data)
    # Another number of threads changes last digits; hours of teaching are worth more.
    known.update(repr((seed, machine.device, machine.precision)).encode())
    for number, phase in enumerate(phases, 1):
        known.update(repr(phase).encode())
        kept = folder / f"phase-{number}-{known.hexdigest()[:8]}.safetensors"
        if kept.exists():
            student.load_state_dict(load_weights(kept))
            continue
        freeze(student, phase.trained)
        checkpoint = kept.with_suffix(".checkpoint")
        train(
            student,
            images,
            answers,
            phase.recipe,
            seed=seed + number,
            machine=machine,
            checkpoints=Checkpoints(checkpoint),
            progress=progress,
        )
        save_weights(kept, student)
        checkpoint.unlink(missing_ok=True)
        files.sweep(folder)


def phases_from(written: Sequence[str], batch: int, variants: Variants) -> tuple[Phase, ...]:
    """Phases as a person writes them: `EPOCHS,RATE,LAYERS`, with a number of layers or `all`.

    Raises:
        BadSettings: one cannot be read.
    """
    found = []
    for number, words in enumerate(written, 1):
        try:
            epochs, rate, layers = words.split(",")
            recipe = Recipe(
                f"phase {number}",
                rate=float(rate),
                epochs=int(epochs),
                batch=batch,
                variants=variants,
            )
            phase = Phase(recipe, None if layers == "all" else int(layers))
        except ValueError as error:
            raise BadSettings(
                f"--phase {words}: write EPOCHS,RATE,LAYERS, as 10,1e-3,2 or 20,1e-3,all"
            ) from error
        if recipe.epochs < 1 or not 0 < recipe.rate < 1:
            raise BadSettings(f"--phase {words}: at least one epoch, and a rate between 0 and 1")
        found.append(phase)
    return tuple(found)


@dataclass(frozen=True)
class Lecture:
    """All that `teach_from` needs: the options of `papagaio teach`."""

    data: str
    test: str | None
    data_dir: Path | None
    design: Architecture
    initial: str
    phases: tuple[Phase, ...]
    seed: int
    device: str
    threads: int | None
    out: Path


def teach_from(lecture: Lecture, progress: Progress = no_progress) -> dict[str, Score]:
    """Teach a network from named images, and leave the black box in its folder.

    Returns:
        its accuracy on what it learned, `train`, and, where there is one, on the test set, `test`.

    Raises:
        BadImages, BadSettings, Busy, NoSpace: see their texts.
        Diverged: the loss stopped being finite.
    """
    out = lecture.out
    with files.locked_run(out, begun="phase-*"):
        images = _read(lecture.data, "train", lecture, None)
        names = images.classes
        classes = len(names) if names else int(images.truth.max()) + 1
        test = _read(lecture.test, "test", lecture, images.shape) if lecture.test else None
        sets = {"train": images} | ({"test": test} if test else {})
        for labelled in sets.values():
            check_labels(labelled, classes)
        if test and names and test.classes and test.classes != names:
            raise BadImages(
                f"{lecture.test}: its classes are {', '.join(test.classes)}, those of "
                f"{lecture.data} are {', '.join(names)}; both need the same, in the same order"
            )
        device, why = choose_device(lecture.device)
        progress(remark(f"device {device}: {why}"))
        student = build_headed(
            lecture.design, lecture.initial, images.shape, classes, seed=lecture.seed
        )
        machine, why = settled_precision(
            lecture.design.body,
            lambda: build_headed(lecture.design, "random", images.shape, classes, seed=0),
            images.shape,
            Machine(device, threads=lecture.threads or cores()),
        )
        progress(remark(f"precision {machine.precision}: {why}"))
        teach(
            student,
            images.pixels,
            images.truth,
            lecture.phases,
            seed=lecture.seed,
            machine=machine,
            folder=out,
            progress=progress,
        )
        save_taught(out, student, lecture.design, images.shape, names)
        return {
            part: accuracy(predict(student, labelled.pixels, machine), labelled.truth)
            for part, labelled in sets.items()
        }


def _read(spec: str, part: Part, lecture: Lecture, shape: tuple[int, int, int] | None) -> ImageSet:
    source = open_source(spec, part=part, data_dir=lecture.data_dir)
    return load(source, lecture.out / f"{part}.npy", shape)


class _Description(BaseModel):
    """`black-box.json`: all that rebuilds the network."""

    model_config = ConfigDict(extra="forbid")

    design: Architecture
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] | None


def save_taught(
    folder: Path,
    student: Classifier,
    design: Architecture,
    shape: tuple[int, int, int],
    class_names: tuple[str, ...] | None,
) -> None:
    """Leave a folder that `open_taught` opens: the weights, and how the network is built."""
    described = _Description(
        design=design, shape=shape, classes=_classes_of(student), class_names=class_names
    )
    save_weights(folder / _WEIGHTS, student)
    files.write(folder / _DESCRIPTION, described.model_dump_json(indent=1))


def open_taught(rest: str, contract: Contract, identity: str | None = None) -> FunctionBox:
    """The black box in a folder that `save_taught` left; `taught=FOLDER` on the command line.

    Args:
        rest: the folder.
        contract: what the caller takes it for.
        identity: a stable name of the model; None takes a digest of its weights.

    Raises:
        BadSettings: there is none, or it takes or gives something else.
    """
    folder = Path(rest)
    try:
        text = (folder / _DESCRIPTION).read_text(encoding="utf-8")
        described = _Description.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise BadSettings(
            f"{folder}: no black box that papagaio taught ({_DESCRIPTION} is missing or broken)"
        ) from error
    if (contract.shape, contract.classes) != (described.shape, described.classes):
        raise BadSettings(
            f"{folder} takes images of {described.shape} and knows {described.classes} classes, "
            f"not {contract.shape} and {contract.classes}; see --input, --classes and --test"
        )
    if contract.class_names and described.class_names not in (None, contract.class_names):
        raise BadSettings(
            f"{folder} knows {', '.join(described.class_names)}, and the test set's classes are "
            f"{', '.join(contract.class_names)}; both need the same, in the same order"
        )
    student = build_headed(described.design, "random", described.shape, described.classes, seed=0)
    try:
        student.load_state_dict(load_weights(folder / _WEIGHTS))
    except RuntimeError as error:
        raise BadSettings(f"{folder / _WEIGHTS} does not fit {_DESCRIPTION}: {error}") from error
    return taught_box(folder.name, student, contract, Machine(threads=cores()), identity)


def taught_box(
    name: str,
    student: Classifier,
    contract: Contract,
    machine: Machine,
    identity: str | None = None,
) -> FunctionBox:
    """A network as a black box."""
    return FunctionBox(
        name=name,
        identity=identity or digest_weights(student.state_dict()),
        contract=contract,
        function=partial(predict, student, machine=machine),
    )


def _classes_of(student: Classifier) -> int:
    """How many logits it gives: as many as its last dense layer has biases."""
    return list(student.network.parameters())[-1].shape[0]
