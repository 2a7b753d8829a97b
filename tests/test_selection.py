"""The choice of a recipe: what it uses, what it leaves alone, and its share of the time."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax

from papagaio.errors import Diverged
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student
from papagaio.progress import Message, Progress, Step, no_progress
from papagaio.responses import Answers, derive
from papagaio.training.judging import held_out_losses
from papagaio.training.loop import Epoch, train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Changes, Recipe
from papagaio.training.recipes import recipe_named
from papagaio.training.selection import (
    Candidate,
    Selection,
    _divided,
    select_recipe,
    steps_of_choice,
)

Box = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

CLASSES = 4
RECIPE = Recipe(
    "quick",
    loss="centred-l2",
    optimiser="adamw",
    rate=2e-3,
    schedule="one-cycle",
    batch=32,
    epochs=30,
    rounds=(({"augmentation": ("flip",)},),),
)
LABELS = replace(RECIPE, loss="cross-entropy", smoothing=0.05)


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)


def linear(mirrored: float) -> Box:
    """A linear black box; mirrored images get the same answers at 1 and the opposite at -1."""
    weights = np.random.default_rng(9).normal(size=(8, 8, CLASSES))
    weights = weights + mirrored * weights[:, ::-1]

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = np.einsum("nhw,hwk->nk", images[..., 0] / 127.5 - 1, weights)
        return np.asarray(softmax(3 * logits / logits.std(), axis=1), np.float32)

    return answer


SAME, UNRELATED, OPPOSITE = linear(1), linear(0), linear(-1)


def select(
    box: Box,
    count: int = 240,
    *,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Selection | None:
    images = noise(count)
    labels_only = recipe.loss == "cross-entropy"
    answers = derive(box(images), "probabilities", "label" if labels_only else "probabilities")

    def build() -> Classifier:
        return build_student("small-cnn", "random", images, CLASSES, seed=seed)

    return select_recipe(
        build, images, answers, recipe, seed=seed, machine=Machine(), progress=progress
    )


def chosen(box: Box, count: int = 240, *, recipe: Recipe = RECIPE, seed: int = 0) -> Selection:
    selection = select(box, count, recipe=recipe, seed=seed)
    assert selection is not None
    return selection


def figures(candidate: Candidate) -> tuple[float, float]:
    """Share of held-out images on which both name the same class, and mean loss."""
    return float(candidate.hits.mean()), float(candidate.losses.mean())


@pytest.mark.parametrize("box", [UNRELATED, OPPOSITE])
@pytest.mark.parametrize("recipe", [RECIPE, LABELS], ids=["scores", "labels"])
def test_a_black_box_that_sees_mirror_images_differently_gets_none(
    box: Box, recipe: Recipe
) -> None:
    selection = chosen(box, recipe=recipe)
    none, flip = map(figures, selection.candidates)
    assert selection.recipe.augmentation == ()
    assert flip[1] > none[1]
    assert flip[0] < none[0]


@pytest.mark.parametrize("recipe", [RECIPE, LABELS], ids=["scores", "labels"])
def test_a_black_box_that_sees_mirror_images_alike_gets_flip(recipe: Recipe) -> None:
    selection = chosen(SAME, recipe=recipe)
    none, flip = selection.candidates
    assert selection.recipe.augmentation == ("flip",)
    assert stats.ttest_rel(none.losses, flip.losses, alternative="greater").pvalue < 0.02
    assert figures(flip)[0] > figures(none)[0]


@pytest.mark.parametrize("recipe", [RECIPE, LABELS], ids=["scores", "labels"])
def test_how_large_a_copys_logits_are_does_not_count(recipe: Recipe) -> None:
    answers = SAME(noise(40))
    logits = np.random.default_rng(1).normal(size=answers.shape).astype(np.float32)
    logits += np.log(answers)
    expected = held_out_losses(recipe, logits, Answers.of(answers))
    doubled = held_out_losses(recipe, 2 * logits, Answers.of(answers))
    assert doubled == pytest.approx(expected, rel=0.02, abs=0.02)


def test_what_makes_no_difference_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirrored images of which every one is its own mirror image: both candidates are equal."""
    images = noise(200)
    images = np.concatenate([images[:, :, :4], images[:, :, 3::-1]], axis=2)
    monkeypatch.setattr("test_selection.noise", lambda _: images)
    selection = chosen(SAME, 200)
    none, flip = map(figures, selection.candidates)
    assert selection.recipe.augmentation == ()
    assert none[0] == pytest.approx(flip[0], abs=0.1)


