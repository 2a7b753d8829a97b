from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor, nn
from torch.nn import functional

from papagaio.errors import BadSettings, Diverged
from papagaio.networks.named import build_student
from papagaio.progress import Message, Step
from papagaio.responses import Answers, centred_log, derive
from papagaio.training import winograd
from papagaio.training.augmentation import AUGMENTATIONS, _changed, views
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.inference import infer, predict
from papagaio.training.loop import Epoch, train
from papagaio.training.losses import loss_of, spread_of, targets_of
from papagaio.training.machine import Machine
from papagaio.training.muon import Muon, convolutions_before_norm, orthogonal
from papagaio.training.optimisers import optimisers_for
from papagaio.training.products import placed, use_products
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import (
    _AUGMENTATIONS,
    _NATURAL,
    _SMALL,
    auto_recipe,
    default_recipe,
    recipe_named,
)
from papagaio.training.step import Batch, training_step
from papagaio.vocabulary import RESPONSES, Augmentation, Precision

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (50, 8, 8, 1), np.uint8)
ANSWERS = np.asarray(softmax(RANDOM.normal(0, 3, (50, 4)), axis=1), np.float32)
FULL = Answers.of(ANSWERS)
QUICK = Recipe("quick", optimiser="adamw", rate=1e-3, schedule="one-cycle", batch=16, epochs=4)
MACHINE = Machine()


def trained(
    recipe: Recipe = QUICK, seed: int = 0, checkpoints: Checkpoints | None = None
) -> nn.Module:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=seed)
    train(student, IMAGES, FULL, recipe, seed=seed, machine=MACHINE, checkpoints=checkpoints)
    return student


def weights(network: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())


# losses


def test_cross_entropy_at_temperature_1_is_the_thesiss_equation_2() -> None:
    logits = RANDOM.normal(0, 2, (6, 4))
    targets = targets_of("cross-entropy", 1, 0, FULL[:6])
    expected = -(ANSWERS[:6] * log_softmax(logits, axis=1)).sum(1).mean()
    found = loss_of("cross-entropy", 1, torch.tensor(logits), torch.tensor(targets))
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [2.0, 4.0, 20.0])
def test_stored_probabilities_give_every_temperature(temperature: float) -> None:
    logits = RANDOM.normal(0, 3, (6, 4))
    stored = np.asarray(softmax(logits, axis=1), np.float32)
    found = targets_of("cross-entropy", temperature, 0, Answers.of(stored))
    assert found == pytest.approx(softmax(logits / temperature, axis=1), abs=1e-6)


def test_the_centred_loss_compares_logits_up_to_a_constant() -> None:
    logits = RANDOM.normal(0, 3, (6, 4))
    stored = np.asarray(softmax(RANDOM.normal(0, 3, (6, 4)), axis=1), np.float32)
    targets = targets_of("centred-l2", 1, 0, Answers.of(stored))
    centred = logits - logits.mean(1, keepdims=True)
    expected = ((centred - centred_log(stored)) ** 2).mean()
    found = loss_of("centred-l2", 1, torch.tensor(logits + 7), torch.tensor(targets))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def censored_loss(answers: Answers, probabilities: list[float]) -> float:
    """Of a network that gives one image these probabilities."""
    targets = torch.from_numpy(targets_of("censored-l2", 1, 0, answers))
    logits = torch.tensor(np.log([probabilities]) + 7)
    return loss_of("censored-l2", 1, logits, targets).item()


def squared(*probabilities: tuple[float, float]) -> float:
    """Between the centred logarithms of what a network gives and of what is allowed."""
    given, allowed = np.log(probabilities).T
    return float(np.var(given - allowed))


def test_a_score_rounded_to_0_is_only_a_bound() -> None:
    answers = Answers(np.array([[0.8, 0.1, 0, 0, 0]], np.float32), np.ones((1, 5), bool), 0.1)
    # Three classes are shown as 0: below 0.05, and anything below is as good.
    for small in ([0.04, 0.03, 0.03], [0.0499, 0.0499, 0.0002]):
        assert censored_loss(answers, [0.8, 0.1, *small]) < 1e-6
    # Up to one constant: here that which fits the four classes best that are off.
    off = np.log([0.7 / 0.8, 0.1 / 0.1, 0.1 / 0.05, 0.07 / 0.05])
    expected = off.var() * 4 / 5
    found = censored_loss(answers, [0.7, 0.1, 0.1, 0.07, 0.03])
    assert found == pytest.approx(expected, rel=1e-4)


