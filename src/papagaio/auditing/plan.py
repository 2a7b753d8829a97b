"""The plan of an audit: its queries and its trainings, as values without files.

Everything that follows is derived from it: a forecast counts it, querying answers it, and cells are
its trainings with data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from papagaio.blackboxes.contract import Contract
from papagaio.controls import CONTROLS, AnswerSource, Control, Purpose
from papagaio.errors import BadImages, BadSettings
from papagaio.images.choosing import load
from papagaio.images.imageset import ImageSet, as_keys
from papagaio.images.noise import noise
from papagaio.progress import Progress, no_progress
from papagaio.responses import is_derivable
from papagaio.settings import AuditOptions
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import AUTO, auto_recipe, recipe_named
from papagaio.vocabulary import Response

__all__ = ["AttackConfig", "AuditImages", "Plan", "Training", "attack_configs", "make_plan"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class AuditImages:
    """The images of an audit, all of the shape that the black box takes.

    Attributes:
        transfer: images unrelated to the black box's purpose, in the order in which a budget is
            spent on them; their labels are never used.
        test: the owner's labelled images; they are used for scores only.
        own: more of the owner's labelled images of the black box's task, for the ceilings; or None.
        pool: images that nobody asks about, for distilled students; or None.
    """

    transfer: ImageSet
    test: ImageSet
    own: ImageSet | None = None
    pool: ImageSet | None = None


@dataclass(frozen=True)
class AttackConfig:
    """How much of an answer a copier sees, and the recipe by which they train a copy from it."""

    response: Response
    recipe: Recipe


@dataclass(frozen=True)
class Training:
    """One training of the plan, before anything has been queried.

    Attributes:
        kind: `copy`, or a control's kind.
        student, initial: architecture and initial weights.
        attack: response and recipe.
        budget: it learns from this many images, the first of their set.
        seed: the seed of its random numbers.
        images, answers: the set of images that it learns from, and which answers to them.
    """

    kind: str
    student: str
    initial: str
    attack: AttackConfig
    budget: int
    seed: int
    images: Purpose
    answers: AnswerSource


@dataclass(frozen=True)
class Plan:
    """Everything that an audit asks and trains.

    Attributes:
        images: the image sets, by purpose.
        queried: the purposes the black box is asked about, in this order.
        trainings: all trainings, copies first.
        students: the number of students that are distilled from these copies.
    """

    images: Mapping[Purpose, ImageSet]
    queried: tuple[Purpose, ...]
    trainings: tuple[Training, ...]
    students: int = 0


def make_plan(
    options: AuditOptions,
    images: AuditImages,
    attacks: Sequence[AttackConfig],
    students: Sequence[str],
    progress: Progress = no_progress,
) -> Plan:
    """Plan an audit.

    Controls are trained with the first student and attack, at the whole budget (or on all of the
    owner's data, where there is less).

    Args:
        options: budgets, seeds, controls, initial weights.
        images: the image sets of the audit.
        attacks: how copies are made.
        students: the architectures of copies.
        progress: told while noise images are made.

    Raises:
        BadImages: all of the owner's own images are test images.
        BadSettings: the cache folder cannot be written.
        NoSpace: the disk is full.
    """
    wanted = [control for control in CONTROLS if control.name in options.controls]
    controls = [c for c in wanted if c.images != "own" or images.own is not None]
    sets = _image_sets(options, images, controls, progress)
    # A set with repeated images may have fewer than the budget allows.
    budgets = sorted({min(b, len(sets["transfer"])) for b in options.curve}, reverse=True)
    copies = [
        Training("copy", student, options.initial, attack, budget, seed, "transfer", "queried")
        for budget in budgets
        for student in students
        for attack in attacks
        for seed in options.seeds
    ]
    trained = [
        Training(
            kind=control.kind,
            student=students[0],
            initial=options.initial,
            attack=_attack_of(control, options, attacks, images.test.shape),
            budget=len(sets[control.images]),
            seed=seed,
            images=control.images,
            answers=control.answers,
        )
        for control in controls
        for seed in options.seeds
    ]
    asked = [control.images for control in controls if control.answers == "queried"]
    queried = tuple(dict.fromkeys(("test", "transfer", *asked)))
    distilled = len(copies) // len(options.seeds) if options.distil else 0
    return Plan(sets, queried, (*copies, *trained), distilled)


def attack_configs(options: AuditOptions, contract: Contract) -> list[AttackConfig]:
    """Every response with every recipe.

    Raises:
        BadSettings: a recipe is unknown, or a response shows more than the black box does.
    """
    responses = options.responses or (contract.response,)
    for response in responses:
        if not is_derivable(response, contract.response):
            raise BadSettings(
                f"cannot be derived: the black box shows {contract.response} only",
                field="responses",
                value=response,
            )
    return [
        AttackConfig(response, _changed(recipe, options))
        for response in responses
        for recipe in _recipes(response, options, contract)
    ]


def _attack_of(
    control: Control, options: AuditOptions, attacks: Sequence[AttackConfig], shape: Shape
) -> AttackConfig:
    if control.answers != "labels":
        return attacks[0]
    from_labels = AttackConfig("label", _changed(auto_recipe("label", 0.0, shape), options))
    return next((attack for attack in attacks if attack.response == "label"), from_labels)


def _recipes(response: Response, options: AuditOptions, contract: Contract) -> list[Recipe]:
    return [
        auto_recipe(response, contract.resolution, contract.shape)
        if name == AUTO
        else recipe_named(name, contract.shape)
        for name in options.recipes or (AUTO,)
    ]


def _changed(recipe: Recipe, options: AuditOptions) -> Recipe:
    """The recipe with the length and the augmentation of the options, which are not tried."""
    if options.epochs is not None:
        recipe = replace(recipe, epochs_given=options.epochs)
    if options.minutes is not None:
        recipe = replace(recipe, minutes=options.minutes)
    if options.augmentation is not None:
        rounds = [[c for c in changes if "augmentation" not in c] for changes in recipe.rounds]
        kept = tuple(tuple(changes) for changes in rounds if changes)
        recipe = replace(recipe, augmentation=options.augmentation, rounds=kept)
    return recipe


def _image_sets(
    options: AuditOptions, images: AuditImages, controls: Sequence[Control], progress: Progress
) -> dict[Purpose, ImageSet]:
    sets: dict[Purpose, ImageSet] = {
        "test": images.test,
        "transfer": images.transfer.take(np.arange(min(options.budget, len(images.transfer)))),
    }
    purposes = {control.images for control in controls}
    if "noise" in purposes:
        sets["noise"] = load(noise(len(sets["transfer"]), images.test.shape), progress=progress)
    if "own" in purposes and images.own is not None:
        sets["own"] = _without(images.own, images.test, options.budget)
    return sets


def _without(own: ImageSet, test: ImageSet, most: int) -> ImageSet:
    """The owner's own images that are not test images: no training may see those."""
    rows = np.flatnonzero(~np.isin(as_keys(own.digests), as_keys(test.digests)))
    if not len(rows):
        raise BadImages(
            "all its images are test images; name other images", field="own_data", value=own.name
        )
    return own.take(rows[:most])
