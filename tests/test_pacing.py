"""Pacing: how many epochs fit into the minutes of a training, and that this is decided once."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from papagaio.training.pacing import paced
from papagaio.training.recipe import Changes, Recipe
from papagaio.training.selection import steps_of_choice

RECIPE = Recipe("quick", batch=8, epochs=60)
CHOICE: tuple[tuple[Changes, ...], ...] = (({"augmentation": ("flip",)},),)


@dataclass
class Trainings:
    """Trainings of a known speed, which are noted: images and epochs."""

    seconds_per_image: float
    done: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, images: int, recipe: Recipe) -> None:
        self.done.append((images, recipe.epochs_for(images)))
        time.sleep(images * recipe.epochs_for(images) * self.seconds_per_image)


def test_without_minutes_a_recipe_is_not_changed_and_nothing_is_measured(tmp_path: Path) -> None:
    trainings = Trainings(0)
    assert paced(RECIPE, 100, trainings, tmp_path / "pace") == RECIPE
    assert (trainings.done, [*tmp_path.iterdir()]) == ([], [])


# An epoch of 1,000 images takes a second; a sleep may last longer, never shorter.
def test_epochs_are_cut_to_what_fits(tmp_path: Path) -> None:
    recipe, trainings = replace(RECIPE, minutes=10 / 60), Trainings(1e-3)
    cut = paced(recipe, 1000, trainings, tmp_path / "pace")
    assert 2 <= cut.epochs_for(1000) <= 10
    assert replace(cut, most_epochs=0) == recipe
    assert trainings.done == [(80, 1), (80, 3), (80, 1)]


def test_the_speed_is_that_of_the_last_candidate_without_what_a_training_begins_with(
    tmp_path: Path,
) -> None:
    shown: list[Recipe] = []

    def train_on(images: int, recipe: Recipe) -> None:
        shown.append(recipe)
        time.sleep(0.3 + images * recipe.epochs_for(images) * 1e-3)

    paced(replace(RECIPE, minutes=1, rounds=CHOICE), 1000, train_on, tmp_path / "pace")
    assert {recipe.augmentation for recipe in shown} == {("flip",)}
    assert 5e-4 < float((tmp_path / "pace").read_text()) < 2e-3


def test_the_choice_is_part_of_the_time(tmp_path: Path) -> None:
    file = tmp_path / "pace"
    file.write_text("0.001")
    recipe = replace(RECIPE, minutes=10 / 60, rounds=CHOICE)
    cut = paced(recipe, 1000, Trainings(0), file)
    assert cut.rounds == CHOICE
    choice = steps_of_choice(cut, 1000)
    assert choice > 125
    assert 7 * 125 <= cut.epochs_for(1000) * 125 + choice <= 10 * 125


def test_a_choice_that_would_take_more_than_half_of_the_time_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "pace"
    file.write_text("0.001")
    cut = paced(replace(RECIPE, minutes=2 / 60, rounds=CHOICE), 1000, Trainings(0), file)
    assert (cut.rounds, cut.epochs_for(1000)) == ((), 2)


@pytest.mark.parametrize(("minutes", "epochs"), [(1e-6, 1), (1e6, 60)])
def test_one_epoch_is_the_least_and_the_recipes_own_are_the_most(
    tmp_path: Path, minutes: float, epochs: int
) -> None:
    cut = paced(replace(RECIPE, minutes=minutes), 20, Trainings(1e-4), tmp_path / "pace")
    assert cut.epochs_for(20) == epochs


def test_a_slower_machine_goes_on_with_the_speed_that_was_kept(tmp_path: Path) -> None:
    recipe, file = replace(RECIPE, minutes=0.1), tmp_path / "cell" / "pace"
    first, later = Trainings(1e-3), Trainings(1)
    cut = paced(recipe, 1000, first, file)
    assert paced(recipe, 1000, later, file) == cut
    assert later.done == []
