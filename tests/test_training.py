from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import nn

from papagaio.errors import BadSettings, Diverged
from papagaio.progress import Step
from papagaio.responses import centred_log
from papagaio.students.named import build_student
from papagaio.training.augmentation import AUGMENTATIONS, Augmentation, views
from papagaio.training.loop import (
    Batch,
    Checkpoints,
    Epoch,
    infer,
    optimisers_for,
    predict,
    train,
    training_step,
)
from papagaio.training.losses import Loss, loss_of, spread_of, targets_of
from papagaio.training.machine import Machine
from papagaio.training.muon import convolutions_before_norm, orthogonal
from papagaio.training.products import use_products
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named, recipe_names

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (50, 8, 8, 1), np.uint8)
ANSWERS = np.asarray(softmax(RANDOM.normal(0, 3, (50, 4)), axis=1), np.float32)
QUICK = Recipe("quick", optimiser="adamw", rate=1e-3, schedule="one-cycle", batch=16, epochs=4)
MACHINE = Machine()


def trained(
    recipe: Recipe = QUICK, seed: int = 0, checkpoints: Checkpoints | None = None
) -> nn.Module:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=seed)
    train(student, IMAGES, ANSWERS, recipe, seed=seed, machine=MACHINE, checkpoints=checkpoints)
    return student


def weights(network: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())


# losses


def test_cross_entropy_at_temperature_1_is_the_thesiss_equation_2() -> None:
    logits = RANDOM.normal(0, 2, (6, 4))
    targets = targets_of("cross-entropy", 1, 0, ANSWERS[:6])
    expected = -(ANSWERS[:6] * log_softmax(logits, axis=1)).sum(1).mean()
    found = loss_of("cross-entropy", 1, torch.tensor(logits), torch.tensor(targets))
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [2.0, 4.0, 20.0])
def test_stored_probabilities_give_every_temperature(temperature: float) -> None:
    logits = RANDOM.normal(0, 3, (6, 4))
    stored = np.asarray(softmax(logits, axis=1), np.float32)
    found = targets_of("cross-entropy", temperature, 0, stored)
    assert found == pytest.approx(softmax(logits / temperature, axis=1), abs=1e-6)


@pytest.mark.parametrize(("loss", "power"), [("centred-l1", 1), ("centred-l2", 2)])
def test_centred_losses_compare_logits_up_to_a_constant(loss: Loss, power: int) -> None:
    logits = RANDOM.normal(0, 3, (6, 4))
    stored = np.asarray(softmax(RANDOM.normal(0, 3, (6, 4)), axis=1), np.float32)
    targets = targets_of(loss, 1, 0, stored)
    centred = logits - logits.mean(1, keepdims=True)
    expected = (np.abs(centred - centred_log(stored)) ** power).mean()
    found = loss_of(loss, 1, torch.tensor(logits + 7), torch.tensor(targets))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_smoothing_spreads_a_share_of_the_target_evenly() -> None:
    one_hot = np.eye(4, dtype=np.float32)
    found = targets_of("cross-entropy", 1, 0.1, one_hot)
    assert found == pytest.approx(one_hot * 0.9 + 0.025)


def test_logits_are_learned_in_units_of_their_spread() -> None:
    assert spread_of("cross-entropy", ANSWERS) == 1
    assert spread_of("centred-l2", ANSWERS) == pytest.approx(centred_log(ANSWERS).std())


# recipes


def test_one_cycle_climbs_for_a_fifth_and_falls_to_nothing() -> None:
    shares = [QUICK.share_of_rate(part) for part in (0, 0.1, 0.2, 0.6, 1)]
    assert shares == pytest.approx([0.1, 0.55, 1, 0.5, 0])
    assert replace(QUICK, schedule="constant").share_of_rate(0.7) == 1


def test_few_images_are_seen_for_more_epochs_where_steps_are_wanted() -> None:
    recipe = replace(QUICK, epochs=2, least_steps=100)
    assert recipe.epochs_for(32) == 50
    assert recipe.epochs_for(16_000) == 2


def test_augmentation_fades_further_the_more_images_there_are() -> None:
    recipe = replace(QUICK, fade=500)
    assert recipe.strength(1, 500) == recipe.strength(0, 5000) == 1
    assert recipe.strength(1, 5000) == pytest.approx(0.1)
    assert QUICK.strength(1, 5000) == 1


@pytest.mark.parametrize("side", [8, 32])
def test_every_recipe_exists_for_small_and_for_natural_images(side: int) -> None:
    for name in recipe_names():
        assert recipe_named(name, (side, side, 3)).name == name
    assert {default_recipe("label"), default_recipe("top-3")} <= set(recipe_names())