def test_the_same_arguments_make_the_same_choice_and_disturb_no_other_randomness() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    runs = [chosen(UNRELATED, 120, seed=5) for _ in range(2)]
    assert torch.equal(torch.rand(2), expected)
    first, second = ([*map(figures, run.candidates)] for run in runs)
    assert first == second
    assert first != [*map(figures, chosen(UNRELATED, 120, seed=6).candidates)]


def test_images_and_answers_stay_as_they_are() -> None:
    images, answers = noise(120), SAME(noise(120))
    images.flags.writeable = answers.flags.writeable = False
    selection = select_recipe(
        lambda: build_student("small-cnn", "random", images, CLASSES, seed=0),
        images,
        Answers.of(answers),
        RECIPE,
        seed=0,
        machine=Machine(),
    )
    assert selection is not None
    assert len(selection.candidates) == 2


@pytest.mark.parametrize("count", [1, 2, 99])
def test_few_answers_are_not_divided(count: int) -> None:
    assert select(SAME, count) is None


@pytest.mark.parametrize("images", [100, 101, 250, 1000, 5000, 10_000, 100_000])
@pytest.mark.parametrize("epochs", [1, 5, 20, 60])
def test_no_image_is_both_learned_and_held_out(images: int, epochs: int) -> None:
    division = _divided(replace(RECIPE, epochs=epochs), images)
    assert division.learned + division.held_out <= images
    assert min(division.learned, division.held_out) >= 50
    assert division.held_out <= 2000


@pytest.mark.parametrize(
    ("images", "epochs", "share"),
    [
        (500, 60, 0.32),
        (1000, 60, 0.21),
        (2000, 60, 0.21),
        (5000, 60, 0.17),
        (10_000, 60, 0.084),
        (200, 1, 4),
    ],
)
def test_the_choices_share_of_time_is_as_stated(images: int, epochs: int, share: float) -> None:
    three = tuple({"augmentation": (name,)} for name in ("flip", "crop", "affine"))
    natural = replace(recipe_named("recovered-logits", (32, 32, 3)), epochs=epochs, rounds=(three,))
    recipe = natural.settled(images)
    final = recipe.epochs * recipe.steps_per_epoch(images)
    assert steps_of_choice(recipe, images) == pytest.approx(share * final, rel=0.06)


def test_every_candidate_is_told() -> None:
    told: list[Step | Message] = []
    select(UNRELATED, 120, progress=told.append)
    steps = [step for step in told if isinstance(step, Step)]
    assert [(step.done, step.total) for step in steps] == [(0, 2), (1, 2), (2, 2)]
    assert steps[1].note.startswith("as given: loss ")
    assert steps[2].note.startswith("augmentation flip: loss ")


def diverging(*broken: tuple[str, ...]) -> Callable[..., list[Epoch]]:
    """Training that diverges with some augmentations."""

    def tried(*args: Any, **kwargs: Any) -> list[Epoch]:  # noqa: ANN401  # as `train`
        if args[3].augmentation in broken:
            raise Diverged("the loss is no longer finite")
        return train(*args, **kwargs)

    return tried


def test_a_candidate_that_diverges_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papagaio.training.selection.train", diverging(()))
    selection = chosen(UNRELATED, 120)
    assert selection.recipe.augmentation == ("flip",)
    assert len(selection.candidates) == 1


def test_where_every_candidate_diverges_the_copy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papagaio.training.selection.train", diverging((), ("flip",)))
    with pytest.raises(Diverged):
        select(UNRELATED, 120)


