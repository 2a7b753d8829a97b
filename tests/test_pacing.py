"""Pacing: how many epochs fit into the minutes of a training, and that this is decided once."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from papagaio.training.pacing import paced
from papagaio.training.recipe import Recipe

RECIPE = Recipe("quick", batch=8, epochs=60)


@dataclass
class Trainings:
    """Trainings of a known speed, which are noted: images and epochs."""

    seconds_per_image: float
    done: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, images: int, recipe: Recipe) -> None:
        self.done.append((images, recipe.epochs_for(images)))
        time.sleep(images * self.seconds_per_image)


def test_without_minutes_a_recipe_is_not_changed_and_nothing_is_measured(tmp_path: Path) -> None:
    trainings = Trainings(0)
    assert paced(RECIPE, 100, trainings, tmp_path / "epochs") == RECIPE
    assert (trainings.done, [*tmp_path.iterdir()]) == ([], [])


@pytest.mark.parametrize(("seconds", "spent"), [(10, 0), (30, 20)])
def test_epochs_are_cut_to_the_time_that_the_choice_has_left(
    tmp_path: Path, seconds: float, spent: float
) -> None:
    # An epoch of 1,000 images takes a second; a sleep may last longer, never shorter.
    recipe, trainings = replace(RECIPE, minutes=seconds / 60), Trainings(1e-3)
    cut = paced(recipe, 1000, trainings, tmp_path / "epochs", spent=spent)
    assert 2 <= cut.epochs_given <= 10
    assert replace(cut, epochs_given=0) == recipe
    assert trainings.done == [(8, 1), (160, 1)]


@pytest.mark.parametrize(("minutes", "epochs"), [(1e-6, 1), (1e6, 60)])
def test_one_epoch_is_the_least_and_the_recipes_own_are_the_most(
    tmp_path: Path, minutes: float, epochs: int
) -> None:
    recipe = replace(RECIPE, minutes=minutes)
    assert paced(recipe, 20, Trainings(1e-4), tmp_path / "epochs").epochs_given == epochs


def test_a_slower_machine_goes_on_with_the_number_of_epochs_that_was_kept(tmp_path: Path) -> None:
    recipe, file = replace(RECIPE, minutes=0.1), tmp_path / "choice" / "epochs"
    first, later = Trainings(1e-3), Trainings(1)
    cut = paced(recipe, 1000, first, file)
    assert paced(recipe, 1000, later, file) == cut
    assert later.done == []
