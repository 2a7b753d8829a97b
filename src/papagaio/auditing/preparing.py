"""Resolving what settings leave open (students, attacks, machine), and making the plan."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from papagaio.asking import check_shape
from papagaio.auditing.plan import AttackConfig, AuditImages, Plan, attack_configs, make_plan
from papagaio.blackboxes.contract import BlackBox, Contract
from papagaio.errors import BadImages, BadSettings
from papagaio.hardware import cores
from papagaio.images.imageset import ImageSet, check_labels
from papagaio.networks.named import build_student, check_student, default_student
from papagaio.options import read_toml, validated
from papagaio.progress import Message, Progress
from papagaio.result import read_result
from papagaio.settings import AuditOptions
from papagaio.training.machine import Machine, choose_device
from papagaio.training.precision import settled_precision
from papagaio.weights import digest_weights, load_weights

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """An audit with nothing left to choose.

    Attributes:
        options: the resolved options.
        plan: what is queried and trained.
        machine: where copies are trained.
        precision_reason: the reason for its precision.
        initial_digest: the digest of the file of initial weights, if there is one.
    """

    options: AuditOptions
    plan: Plan
    machine: Machine
    precision_reason: str
    initial_digest: str | None


def prepare(
    box: BlackBox,
    images: AuditImages,
    options: AuditOptions,
    attacks: Sequence[AttackConfig] | None,
    progress: Progress,
) -> Prepared:
    """Check everything that can be checked before the first query, and plan the audit.

    What an earlier session of the run chose is kept: another precision or number of threads would
    change the result.

    Args:
        box: the black box.
        images: image sets of the shape that it takes.
        options: the options as given, in which choices may be open.
        attacks: how copies are made; None takes what the options say.
        progress: told what was chosen.

    Raises:
        BadImages: a set does not fit the contract.
        BadSettings: a response, recipe, student or device cannot be used.
    """
    _check_images(images, box)
    _check_place(options, images, box)
    attacks = attacks or attack_configs(options, box.contract)
    students = options.students or (default_student(box.contract.shape),)
    _check_students(options, students, box)
    plan = make_plan(options, images, attacks, students, progress)
    earlier = _earlier(options)
    device, why = _chosen_device(options, earlier)
    progress(Message(f"device {device}: {why}"))
    threads = options.threads or earlier.threads or max(1, cores() // options.workers)
    machine = Machine(device, threads=threads)
    machine, reason = _with_precision(machine, options, earlier, students[0], box.contract.shape)
    progress(Message(f"precision {machine.precision}: {reason}"))
    resolved = {
        "device": device,
        "precision": machine.precision,
        "threads": threads,
        "students": tuple(students),
        "responses": options.responses or (box.contract.response,),
    }
    return Prepared(
        options=options.model_copy(update=resolved),
        plan=plan,
        machine=machine,
        precision_reason=reason,
        initial_digest=_digest_of(Path(options.initial)),
    )


def _digest_of(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _check_images(images: AuditImages, box: BlackBox) -> None:
    for each in (images.transfer, images.test, images.own, images.pool):
        if each is None:
            continue
        if not len(each):
            raise BadImages(f"{each.name}: it has no images")
        check_shape(box, each)
        if each is images.test or each is images.own:
            check_classes(each, box.contract)
    _check_own_classes(images)


def _check_place(options: AuditOptions, images: AuditImages, box: BlackBox) -> None:
    """Refuse a folder with the result of an audit of other names, which would be lost."""
    try:
        earlier = read_result(options.out / "result.json")
    except BadSettings:  # there is none, or it is of another version
        return
    was, now = (
        "estimate" if "sample" in names else "audit"
        for names in (earlier.settings, type(options).model_fields)
    )
    same_box = earlier.black_box.name == box.name or earlier.black_box.identity == box.identity
    sets = earlier.transfer.name, earlier.test.name
    if not same_box or (was, *sets) != (now, images.transfer.name, images.test.name):
        kept = options.ledger_path
        raise BadSettings(
            f"it holds the {was} of {earlier.black_box.name} about {earlier.transfer.name}, "
            f"tested on {earlier.test.name}; name another folder"
            + (f", and the ledger {kept} to use the answers in it" if kept.exists() else ""),
            field="out",
            value=str(options.out),
        )


def check_classes(images: ImageSet, contract: Contract) -> None:
    """Refuse labelled images whose classes are not the black box's.

    Raises:
        BadImages: labels are missing or out of range, class names differ, or class folders are
            missing.
    """
    check_labels(images, contract.classes, field="classes")
    if contract.class_names and images.classes and images.classes != contract.class_names:
        raise BadImages(
            f"{images.name}: its classes are {', '.join(images.classes)}, those of the black box "
            f"are {', '.join(contract.class_names)}; both need the same, in the same order"
        )
    # Numbered by the order of their names, classes are only right if none is missing.
    if images.classes and images.notes.class_order == "name":
        found = len(images.classes)
        if found != contract.classes:
            raise BadImages(
                f"{images.name} has {found} class folders, and the black box {contract.classes} "
                "classes; add the missing folders, name folders by class numbers, or list all "
                "class names in a file (see the option classes_from)"
            )


def _check_own_classes(images: AuditImages) -> None:
    """Refuse own images with other classes than the test set: the ceilings would learn others."""
    own, test = images.own, images.test
    if own is None or not own.classes or not test.classes:
        return
    # Folders named by class numbers state the order themselves, and may leave out the last ones.
    if "number" in (own.notes.class_order, test.notes.class_order):
        return
    if own.classes != test.classes:
        raise BadImages(
            f"its classes are {', '.join(own.classes)}, those of the test set are "
            f"{', '.join(test.classes)}; both need the same, in the same order",
            field="own_data",
            value=own.name,
        )


def _chosen_device(options: AuditOptions, earlier: AuditOptions) -> tuple[str, str]:
    """The device of the options or of an earlier session, and the reason in words."""
    if options.device != "auto" or earlier.device == "auto":
        return choose_device(options.device)
    device, _ = choose_device(earlier.device)
    return device, "chosen when the run began"


def _with_precision(
    machine: Machine,
    options: AuditOptions,
    earlier: AuditOptions,
    student: str,
    shape: tuple[int, int, int],
) -> tuple[Machine, str]:
    """The machine in the precision of the options, of an earlier session, or the faster one."""
    if options.precision != "auto":
        return replace(machine, precision=options.precision), "as given"
    # Measured on another device, it would say nothing about this one.
    if earlier.precision != "auto" and earlier.device == machine.device:
        return replace(machine, precision=earlier.precision), "chosen when the run began"
    blank = np.zeros((2, *shape), np.uint8)
    build = partial(build_student, student, "random", blank, 10, seed=0)
    return settled_precision(student, build, shape, machine)


def _earlier(options: AuditOptions) -> AuditOptions:
    """The resolved options of an earlier session of this run, or these."""
    config = options.out / "config.toml"
    if not config.exists():
        return options
    return validated(type(options), read_toml(config), lambda name: f"{config}: {name}")


def _check_students(options: AuditOptions, students: Sequence[str], box: BlackBox) -> None:
    for name in students:
        check_student(name, options.initial, box.contract.shape, box.contract.classes)
    if options.initial in ("random", "library"):
        return
    # An identity from weights begins with their digest, whatever code belongs to them.
    if box.identity.startswith(digest_weights(load_weights(Path(options.initial)))):
        raise BadSettings(
            "these are the black box's own weights; a student that is the black box measures "
            "nothing",
            field="initial",
            value=options.initial,
        )