def test_hidden_classes_are_bounded_and_share_the_remainder() -> None:
    scores, known = np.array([[0.6, 0.2, 0, 0, 0]]), np.array([[True, True, False, False, False]])
    answers = Answers(scores.astype(np.float32), known)
    # 0.2 is left to three classes, in any way that leaves none of them above 0.2.
    for inside in ([0.6, 0.2, 0.1, 0.06, 0.04], [0.6, 0.2, 0.1999, 5e-5, 5e-5]):
        assert censored_loss(answers, inside) < 1e-5
    # One is above 0.2, the smallest score shown; cut to it, the three have 0.3 instead of 0.2.
    expected = squared(
        (0.5, 0.6), (0.1, 0.2), (0.3, 0.2 * 2 / 3), (0.05, 0.05 * 2 / 3), (0.05, 0.05 * 2 / 3)
    )
    found = censored_loss(answers, [0.5, 0.1, 0.3, 0.05, 0.05])
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_remainder_below_float32s_rounding_is_only_a_bound() -> None:
    answers = Answers(np.array([[1.0, 0, 0]], np.float32), np.array([[True, False, False]]))
    assert censored_loss(answers, [1.0, 1e-8, 1e-9]) < 1e-6
    assert censored_loss(answers, [0.8, 0.1, 0.1]) > 1


def test_of_full_answers_the_censored_loss_is_the_centred_one() -> None:
    logits = torch.tensor(RANDOM.normal(0, 3, (6, 4)))
    losses = [
        loss_of(loss, 1, logits, torch.tensor(targets_of(loss, 1, 0, FULL[:6])))
        for loss in ("censored-l2", "centred-l2")
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    spreads = [spread_of(loss, FULL) for loss in ("censored-l2", "centred-l2")]
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-5)


def test_the_censored_loss_has_finite_gradients_for_every_response() -> None:
    extreme = np.array([[1, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0]], np.float32)
    for response in RESPONSES:
        answers = derive(extreme, "probabilities", response)
        targets = torch.from_numpy(targets_of("censored-l2", 1, 0, answers))
        logits = (torch.randn(2, 6) * 50).requires_grad_()
        loss = loss_of("censored-l2", 1, logits, targets)
        (slope,) = torch.autograd.grad(loss, logits)
        assert slope.isfinite().all()


def test_smoothing_spreads_a_share_of_the_target_evenly() -> None:
    one_hot = np.eye(4, dtype=np.float32)
    found = targets_of("cross-entropy", 1, 0.1, Answers.of(one_hot))
    assert found == pytest.approx(one_hot * 0.9 + 0.025)


def test_logits_are_learned_in_units_of_their_spread() -> None:
    assert spread_of("cross-entropy", FULL) == 1
    assert spread_of("centred-l2", FULL) == pytest.approx(centred_log(ANSWERS).std())


# recipes


def test_one_cycle_climbs_for_a_fifth_and_falls_to_nothing() -> None:
    shares = [QUICK.share_of_rate(part) for part in (0, 0.1, 0.2, 0.6, 1)]
    assert shares == pytest.approx([0.1, 0.55, 1, 0.5, 0])
    assert replace(QUICK, schedule="constant").share_of_rate(0.7) == 1


def test_few_images_are_seen_for_more_epochs_where_steps_are_wanted() -> None:
    recipe = replace(QUICK, epochs=2, least_steps=100)
    assert recipe.epochs_for(32) == 50
    assert recipe.epochs_for(16_000) == 2


@pytest.mark.parametrize(
    ("images", "batch", "steps"),
    [(20, 128, 1), (40, 40, 1), (500, 34, 15), (1000, 33, 31), (3000, 94, 32), (10_000, 128, 79)],
)
def test_few_images_make_small_batches_where_an_epoch_should_have_many(
    images: int, batch: int, steps: int
) -> None:
    recipe = replace(QUICK, batch=128, least_batches=32)
    assert (recipe.settled(images).batch, recipe.steps_per_epoch(images)) == (batch, steps)
    assert recipe.settled(images).steps_per_epoch(images) == steps
    assert recipe.settled(images).settled(20) == recipe.settled(images)
    assert QUICK.settled(images) == QUICK


def test_augmentation_fades_further_the_more_images_there_are() -> None:
    recipe = replace(QUICK, fade=500)
    assert recipe.strength(1, 500) == recipe.strength(0, 5000) == 1
    assert recipe.strength(1, 5000) == pytest.approx(0.1)
    assert QUICK.strength(1, 5000) == 1


@pytest.mark.parametrize("side", [8, 32])
def test_every_recipe_exists_for_small_and_for_natural_images(side: int) -> None:
    assert list(_SMALL) == list(_NATURAL)
    for name in _SMALL:
        assert recipe_named(name, (side, side, 3)).name == name


