"""Pacing: how many epochs fit into the minutes of a training, and that this is decided once."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from papagaio.progress import Progress, Step
from papagaio.training.pacing import paced
from papagaio.training.recipe import Changes, Recipe
from papagaio.training.selection import steps_of_choice

RECIPE = Recipe("quick", batch=8, epochs=60)
CHOICE: tuple[tuple[Changes, ...], ...] = (({"augmentation": ("flip",)},),)


@dataclass
class Trainings:
    """Trainings of a known speed, which are noted: images and epochs.

    Each takes some seconds more to begin, and some in its second epoch.
    """

    seconds_per_image: float
    beginning: float = 0.0
    hiccup: float = 0.0
    done: list[tuple[int, Recipe]] = field(default_factory=list)

    def __call__(self, images: int, recipe: Recipe, progress: Progress) -> None:
        epochs = recipe.epochs_for(images)
        self.done.append((images, recipe))
        time.sleep(self.beginning)
        for epoch in range(epochs):
            time.sleep(images * self.seconds_per_image + (epoch == 1) * self.hiccup)
            progress(Step("quick", epoch + 1, epochs, "epochs"))


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
    assert [images for images, _ in trainings.done] == [80]


@pytest.mark.parametrize("trainings", [Trainings(1e-3, beginning=0.5), Trainings(1e-3, hiccup=0.5)])
def test_the_speed_is_the_last_candidates_without_a_slow_beginning_or_a_hiccup(
    tmp_path: Path, trainings: Trainings
) -> None:
    recipe = replace(RECIPE, minutes=1, rounds=CHOICE)
    paced(recipe, 1000, trainings, tmp_path / "pace")
    assert [shown.augmentation for _, shown in trainings.done] == [("flip",)]
    assert 1e-3 <= float((tmp_path / "pace").read_text()) < 2e-3


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