def test_the_thesiss_recipe_is_as_written_there() -> None:
    thesis = recipe_named("thesis", (32, 32, 3))
    assert (thesis.loss, thesis.temperature, thesis.augmentation) == ("cross-entropy", 1, ())
    assert (thesis.optimiser, thesis.rate, thesis.schedule) == ("adam", 1e-3, "constant")
    assert (thesis.batch, thesis.epochs, thesis.smoothing, thesis.muon) == (32, 100, 0, 0)


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


# Muon


def test_muons_step_is_nearly_orthogonal() -> None:
    for shape in ((8, 20), (20, 8)):
        singular = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert singular.min() > 0.4
        assert singular.max() < 1.4


def test_muon_takes_convolutions_before_a_normalisation_and_no_others() -> None:
    network = build_student(
        "residual-cnn", "random", np.zeros((4, 32, 32, 3), np.uint8), 10, seed=0
    )
    assert len(convolutions_before_norm(network)) == 6
    assert convolutions_before_norm(build_student("small-cnn", "random", IMAGES, 4, seed=0)) == []


# the loop


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

    def stop(step: Step) -> None:
        # Told before the checkpoint of its epoch is written: the next start redoes that epoch.
        if step.done == stopped_after:
            raise Killed

    first = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    with pytest.raises(Killed):
        train(
            first,
            IMAGES,
            ANSWERS,
            recipe,
            seed=0,
            machine=MACHINE,
            checkpoints=checkpoints,
            watch=stop,
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
            ANSWERS[:16],
            replace(recipe, epochs=epochs, schedule="constant"),
            seed=0,
            machine=MACHINE,
            checkpoints=checkpoints,
        )
        return student

    checkpoints = Checkpoints(tmp_path / "checkpoint", 0)
    run(checkpoints, 2)
    assert weights(run(checkpoints, 4)) == weights(run(None, 4))


def test_the_caller_s_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_stops_with_its_step() -> None:
    with pytest.raises(Diverged, match=r"epoch 1, step \d"):
        trained(replace(QUICK, rate=1e30, schedule="constant", optimiser="adam"))


def test_the_curve_has_one_record_an_epoch_and_the_loss_falls() -> None:
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
    curve = train(student, IMAGES, ANSWERS, replace(QUICK, epochs=30), seed=0, machine=MACHINE)
    assert [epoch.number for epoch in curve] == list(range(1, 31))
    assert curve[-1].loss < curve[0].loss
    assert curve[-1].agreement > curve[0].agreement


def test_a_frozen_weight_stays_as_it_was() -> None:
    images = RANDOM.integers(0, 256, (16, 24, 24, 3), np.uint8)
    student = build_student("residual-cnn", "random", images, 4, seed=0)
    frozen = [p.clone() for p in student.parameters() if not p.requires_grad]
    train(student, images, ANSWERS[:16], QUICK, seed=0, machine=MACHINE)
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
        answers_of_a_linear_box(images[:500]),
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
            monkeypatch.setattr("papagaio.training.loop.Graphed", lambda step: step)
        student = build_student("small-cnn", "random", IMAGES, 4, seed=0)
        curve = train(student, IMAGES, ANSWERS, recipe, seed=0, machine=Machine("cuda"))
        found.append([epoch.loss for epoch in curve])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("side", [1, 2, 8, 9])
@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 4, 1),
        nn.Conv2d(6, 4, 1, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 4, 1, stride=2),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 1, groups=2),
    ],
)
def test_convolutions_as_products_give_and_learn_the_same(
    convolution: nn.Conv2d, side: int
) -> None:
    product = deepcopy(convolution)
    use_products(product)
    found = []
    for one in (convolution, product):
        images = torch.randn(3, 6, side, side, generator=torch.Generator().manual_seed(0))
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        one.zero_grad()
        made = one(images)
        made.square().sum().backward()
        slopes = [weight.grad for weight in one.parameters()]
        found.append([made.detach(), images.grad, *slopes])
    for mine, theirs in zip(*found, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    assert list(product.state_dict()) == list(convolution.state_dict())


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
    with pytest.raises(BadSettings, match="give it labels"):
        train(student, IMAGES, ANSWERS, replace(QUICK, alpha=0.1), seed=0, machine=MACHINE)


def test_a_visitor_sees_every_epoch_and_changes_nothing() -> None:
    seen: list[int] = []
    student = build_student("small-cnn", "random", IMAGES, 4, seed=0)

    def visit(epoch: Epoch) -> None:
        seen.append(epoch.number)
        predict(student, IMAGES, MACHINE)

    train(student, IMAGES, ANSWERS, QUICK, seed=0, machine=MACHINE, visit=visit)
    assert seen == [1, 2, 3, 4]
    assert weights(student) == weights(trained())


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    student = trained()
    logits = infer(student, IMAGES, MACHINE, ("flip",))
    assert predict(student, IMAGES, MACHINE, ("flip",)) == pytest.approx(softmax(logits, axis=1))