def test_auto_has_no_recipe_of_its_own_and_says_who_makes_it() -> None:
    with pytest.raises(BadSettings, match=r"recipes auto: .*training\.recipes\.auto_recipe"):
        recipe_named("auto", (32, 32, 3))
    with pytest.raises(BadSettings, match="choose from auto, recovered-logits"):
        recipe_named("other", (32, 32, 3))


def test_the_default_recipe_goes_by_what_an_answer_shows() -> None:
    partial = set(RESPONSES) - {"probabilities", "label"}
    assert default_recipe("probabilities") == "recovered-logits"
    assert default_recipe("label") == "labels"
    assert {default_recipe(response) for response in partial} == {"censored-logits"}


def test_natural_images_leave_the_augmentation_to_be_chosen() -> None:
    for name in ("recovered-logits", "censored-logits", "labels"):
        recipe = recipe_named(name, (32, 32, 3))
        assert recipe.augmentation == ()
        assert recipe.rounds == (_AUGMENTATIONS,)
    assert not recipe_named("thesis", (32, 32, 3)).rounds


def test_auto_begins_with_the_responses_own_recipe_and_tries_others() -> None:
    for shape in ((8, 8, 1), (32, 32, 3)):
        for response in RESPONSES:
            own, auto = (
                recipe_named(default_recipe(response), shape),
                auto_recipe(response, 0, shape),
            )
            assert (auto.name, auto.loss) == ("auto", own.loss)
            assert auto.rounds[: len(own.rounds)] == own.rounds
            for changes in (one for tried in auto.rounds for one in tried):
                replace(auto, **changes)  # each names fields of a recipe
    assert auto_recipe("probabilities", 0, (8, 8, 1)).rounds[0][0]["augmentation"] == ("affine",)


def test_the_thesiss_recipe_is_as_written_there() -> None:
    thesis = recipe_named("thesis", (32, 32, 3))
    assert (thesis.loss, thesis.temperature, thesis.augmentation) == ("cross-entropy", 1, ())
    assert (thesis.optimiser, thesis.rate, thesis.schedule) == ("adam", 1e-3, "constant")
    assert (thesis.batch, thesis.epochs, thesis.smoothing, thesis.muon) == (32, 100, 0, 0)


def in_words(recipe: Recipe) -> str:
    """As a cell of the documentation's table puts it."""
    rate = f"{recipe.rate:.0e}".replace("e-0", "e-")
    adam = {"adam": f"Adam {rate}", "adamw": f"AdamW {rate}"}[recipe.optimiser]
    if recipe.muon:
        adam = f"Muon {recipe.muon} for convolutions, {adam} for the rest"
    schedule = {"constant": "", "one-cycle": "one-cycle, "}[recipe.schedule]
    steps = f" and at least {recipe.least_steps} steps" if recipe.least_steps else ""
    seen = {(): "no augmentation", ("affine",): "small affine changes"}[recipe.augmentation]
    if recipe.rounds:
        names = [one["augmentation"] for one in recipe.rounds[0]]
        assert names == [("crop",), ("flip",), ("crop", "flip")]
        seen = "no augmentation, crop, flip or both, as held-out answers decide"
    seen += " that fade" if recipe.fade else ""
    batch = f"batch {recipe.batch}"
    if recipe.least_batches:
        batch += f" (down to 32 where an epoch would have fewer than {recipe.least_batches} steps)"
    return f"{adam}, {schedule}{batch}, {recipe.epochs} epochs{steps}, {seen}"


