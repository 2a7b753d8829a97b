from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from papagaio.errors import BadSettings
from papagaio.networks.classifier import Classifier
from papagaio.networks.freezing import freeze, set_training_mode, split
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.networks.named import build_student
from papagaio.progress import Message, Step, no_progress
from papagaio.responses import Answers
from papagaio.training import feed
from papagaio.training.checkpoint import Checkpoints
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 32, 32, 3), np.uint8)
ANSWERS = Answers.of(RANDOM.dirichlet(np.ones(10), 40).astype(np.float32))
MOBILE = Architecture("torchvision/mobilenet_v2", Head(widths=(16,)))


def small_chain(*, norm: bool = False, dropped: bool = False) -> Classifier:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, stride=4), nn.ReLU()]
    layers += [nn.Dropout(0.5)] if dropped else []
    layers += [nn.BatchNorm2d(8)] if norm else []
    layers += [nn.Sequential(nn.Conv2d(8, 8, 3, stride=4), nn.ReLU()), nn.Flatten()]
    layers += [nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)]
    return Classifier(nn.Sequential(*layers), ([0.5] * 3, [0.25] * 3))


class CountingFeatures:
    """Counts how often the features of a variant are computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, compute = 0, feed.compute_variant

        def counting(*given: Any, **more: Any) -> torch.Tensor:  # noqa: ANN401  # handed on
            self.times += 1
            return compute(*given, **more)

        monkeypatch.setattr(feed, "compute_variant", counting)


def learning(network: nn.Module) -> list[str]:
    return [name for name, weight in network.named_parameters() if weight.requires_grad]


def test_the_last_layers_learn_and_the_others_do_not() -> None:
    student = small_chain()
    freeze(student, 2)
    assert {name.rsplit(".", 1)[0] for name in learning(student)} == {"network.4", "network.6"}
    freeze(student, None)
    assert len(learning(student)) == 8


def test_normalisation_belongs_to_the_layer_before_it() -> None:
    student = small_chain(norm=True)
    freeze(student, 3)
    assert not any(name.startswith("network.2") for name in learning(student))
    freeze(student, 4)
    assert any(name.startswith("network.2") for name in learning(student))


def test_frozen_normalisation_keeps_its_statistics() -> None:
    student = small_chain(norm=True)
    freeze(student, 2)
    set_training_mode(student)
    before = student.network[2].running_mean.clone()  # type: ignore[index]
    student(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert torch.equal(before, student.network[2].running_mean)  # type: ignore[index]
    freeze(student, None)
    set_training_mode(student)
    student(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert not torch.equal(before, student.network[2].running_mean)  # type: ignore[index]


@pytest.mark.parametrize("layers", [0, 5])
def test_more_layers_than_there_are_cannot_learn(layers: int) -> None:
    with pytest.raises(BadSettings, match="the network has 4"):
        freeze(small_chain(), layers)


def test_a_split_student_gives_the_same_logits() -> None:
    student = build_headed(MOBILE, "random", (32, 32, 3), 10, seed=0).eval()
    freeze(student, 5)
    front, rest = split(student)
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    assert front is not None
    assert torch.equal(rest(front(pixels)), student(pixels))


def test_what_learns_from_the_first_layer_on_is_not_split() -> None:
    student = small_chain()
    assert split(student) == (None, student)


@pytest.mark.parametrize(
    "variants",
    [
        Variants(),
        Variants(flip=0.5),
        Variants(0.5, (0.8, 1.2), 0.5),
        Variants(0, (0.5,), 1),
        # Factors that are never used: the mirrored image is the second variant, not the third.
        Variants(0.5, (0.8,), 0),
    ],
)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_frozen_layers_computed_once_learn_the_same_bit_for_bit(
    variants: Variants, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("frozen", epochs=3, batch=16, variants=variants)
    whole, parted = small_chain(), small_chain()
    for student in (whole, parted):
        freeze(student, layers)
    stored = CountingFeatures(monkeypatch)
    b = train(parted, IMAGES, ANSWERS, recipe, seed=1, machine=Machine())
    assert stored.times == len(variants)
    monkeypatch.setattr(feed, "_MOST_FEATURES", 0)
    a = train(whole, IMAGES, ANSWERS, recipe, seed=1, machine=Machine())
    assert stored.times == len(variants)
    assert a == b
    for mine, theirs in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_nothing_is_dropped_in_front_of_frozen_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("frozen", epochs=2, batch=16)
    curves = []
    for most in (6e9, 0):
        monkeypatch.setattr(feed, "_MOST_FEATURES", most)
        student = small_chain(dropped=True)
        freeze(student, 2)
        curves.append(train(student, IMAGES, ANSWERS, recipe, seed=1, machine=Machine()))
    assert curves[0] == curves[1]


def test_a_front_is_not_stored_where_that_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = CountingFeatures(monkeypatch)
    augmented, tiny = small_chain(), build_student("residual-cnn", "random", IMAGES, 10, seed=0)
    freeze(augmented, 2)
    for student, augmentation in ((augmented, ("flip",)), (tiny, ())):
        recipe = Recipe("frozen", epochs=1, batch=20, augmentation=augmentation)  # type: ignore[arg-type]
        train(student, IMAGES, ANSWERS, recipe, seed=1, machine=Machine())
    # The whitening of residual-cnn is a front too, and cheaper to compute than to look up.
    assert split(tiny)[0] is not None
    assert stored.times == 0


def test_frozen_features_are_computed_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ROWS_AT_ONCE", 15)
    student, told = small_chain(), list[Step | Message]()
    freeze(student, 2)
    recipe = Recipe("frozen", epochs=2, batch=16, variants=Variants(flip=0.5))
    train(student, IMAGES, ANSWERS, recipe, seed=1, machine=Machine(), progress=told.append)
    steps = [step for step in told if isinstance(step, Step)]
    features = [step for step in steps if step.task == "frozen features"]
    assert [step.done for step in features] == [15, 30, 40, 55, 70, 80]
    assert {(step.total, step.unit) for step in features} == {(80, "images")}
    # All of it before the first epoch.
    assert steps[: len(features)] == features


def test_frozen_layers_of_the_thesiss_teacher_computed_once_learn_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(
        "frozen", epochs=2, batch=20, rate=1e-4, variants=Variants(0.5, (0.8, 1.2), 0.5)
    )
    design = Architecture("torchvision/vgg16")
    whole = build_headed(design, "random", (32, 32, 3), 10, seed=0)
    parted = build_headed(design, "random", (32, 32, 3), 10, seed=0)
    for student in (whole, parted):
        freeze(student, 4)
    b = train(parted, IMAGES, ANSWERS, recipe, seed=1, machine=Machine())
    monkeypatch.setattr(feed, "_MOST_FEATURES", 0)
    a = train(whole, IMAGES, ANSWERS, recipe, seed=1, machine=Machine())
    # Convolutions of another number of images at once may add in another order.
    assert [e.loss for e in a] == pytest.approx([e.loss for e in b], rel=1e-5)
    for mine, theirs in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=2e-5)


# variants


def test_every_variant_is_what_its_number_says() -> None:
    variants = Variants(0.5, (0.5, 2.0), 0.5)
    pixels = torch.from_numpy(IMAGES[:6])
    seen = variants.apply(pixels, torch.arange(6)).numpy()
    for number in range(6):
        image = IMAGES[number][:, ::-1] if number >= 3 else IMAGES[number]
        factor = (1.0, 0.5, 2.0)[number % 3]
        assert np.array_equal(seen[number], np.clip(np.rint(image * factor), 0, 255))


def test_a_frozen_front_is_shown_every_variant_of_every_image_part_by_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "ROWS_AT_ONCE", 7)
    pixels = torch.from_numpy(IMAGES)
    variants = Variants(0.5, (0.5,), 0.5)
    for number in range(4):
        features = feed.compute_variant(
            nn.Flatten(), pixels, variants, number, machine=Machine(), progress=no_progress
        )
        images = IMAGES[:, :, ::-1] if number >= 2 else IMAGES
        shown = np.rint(images * (1.0, 0.5)[number % 2])
        assert np.array_equal(features.numpy(), shown.transpose(0, 3, 1, 2).reshape(40, -1))


def test_variants_are_drawn_as_often_as_they_are_to_be() -> None:
    variants = Variants(0.25, (0.8, 1.2), 0.6)
    torch.manual_seed(0)
    drawn = variants.draw(40_000, torch.device("cpu")).numpy()
    share = np.bincount(drawn, minlength=6) / len(drawn)
    expected = [m * f for m in (0.75, 0.25) for f in (0.4, 0.3, 0.3)]
    assert share == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("variants", "count"),
    [
        (Variants(), 1),
        (Variants(flip=1), 2),
        (Variants(0, (0.8,), 1), 2),
        (Variants(0, (0.8,), 0), 1),
        (Variants(0.5, (0.8, 1.2), 0), 2),
        (Variants(0.5, (), 0.5), 2),
        (Variants(0.5, (0.8, 1.2), 0.5), 6),
        (Variants(1, (0.8, 1.2), 1), 6),
    ],
)
def test_variants_that_cannot_occur_are_not_counted(variants: Variants, count: int) -> None:
    assert len(variants) == count
    assert set(variants.draw(500, torch.device("cpu")).tolist()) <= set(range(count))


def test_features_are_kept_for_other_trainings_and_only_where_they_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = CountingFeatures(monkeypatch)
    recipe = Recipe("r", epochs=2, batch=8, variants=Variants(flip=0.5))

    def weights(
        design: Architecture, images: np.ndarray, kept: Path | None, recipe: Recipe = recipe
    ) -> dict[str, torch.Tensor]:
        student = build_headed(design, "random", (32, 32, 3), 10, seed=0)
        freeze(student, len(design.head.widths) + 1)
        checkpoints = Checkpoints(tmp_path / "checkpoint", seconds=1e9, features=kept)
        answers = Answers.of(ANSWERS.scores[: len(images)])
        train(student, images, answers, recipe, seed=0, machine=Machine(), checkpoints=checkpoints)
        return student.state_dict()

    alone = weights(MOBILE, IMAGES, None)
    first, again = (weights(MOBILE, IMAGES, tmp_path / "kept") for _ in range(2))
    assert counted.times == 4
    assert all(torch.equal(alone[n], first[n]) and torch.equal(alone[n], again[n]) for n in alone)
    # Other dense layers see the same features; everything else that differs is computed anew.
    weights(replace(MOBILE, head=Head(widths=(24,), dropout=0.5)), IMAGES, tmp_path / "kept")
    assert counted.times == 4
    # An interruption costs the variant that it interrupted.
    _, mirrored = sorted((tmp_path / "kept").glob("*.features"))
    mirrored.unlink()
    resumed = weights(MOBILE, IMAGES, tmp_path / "kept")
    assert counted.times == 5
    assert all(torch.equal(alone[n], resumed[n]) for n in alone)
    weights(replace(MOBILE, normalisation="tf"), IMAGES, tmp_path / "kept")
    weights(replace(MOBILE, normalisation="caffe"), IMAGES, tmp_path / "kept")
    weights(replace(MOBILE, side=48), IMAGES, tmp_path / "kept")
    weights(replace(MOBILE, head=Head("flatten", (16,))), IMAGES[:20], tmp_path / "kept")
    other = replace(recipe, variants=Variants(0.5, (0.5,), 0.5))
    weights(MOBILE, IMAGES, tmp_path / "kept", other)
    assert counted.times == 5 + 4 * 2 + 4


# networks with dense layers of one's own


def test_the_thesiss_teacher_has_14_8_million_parameters() -> None:
    student = build_headed(Architecture("torchvision/vgg16"), "random", (32, 32, 3), 10, seed=0)
    convolutions = sum(
        weight.numel() for name, weight in student.named_parameters() if "features" in name
    )
    assert convolutions == 14_714_688
    assert sum(weight.numel() for weight in student.parameters()) == 14_781_642


@pytest.mark.parametrize(
    ("head", "side", "dense"),
    [
        (Head("mean", (128,)), 0, 1280 * 128 + 128 + 128 * 10 + 10),
        (Head("flatten", (64,)), 64, 1280 * 4 * 64 + 64 + 64 * 10 + 10),
        (Head("mean", ()), 0, 1280 * 10 + 10),
        (Head("mean", (32, 16), 0.5), 0, 1280 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10),
    ],
)
def test_the_dense_layers_are_as_wide_as_they_are_to_be(head: Head, side: int, dense: int) -> None:
    design = Architecture("torchvision/mobilenet_v2", head, side)
    student = build_headed(design, "random", (32, 32, 3), 10, seed=0)
    found = sum(w.numel() for n, w in student.named_parameters() if "classifier" in n)
    assert found == dense
    assert student(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 10)


def test_the_three_forms_of_normalisation_are_what_they_are_called() -> None:
    pixels = torch.from_numpy(IMAGES[:2]).permute(0, 3, 1, 2)
    mean = np.array([0.485, 0.456, 0.406]) * 255
    exact = IMAGES[:2].astype(float)
    expected = {
        "torch": (exact - mean) / (np.array([0.229, 0.224, 0.225]) * 255),
        "tf": exact / 127.5 - 1,
        "caffe": (exact - [123.68, 116.779, 103.939])[..., ::-1],
    }
    for name, wanted in expected.items():
        design = Architecture("torchvision/mobilenet_v2", normalisation=name)  # type: ignore[arg-type]
        student = build_headed(design, "random", (32, 32, 3), 10, seed=0)
        seen = student.normalised(pixels)
        if name == "caffe":
            seen = student.network.blue_first(seen)  # type: ignore[operator]
        assert seen.permute(0, 2, 3, 1).numpy() == pytest.approx(wanted, abs=1e-3)


def test_convolutions_start_from_a_file_and_dense_layers_at_random(tmp_path: Path) -> None:
    one = build_headed(MOBILE, "random", (32, 32, 3), 10, seed=1)
    file = tmp_path / "weights.safetensors"
    save_file({n: t.contiguous() for n, t in one.network.state_dict().items()}, file)
    same = build_headed(MOBILE, str(file), (32, 32, 3), 10, seed=2)
    other = build_headed(
        Architecture(MOBILE.body, Head(widths=(24,))), str(file), (32, 32, 3), 10, seed=2
    )
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, same.network.state_dict()[name])
        if name.startswith("features"):
            assert torch.equal(tensor, other.network.state_dict()[name])
    save_file({"features.0.0.weight": torch.zeros(1)}, file)
    with pytest.raises(BadSettings, match="does not fit this network"):
        build_headed(MOBILE, str(file), (32, 32, 3), 10, seed=2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("vgg16", "write torchvision/NAME or timm/NAME"),
        ("torchvision/vgg61", "cannot load its convolutional layers"),
        ("torchvision/resnet18", "cannot load its convolutional layers"),
        ("timm/nothing", "cannot load its convolutional layers"),
        ("timm/vit_tiny_patch16_224", "does not take images|no planes"),
    ],
)
def test_a_body_that_is_none_is_refused(body: str, message: str) -> None:
    with pytest.raises(BadSettings, match=message):
        build_headed(Architecture(body), "random", (32, 32, 3), 10, seed=0)


def test_weights_are_taken_by_the_librarys_own_names_and_by_a_students(tmp_path: Path) -> None:
    one = build_headed(MOBILE, "random", (32, 32, 3), 10, seed=1)
    state = {name: tensor.contiguous() for name, tensor in one.state_dict().items()}
    save_file(state, tmp_path / "student.safetensors")
    body = {
        name.removeprefix("network.features."): tensor
        for name, tensor in state.items()
        if "features" in name
    }
    save_file(body, tmp_path / "body.safetensors")
    for file in ("student", "body"):
        path = str(tmp_path / f"{file}.safetensors")
        other = build_headed(MOBILE, path, (32, 32, 3), 10, seed=2).state_dict()
        assert all(torch.equal(state[n], other[n]) for n in state if "features" in n)
        assert torch.equal(
            state["network.classifier.0.weight"], other["network.classifier.0.weight"]
        ) is (file == "student")


def test_grey_images_are_repeated_to_three_channels() -> None:
    student = build_headed(MOBILE, "random", (32, 32, 1), 4, seed=0)
    assert student(torch.zeros(2, 1, 32, 32, dtype=torch.uint8)).shape == (2, 4)
