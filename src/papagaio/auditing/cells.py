"""Which cells an audit is made of: copies over budgets, and their floors and ceilings."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from papagaio.auditing.inputs import Inputs
from papagaio.result import Kind
from papagaio.settings import Control, Settings
from papagaio.study import Cell, Material
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named
from papagaio.vocabulary import Response

__all__ = ["Lesson", "cells_of", "lessons_of"]

# A response, and the recipe by which a copy is made from it.
Lesson = tuple[Response, Recipe]
Shape = tuple[int, int, int]


def lessons_of(settings: Settings, shape: Shape) -> list[Lesson]:
    """Every response with every recipe; where none is named, with the one that suits it best.

    Args:
        settings: responses, recipes, and what is changed in them.
        shape: height, width and channels of the images.

    Raises:
        BadSettings: a recipe is unknown.
    """
    return [
        (response, _changed(recipe_named(name, shape), settings))
        for response in settings.responses
        for name in settings.recipes or (default_recipe(response),)
    ]


def cells_of(
    settings: Settings, lessons: Sequence[Lesson], students: Sequence[str], inputs: Inputs
) -> list[Cell]:
    """The cells, in the order in which they are worth having: copies, floors, ceilings.

    Floors and ceilings are made with the first student and lesson, at the whole budget (or all of
    the owner's data, where there is less).
    """
    start = _start(settings.initial)
    # Of a set with repeated images there may be fewer than a budget allows.
    budgets = {min(budget, inputs.transfer.size) for budget in settings.curve}
    rows: list[tuple[Kind, str, Lesson, int, Material]] = [
        ("copy", student, lesson, budget, inputs.transfer)
        for budget in sorted(budgets, reverse=True)
        for student in students
        for lesson in lessons
    ]
    rows += [
        (kind, students[0], lesson, material.size, material)
        for kind, material, lesson in _controls(settings, lessons, inputs)
    ]
    return [
        Cell(kind, student, settings.initial, start, recipe, response, budget, seed, material)
        for kind, student, (response, recipe), budget, material in rows
        for seed in settings.seeds
    ]


def _controls(
    settings: Settings, lessons: Sequence[Lesson], inputs: Inputs
) -> list[tuple[Kind, Material, Lesson]]:
    first = lessons[0]
    shape = inputs.shape
    # True labels are labels, whatever the copies are shown.
    from_labels = next(
        (lesson for lesson in lessons if lesson[0] == "label"),
        ("label", _changed(recipe_named(default_recipe("label"), shape), settings)),
    )
    every: dict[Control, tuple[Kind, Material | None, Lesson]] = {
        "shuffled": ("floor:shuffled", inputs.shuffled, first),
        "noise": ("floor:noise", inputs.noise, first),
        "labels": ("ceiling:labels", inputs.labelled, from_labels),
        "own-data": ("ceiling:own-data", inputs.own, first),
    }
    return [
        (kind, material, lesson)
        for control, (kind, material, lesson) in every.items()
        if control in settings.controls and material is not None
    ]


def _start(initial: str) -> str:
    path = Path(initial)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _changed(recipe: Recipe, settings: Settings) -> Recipe:
    if settings.epochs is not None:
        recipe = replace(recipe, epochs=settings.epochs, least_steps=0)
    if settings.augmentation is not None:
        recipe = replace(recipe, augmentation=settings.augmentation)
    return recipe