# Rounds, and what is kept.


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes of all short trainings, none of which takes a step."""
    recipes: list[Recipe] = []

    def noted(*args: Any, **_: Any) -> None:  # noqa: ANN401  # as `train`
        recipes.append(args[3])

    monkeypatch.setattr("papagaio.training.selection.train", noted)
    return recipes


def worse_where(monkeypatch: pytest.MonkeyPatch, tried: list[Recipe], *worse: Changes) -> None:
    """Let each of these changes add 1 to every loss."""

    def judged(_: Recipe, logits: NDArray[np.float32], __: Answers) -> NDArray[np.float64]:
        bad = sum(replace(tried[-1], **one) == tried[-1] for one in worse)
        return np.full(len(logits), float(bad))

    monkeypatch.setattr("papagaio.training.selection.held_out_losses", judged)


ROUNDS = replace(
    RECIPE, rounds=(({"augmentation": ("flip",)},), ({"rate": 1e-3}, {"loss": "centred-l1"}))
)


def test_each_round_adds_to_the_winner_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, tried: list[Recipe]
) -> None:
    worse_where(monkeypatch, tried, {"augmentation": ()}, {"rate": 2e-3})
    selection = chosen(SAME, 120, recipe=ROUNDS)
    seen = [(one.augmentation, one.rate, one.loss) for one in tried]
    flip = ROUNDS.rounds[0][0]["augmentation"]
    assert seen == [
        ((), 2e-3, "centred-l2"),
        (flip, 2e-3, "centred-l2"),
        (flip, 1e-3, "centred-l2"),
        (flip, 2e-3, "centred-l1"),
    ]
    assert selection.changes == {"augmentation": flip, "rate": 1e-3}
    assert selection.recipe == replace(ROUNDS, rounds=(), augmentation=("flip",), rate=1e-3)
    assert len(selection.candidates) == 4


def test_where_nothing_is_better_the_recipe_stays_as_given(
    monkeypatch: pytest.MonkeyPatch, tried: list[Recipe]
) -> None:
    worse_where(monkeypatch, tried)
    selection = chosen(SAME, 120, recipe=ROUNDS)
    assert (selection.recipe, selection.changes) == (replace(ROUNDS, rounds=()), {})


def test_candidates_that_are_kept_are_not_trained_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = noise(120)
    make = partial(build_student, "small-cnn", "random", images, CLASSES, seed=0)
    go = partial(select_recipe, make, images, Answers.of(UNRELATED(images)), kept=tmp_path)
    first = go(RECIPE, seed=0, machine=Machine())
    (tmp_path / "1.json").unlink()  # as if killed during the second candidate
    calls = []

    def counted(*args: Any, **kwargs: Any) -> list[Epoch]:  # noqa: ANN401  # as `train`
        calls.append(args[3].augmentation)
        return train(*args, **kwargs)

    monkeypatch.setattr("papagaio.training.selection.train", counted)
    again = go(RECIPE, seed=0, machine=Machine())
    assert calls == [("flip",)]
    assert first is not None
    assert again is not None
    assert again.recipe == first.recipe
    assert [*map(figures, again.candidates)] == [*map(figures, first.candidates)]


def test_a_candidate_that_diverged_is_kept_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = noise(120)
    make = partial(build_student, "small-cnn", "random", images, CLASSES, seed=0)
    go = partial(select_recipe, make, images, Answers.of(UNRELATED(images)), kept=tmp_path)
    monkeypatch.setattr("papagaio.training.selection.train", diverging(()))
    first = go(RECIPE, seed=0, machine=Machine())
    monkeypatch.setattr("papagaio.training.selection.train", pytest.fail)
    again = go(RECIPE, seed=0, machine=Machine())
    assert first is not None
    assert again is not None
    assert [one.changes for one in again.candidates] == [{"augmentation": ("flip",)}]


def choose_in(folder: Path) -> Selection | None:
    """A choice among four, kept in a folder; it takes a second or more."""
    images = noise(400)
    make = partial(build_student, "small-cnn", "random", images, CLASSES, seed=0)
    others = tuple({"augmentation": (name,)} for name in ("flip", "crop", "affine"))
    recipe = replace(RECIPE, rounds=(others,))
    answers = Answers.of(UNRELATED(images))
    return select_recipe(make, images, answers, recipe, seed=0, machine=Machine(), kept=folder)


def test_a_kill_inside_the_choice_loses_at_most_the_candidate_in_training(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=choose_in, args=(tmp_path / "a",))
    child.start()
    while child.is_alive() and not (tmp_path / "a" / "1.json").exists():
        time.sleep(0.001)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").glob("*.json")}
    assert 2 <= len(before) < 4
    resumed, undisturbed = choose_in(tmp_path / "a"), choose_in(tmp_path / "b")
    assert resumed is not None
    assert undisturbed is not None
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert resumed.recipe == undisturbed.recipe
    assert [*map(figures, resumed.candidates)] == [*map(figures, undisturbed.candidates)]