def test_the_recipes_are_as_the_documentation_has_them() -> None:
    page = Path(__file__).parents[1] / "docs" / "recipes.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    written = {row[0].split("`")[1]: row[1:] for row in rows}
    # On both sides of what counts as small, by the shorter side.
    natural = {name: recipe_named(name, (24, 30, 3)) for name in _NATURAL}
    small = {name: recipe_named(name, (40, 23, 3)) for name in _NATURAL}
    logits, labels = natural["recovered-logits"], natural["labels"]
    assert list(written) == list(natural)
    assert written["recovered-logits"] == [
        "squared difference between centred logits",
        in_words(logits),
        in_words(small["recovered-logits"]),
    ]
    assert {logits.loss, small["recovered-logits"].loss} == {"centred-l2"}
    assert written["censored-logits"] == [
        "squared difference between centred logits and the nearest that the answer allows",
        "the same otherwise",
        in_words(small["censored-logits"]),
    ]
    assert natural["censored-logits"] == replace(logits, name="censored-logits", loss="censored-l2")
    assert small["censored-logits"].loss == "censored-l2"
    assert written["labels"] == [
        f"cross-entropy, smoothed by {labels.smoothing}",
        "the same otherwise, batch 128",
        in_words(small["labels"]),
    ]
    assert labels == replace(
        logits, name="labels", loss=labels.loss, smoothing=labels.smoothing, least_batches=0
    )
    assert {(one.loss, one.smoothing) for one in (labels, small["labels"])} == {
        ("cross-entropy", 0.05)
    }
    assert written["thesis"][1] == in_words(natural["thesis"])
    assert written["thesis"][2].startswith("the same;")
    assert small["thesis"] == natural["thesis"]


# augmentation


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("shape", [(5, 8, 8, 1), (5, 32, 24, 3)])
def test_augmentation_keeps_the_shape_and_the_range(
    name: Augmentation, shape: tuple[int, ...]
) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    changed = AUGMENTATIONS[name](images, 1.0)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_at_no_strength_nothing_changes(name: Augmentation) -> None:
    images = torch.randint(0, 256, (30, 16, 12, 2), dtype=torch.uint8)
    changed = AUGMENTATIONS[name](images, 0.0)
    # Interpolation leaves a little rounding behind.
    assert torch.allclose(changed.float(), images.float(), atol=1e-3)


def test_flip_mirrors_some_and_leaves_the_others() -> None:
    images = torch.arange(200 * 4, dtype=torch.float32).view(200, 1, 4, 1)
    changed = AUGMENTATIONS["flip"](images, 1.0)
    mirrored = (changed == images.flip(2)).all(dim=(1, 2, 3))
    same = (changed == images).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 60 < mirrored.sum() < 140


def test_crop_moves_by_an_eighth_at_most_and_reflects_the_border() -> None:
    images = torch.arange(16.0).view(1, 1, 16, 1).expand(300, 16, 16, 1)
    rows = AUGMENTATIONS["crop"](images, 1.0)[:, 0, :, 0]
    starts = {tuple(row[:3].int().tolist()) for row in rows}
    assert starts == {(2, 1, 0), (1, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4)}


def affine_by(images: Tensor, **deviations: float) -> Tensor:
    names = ("turn", "wide", "high", "shear", "right", "down")
    return _changed(images, torch.tensor([[deviations.get(name, 0.0)] for name in names]))


def test_affine_moves_by_a_sixteenth_of_the_size_and_turns_by_parts_of_a_radian() -> None:
    images = torch.randint(1, 256, (3, 16, 16, 2)).float()
    # A sixteenth is a pixel here. Where one looks further right, the image moves left.
    right, down = affine_by(images, right=1), affine_by(images, down=1)
    assert torch.allclose(right[:, :, :-1], images[:, :, 1:], atol=1e-2)
    assert torch.allclose(down[:, :-1], images[:, 1:], atol=1e-2)
    # What comes in from outside is black.
    assert torch.allclose(right[:, :, -1], torch.zeros(()), atol=1e-2)
    assert torch.allclose(down[:, -1], torch.zeros(()), atol=1e-2)
    # As many times 0.12 radians as make a quarter of a turn, whichever way round.
    quarter = affine_by(images, turn=np.pi / 2 / 0.12)
    assert any(torch.allclose(quarter, images.rot90(k, (1, 2)), atol=1e-2) for k in (1, 3))


def test_affine_stretches_and_shears_by_8_percent() -> None:
    # Its pixels say how far from the left they lie; the middle is at 50.
    ramp = torch.arange(101.0).expand(1, 101, 101)[..., None]
    reached = 40 * np.exp(-0.08)
    wide = affine_by(ramp, wide=-1)[0, 50, [10, 90], 0] - 50
    assert wide.tolist() == pytest.approx([-reached, reached], rel=1e-3)
    high = affine_by(ramp.transpose(1, 2), high=-1)[0, [10, 90], 50, 0] - 50
    assert high.tolist() == pytest.approx([-reached, reached], rel=1e-3)
    sheared = affine_by(ramp, shear=1)[0, [10, 90], 50, 0] - 50
    assert sheared.tolist() == pytest.approx([-0.08 * 40, 0.08 * 40], rel=1e-3)


def test_augmentation_is_drawn_anew_for_every_image() -> None:
    images = torch.randint(0, 256, (1, 8, 8, 1), dtype=torch.uint8).expand(30, 8, 8, 1)
    for name in AUGMENTATIONS:
        assert (AUGMENTATIONS[name](images, 1.0).float().std(0) > 0).any()


def test_views_are_the_image_then_what_the_augmentation_taught() -> None:
    images = torch.randint(0, 256, (3, 8, 8, 1), dtype=torch.uint8)
    assert [len(views(a)) for a in ((), ("crop",), ("flip",), ("affine",))] == [1, 1, 2, 17]
    assert torch.equal(views(("flip",))[0](images), images)
    assert torch.equal(views(("flip",))[1](images), images.flip(2))


def test_a_prediction_does_not_depend_on_the_images_beside_it() -> None:
    student = trained(replace(QUICK, epochs=1))
    whole = predict(student, IMAGES, MACHINE, ("flip", "affine"))
    alone = predict(student, IMAGES[7:8], MACHINE, ("flip", "affine"))
    assert whole[7] == pytest.approx(alone[0], abs=1e-6)
    assert whole.sum(1) == pytest.approx(np.ones(50), abs=1e-5)


def test_a_copy_answers_with_the_mean_logits_of_its_views() -> None:
    student = trained()
    plain, mirrored = (infer(student, seen, MACHINE) for seen in (IMAGES, IMAGES[:, :, ::-1]))
    assert np.abs(plain - mirrored).max() > 0.01
    found = infer(student, IMAGES, MACHINE, augmentation=("flip",))
    assert found == pytest.approx((plain + mirrored) / 2, abs=1e-5)


def test_many_images_are_answered_in_parts_as_if_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = trained()
    whole = infer(student, IMAGES, MACHINE)
    # 50 images are seven parts and one image more.
    monkeypatch.setattr("papagaio.training.inference.ROWS_AT_ONCE", 7)
    assert infer(student, IMAGES, MACHINE) == pytest.approx(whole, abs=1e-5)


# Muon


def test_muons_step_is_nearly_orthogonal() -> None:
    for shape in ((8, 20), (20, 8)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert singular.min() > 0.4
        assert singular.max() < 1.4


def test_muon_moves_against_the_slope_along_the_nearest_orthogonal_matrix() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 4, 3, 3))
    rows, _, columns = torch.linalg.svd(torch.randn(8, 36), full_matrices=False)
    nearest = (rows @ columns).flatten()
    # Steep in one direction and ten times less so in another: by itself far from orthogonal.
    slope = (rows * torch.logspace(0, -1, 8) @ columns).flatten()
    before, weight.grad = weight.detach().clone(), slope.view_as(weight)
    Muon([weight], 0.1).step()
    # The weights are brought to the norm of an orthogonal matrix of 8 rows, then moved.
    moved = (before * 8**0.5 / before.norm() - weight.detach()).flatten() / 0.1
    # Three iterations come close to the nearest one, no more.
    assert functional.cosine_similarity(slope, nearest, dim=0) < 0.85
    assert functional.cosine_similarity(moved, nearest, dim=0) > 0.95
    assert 0.7 < moved.norm() / nearest.norm() < 1.2


def test_muons_momentum_looks_ahead() -> None:
    torch.manual_seed(0)
    weight, (first, second) = nn.Parameter(torch.randn(6, 5, 1, 1)), torch.randn(2, 6, 5, 1, 1)
    muon = Muon([weight], 0.1)
    for slope in (first, second):
        before, weight.grad = weight.detach().clone(), slope.clone()
        muon.step()
    # Nesterov's: the slope, and 0.6 of the momentum that it has just become a part of.
    ahead = (second + 0.6 * (second + 0.6 * first)).flatten(1)
    expected = before * 6**0.5 / before.norm() - 0.1 * orthogonal(ahead).view_as(before)
    assert torch.allclose(weight.detach(), expected, atol=1e-6)


def test_muon_takes_convolutions_before_a_normalisation_and_no_others() -> None:
    network = build_student(
        "residual-cnn", "random", np.zeros((4, 32, 32, 3), np.uint8), 10, seed=0
    )
    assert len(convolutions_before_norm(network)) == 6
    assert convolutions_before_norm(build_student("small-cnn", "random", IMAGES, 4, seed=0)) == []


# the loop


def test_every_weight_that_learns_has_one_optimiser_and_only_matrices_decay() -> None:
    images = RANDOM.integers(0, 256, (4, 24, 24, 3), np.uint8)
    network = build_student("residual-cnn", "random", images, 4, seed=0)
    adam, muon = optimisers_for(network, replace(QUICK, decay=0.05, muon=0.12))
    groups = [*adam.param_groups, *muon.param_groups]
    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(w) for w in network.parameters() if w.requires_grad)
    assert isinstance(muon, Muon)
    (theirs,) = muon.param_groups
    assert set(map(id, theirs["params"])) == set(map(id, convolutions_before_norm(network)))
    assert theirs["peak"] == 0.12
    assert {group["peak"] for group in adam.param_groups} == {QUICK.rate}
    for group in adam.param_groups:
        assert {weight.ndim > 1 for weight in group["params"]} == {group["weight_decay"] == 0.05}
        assert group["weight_decay"] in (0, 0.05)


@pytest.mark.parametrize(("schedule", "share"), [("one-cycle", 0.1), ("constant", 1.0)])
def test_the_schedule_reaches_the_optimiser(
    schedule: Literal["one-cycle", "constant"], share: float
) -> None:
    # Adam's first step moves a weight by the rate itself.
    recipe = replace(QUICK, schedule=schedule, rate=1e-2, batch=50, epochs=1)
    before = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    pairs = zip(before.parameters(), trained(recipe).parameters(), strict=True)
    moved = max((one - other).abs().max().item() for one, other in pairs)
    assert moved == pytest.approx(share * 1e-2, rel=1e-2)


def test_an_epoch_shows_every_image_once_in_nearly_equal_batches_and_an_order_of_its_own() -> None:
    # Each image is its own number in grey.
    images = np.arange(100, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    student = build_student("small-cnn", "random", images, 4, seed=0)
    seen: list[list[int]] = []

    def note(_: nn.Module, given: tuple[Tensor]) -> None:
        seen.append(given[0][:, 0, 0, 0].tolist())

    student.register_forward_pre_hook(note)
    answers = Answers.of(np.full((100, 4), 0.25, np.float32))
    train(student, images, answers, replace(QUICK, batch=64, epochs=2), seed=0, machine=MACHINE)
    assert [len(batch) for batch in seen] == [50, 50, 50, 50]
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second


def test_an_epochs_loss_and_distillation_accuracy_are_those_of_its_batches() -> None:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    logits = infer(student, IMAGES, MACHINE).astype(float)
    # At a rate that changes nothing, what is measured in passing is what the network was.
    recipe = replace(QUICK, rate=1e-12, batch=25, epochs=1)
    (epoch,) = train(student, IMAGES, FULL, recipe, seed=0, machine=MACHINE)
    expected = -(ANSWERS * log_softmax(logits, axis=1)).sum(1).mean()
    assert epoch.loss == pytest.approx(expected, rel=1e-5)
    right = logits.argmax(1) == ANSWERS.argmax(1)
    assert epoch.distillation_accuracy == pytest.approx(right.mean())


def test_a_seed_decides_the_weights_bit_for_bit() -> None:
    assert weights(trained(seed=1)) == weights(trained(seed=1))
    assert weights(trained(seed=1)) != weights(trained(seed=2))


class Killed(Exception):
    pass


@pytest.mark.parametrize("augmentation", [(), ("flip", "crop", "affine")])
@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_training_taken_up_again_ends_with_the_same_bits(
    tmp_path: Path, augmentation: tuple[Augmentation, ...], stopped_after: int
) -> None:
    recipe = replace(QUICK, augmentation=augmentation)
    checkpoints = Checkpoints(tmp_path / "checkpoint", 0)

    def stop(step: Step | Message) -> None:
        # Told before the checkpoint of its epoch is written: the next start redoes that epoch.
        if isinstance(step, Step) and step.done == stopped_after:
            raise Killed

    first = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    with pytest.raises(Killed):
        train(
            first,
            IMAGES,
            FULL,
            recipe,
            seed=0,
            machine=MACHINE,
            checkpoints=checkpoints,
            progress=stop,
        )
    torch.manual_seed(99)  # whatever happened in between
    assert weights(trained(recipe, checkpoints=checkpoints)) == weights(trained(recipe))


def test_muon_is_taken_up_again_with_its_momentum(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (16, 24, 24, 3), np.uint8)
    recipe = replace(QUICK, muon=0.1, batch=8)

    def run(checkpoints: Checkpoints | None, epochs: int) -> nn.Module:
        student = build_student("residual-cnn", "random", images, 4, seed=0)
        train(
            student,
            images,
            FULL[:16],
            replace(recipe, epochs=epochs, schedule="constant"),
            seed=0,
            machine=MACHINE,
            checkpoints=checkpoints,
        )
        return student

    checkpoints = Checkpoints(tmp_path / "checkpoint", 0)
    run(checkpoints, 2)
    assert weights(run(checkpoints, 4)) == weights(run(None, 4))


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, True), (3600.0, False)])
def test_a_training_keeps_itself_by_time_and_not_by_epoch(
    tmp_path: Path, seconds: float, *, kept: bool
) -> None:
    trained(checkpoints=Checkpoints(tmp_path / "checkpoint", seconds))
    assert (tmp_path / "checkpoint").exists() is kept


def test_the_caller_s_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("batch", "where"), [(16, "epoch 1, step 2;"), (50, "epoch 2, step 1;")])
def test_a_loss_that_is_not_finite_stops_with_its_step(batch: int, where: str) -> None:
    # The first step is taken on a sound loss; the second meets what it left.
    with pytest.raises(Diverged, match=f"in {where}"):
        trained(replace(QUICK, rate=1e30, schedule="constant", optimiser="adam", batch=batch))


def test_the_curve_has_one_record_an_epoch_and_the_loss_falls() -> None:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    curve = train(student, IMAGES, FULL, replace(QUICK, epochs=30), seed=0, machine=MACHINE)
    assert [epoch.number for epoch in curve] == list(range(1, 31))
    assert curve[-1].loss < curve[0].loss
    assert curve[-1].distillation_accuracy > curve[0].distillation_accuracy


def test_a_frozen_weight_stays_as_it_was() -> None:
    images = RANDOM.integers(0, 256, (16, 24, 24, 3), np.uint8)
    student = build_student("residual-cnn", "random", images, 4, seed=0)
    frozen = [p.clone() for p in student.parameters() if not p.requires_grad]
    train(student, images, FULL[:16], QUICK, seed=0, machine=MACHINE)
    after = [p for p in student.parameters() if not p.requires_grad]
    assert len(frozen) == 1
    assert all(torch.equal(a, b) for a, b in zip(frozen, after, strict=True))


def answers_of_a_linear_box(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    matrix = np.random.default_rng(9).normal(0, 0.5, (64, 4))
    return np.asarray(softmax(images.reshape(len(images), 64) / 64 @ matrix, axis=1), np.float32)


def test_a_linear_black_box_is_copied_almost_exactly() -> None:
    images = RANDOM.integers(0, 256, (600, 8, 8, 1), np.uint8)
    recipe = replace(recipe_named("recovered-logits", (8, 8, 1)), least_steps=600)
    student = build_student("small-cnn", "random", images[:500], 4, seed=0)
    train(
        student,
        images[:500],
        Answers.of(answers_of_a_linear_box(images[:500])),
        recipe,
        seed=0,
        machine=MACHINE,
    )
    found = predict(student, images[500:], MACHINE).argmax(1)
    assert (found == answers_of_a_linear_box(images[500:]).argmax(1)).mean() > 0.75


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recorded_steps_learn_what_steps_one_by_one_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(QUICK, optimiser="adam", epochs=6)
    found = []
    for recorded in (True, False):
        if not recorded:
            monkeypatch.setattr("papagaio.training.step.CapturedStep", lambda step: step)
        student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
        curve = train(student, IMAGES, FULL, recipe, seed=0, machine=Machine("cuda"))
        found.append([epoch.loss for epoch in curve])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("side", [1, 2, 8, 9, 18])
@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 4, 1),
        nn.Conv2d(6, 4, 1, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 4, 1, stride=2),
        nn.Conv2d(6, 4, 1, stride=(1, 2), bias=False),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Conv2d(6, 4, 3, padding=1, bias=False),
    ],
)
def test_convolutions_as_products_give_and_learn_the_same(
    convolution: nn.Conv2d, side: int
) -> None:
    product = deepcopy(convolution)
    use_products(product)
    assert list(product.state_dict()) == list(convolution.state_dict())
    assert_same_convolution(product, convolution, side, side)


def assert_same_convolution(
    fast: nn.Conv2d, plain: nn.Conv2d, height: int, width: int, rounding: float = 1e-4
) -> None:
    found = []
    for layer, kind in ((plain, torch.float64), (fast, torch.float32)):
        one = deepcopy(layer).to(kind)
        random = torch.Generator().manual_seed(0)
        images = torch.randn(3, one.in_channels, height, width, generator=random).to(kind)
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        made = one(images)
        (made * torch.randn(made.shape, generator=random).to(kind)).sum().backward()
        slopes = [weight.grad for weight in one.parameters()]
        found.append([made.detach(), images.grad, *slopes])
    for exact, quick in zip(*found, strict=True):
        assert torch.allclose(exact, quick.double(), atol=rounding * exact.abs().max())


def test_a_depthwise_convolution_on_two_pixels_is_a_product_too() -> None:
    plain = nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6, bias=False)
    fast = deepcopy(plain)
    use_products(fast)
    assert_same_convolution(fast, plain, 1, 2)
    assert_same_convolution(fast, plain, 2, 1)


@pytest.mark.parametrize(("bias", "at_once"), [(True, 128), (False, 128), (False, 2)])
@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (3, 7), (5, 5), (8, 8), (15, 16)])
def test_winograds_filtering_gives_and_learns_the_same(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, at_once: int, *, bias: bool
) -> None:
    monkeypatch.setattr("papagaio.training.products._LEAST_PAIRS_OF_WINOGRAD", 1)
    monkeypatch.setattr("papagaio.training.winograd._IMAGES_AT_ONCE", at_once)
    used = Mock(wraps=winograd.convolve)
    monkeypatch.setattr("papagaio.training.winograd.convolve", used)
    plain = nn.Conv2d(7, 5, 3, padding=1, bias=bias)
    fast = deepcopy(plain)
    placed(fast, torch.device("cpu"))
    assert_same_convolution(fast, plain, height, width, rounding=3e-5)
    assert used.called


@pytest.mark.parametrize(
    ("inner", "outer", "side"), [(64, 128, 16), (128, 64, 16), (256, 256, 8), (512, 512, 4)]
)
def test_winograds_filtering_is_precise_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch, inner: int, outer: int, side: int
) -> None:
    used = Mock(wraps=winograd.convolve)
    monkeypatch.setattr("papagaio.training.winograd.convolve", used)
    plain = nn.Conv2d(inner, outer, 3, padding=1)
    fast = deepcopy(plain)
    use_products(fast)
    assert_same_convolution(fast, plain, side, side, rounding=3e-5)
    used.assert_called_once()


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("side", [3, 4, 8])
def test_what_follows_winograds_filtering_may_work_in_place(count: int, side: int) -> None:
    images = torch.randn(count, 6, side, side, requires_grad=True)
    planes = winograd.convolve(images, torch.randn(4, 6, 3, 3), None)
    planes += 1
    torch.autograd.backward(planes.relu_().sum())
    assert images.grad is not None


def test_a_network_learns_after_it_has_answered() -> None:
    network = nn.Sequential(
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.ReLU6(inplace=True), nn.Flatten()
    )
    placed(network, torch.device("cpu"))
    with torch.inference_mode():
        network(torch.ones(1, 6, 2, 2))
    torch.autograd.backward(network(torch.ones(1, 6, 2, 2)).sum())
    assert not network[1].inplace


@pytest.mark.parametrize(
    ("convolution", "side", "precision"),
    [
        (nn.Conv2d(128, 128, 3, padding=1), 17, "float32"),  # a large plane
        (nn.Conv2d(64, 64, 3, padding=1), 8, "float32"),  # few channels
        (nn.Conv2d(128, 128, 3, padding=1).double(), 8, "float32"),
        (nn.Conv2d(128, 128, 3, padding=1), 8, "bfloat16"),
    ],
)
def test_winograds_filtering_is_used_only_where_it_is_faster_and_exact(
    monkeypatch: pytest.MonkeyPatch, convolution: nn.Conv2d, side: int, precision: Precision
) -> None:
    monkeypatch.setattr("papagaio.training.winograd.convolve", lambda *_: pytest.fail("used"))
    fast = placed(convolution, torch.device("cpu"))
    with Machine(precision=precision).autocast():
        fast(torch.zeros(1, convolution.in_channels, side, side, dtype=convolution.weight.dtype))


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6),
        nn.Conv2d(6, 4, 1, padding=1),
        nn.Conv2d(6, 6, 1, groups=2),
        nn.Conv2d(6, 4, 3, padding=1, stride=2),
        nn.Conv2d(6, 4, 3, padding=1, dilation=2),
        nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(6, 6, 3, padding=1, groups=2),
    ],
)
def test_what_is_no_product_stays_a_convolution(convolution: nn.Conv2d) -> None:
    use_products(convolution)
    assert type(convolution) is nn.Conv2d


def test_gradients_are_no_longer_than_the_recipe_allows() -> None:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    recipe = replace(QUICK, clip=1e-3)
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    batch = Batch(pixels, torch.from_numpy(ANSWERS))
    training_step(student, optimisers_for(student, recipe), batch, recipe, MACHINE)
    slopes = [weight.grad.norm() for weight in student.parameters() if weight.grad is not None]
    assert torch.stack(slopes).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_recipe_with_true_labels_wants_them() -> None:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    with pytest.raises(BadSettings, match="pass labels"):
        train(student, IMAGES, FULL, replace(QUICK, alpha=0.1), seed=0, machine=MACHINE)


def test_true_labels_stay_with_their_images() -> None:
    labels = RANDOM.integers(0, 4, 50)
    answers = Answers.of(np.eye(4, dtype=np.float32)[labels])
    losses = []
    for alpha in (0.0, 1.0):
        student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
        recipe = replace(QUICK, alpha=alpha, batch=50, epochs=1)
        (epoch,) = train(student, IMAGES, answers, recipe, seed=0, machine=MACHINE, labels=labels)
        losses.append(epoch.loss)
    # Where the answers are the labels, both parts of the thesis's equation 1 are the same.
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)


def test_a_visitor_sees_every_epoch_and_changes_nothing() -> None:
    seen: list[int] = []
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)

    def visit(epoch: Epoch) -> None:
        seen.append(epoch.number)
        predict(student, IMAGES, MACHINE)

    train(student, IMAGES, FULL, QUICK, seed=0, machine=MACHINE, visit=visit)
    assert seen == [1, 2, 3, 4]
    assert weights(student) == weights(trained())


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    student = trained()
    logits = infer(student, IMAGES, MACHINE, augmentation=("flip",))
    assert predict(student, IMAGES, MACHINE, ("flip",)) == pytest.approx(softmax(logits, axis=1))
