import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torchvision.models import get_model, get_model_weights

from papagaio.errors import BadSettings
from papagaio.networks.classifier import IMAGENET, channel_statistics
from papagaio.networks.headed import Architecture, build_headed
from papagaio.networks.named import OWN, build_student, check_student, default_student

RANDOM = np.random.default_rng(0)
SMALL = RANDOM.integers(0, 256, (20, 8, 8, 1), np.uint8)
NATURAL = RANDOM.integers(0, 256, (20, 32, 32, 3), np.uint8)
LIBRARY = ("timm/resnet18", "torchvision/mobilenet_v2", "timm/vit_tiny_patch16_224")


def logits_of(name: str, images: NDArray[np.uint8], initial: str = "random") -> torch.Tensor:
    student = build_student(name, initial, images, 7, seed=0).eval()
    with torch.inference_mode():
        logits: torch.Tensor = student(torch.from_numpy(images).permute(0, 3, 1, 2))
    return logits


@pytest.mark.parametrize("name", list(OWN))
def test_our_own_students_take_natural_images(name: str) -> None:
    assert logits_of(name, NATURAL).shape == (20, 7)


@pytest.mark.parametrize("side", [8, 12, 23, 24, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_default_student_takes_the_images_it_is_the_default_for(
    side: int, channels: int
) -> None:
    images = RANDOM.integers(0, 256, (2, side, side, channels), np.uint8)
    assert logits_of(default_student((side, side, channels)), images).shape == (2, 7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LIBRARY)
def test_library_students_are_fitted_to_classes_channels_and_size(name: str, channels: int) -> None:
    images = RANDOM.integers(0, 256, (2, 64, 64, channels), np.uint8)
    assert logits_of(name, images).shape == (2, 7)


def test_a_seed_decides_the_initial_weights() -> None:
    assert torch.equal(logits_of("small-cnn", SMALL), logits_of("small-cnn", SMALL))
    other = build_student("small-cnn", "random", SMALL, 7, seed=1)
    one = build_student("small-cnn", "random", SMALL, 7, seed=0)
    assert not torch.equal(other.network[0].weight, one.network[0].weight)  # type: ignore[index]


def test_parameter_counts_are_those_the_documentation_names() -> None:
    small = build_student("small-cnn", "random", SMALL, 10, seed=0)
    natural = build_student("residual-cnn", "random", NATURAL, 10, seed=0)
    counts = [sum(p.numel() for p in student.parameters()) for student in (small, natural)]
    assert counts == [151_306, 1_161_258]


def test_the_default_student_goes_by_the_images_size() -> None:
    assert default_student((8, 8, 1)) == "small-cnn"
    assert default_student((32, 32, 3)) == "residual-cnn"


def test_colours_are_numpys_mean_and_deviation() -> None:
    means, deviations = channel_statistics(NATURAL)
    assert means == pytest.approx((NATURAL / 255).mean((0, 1, 2)))
    assert deviations == pytest.approx((NATURAL / 255).std((0, 1, 2)))


def test_images_of_one_colour_are_not_divided_by_nought() -> None:
    means, deviations = channel_statistics(np.full((2, 4, 4, 1), 51, np.uint8))
    assert means == pytest.approx([0.2])
    # One level: what could be told apart at all.
    assert deviations == [1 / 255]


def test_whitened_patches_have_unit_variance_and_no_correlation() -> None:
    student = build_student("residual-cnn", "random", NATURAL, 10, seed=0)
    pixels = torch.from_numpy(NATURAL).permute(0, 3, 1, 2)
    normalised = (pixels - student.mean) / student.deviation
    weight = student.network[0].weight[:12]  # type: ignore[index]
    found = functional.conv2d(normalised, weight).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(found @ found.T / found.shape[1], torch.eye(12), atol=5e-3)


def test_a_students_file_starts_another_one_with_the_same_answers(tmp_path: Path) -> None:
    student = build_student("small-cnn", "random", SMALL, 7, seed=3)
    save_file(student.state_dict(), tmp_path / "student.safetensors")
    again = build_student("small-cnn", str(tmp_path / "student.safetensors"), SMALL, 7, seed=0)
    pixels = torch.from_numpy(SMALL).permute(0, 3, 1, 2)
    assert torch.allclose(again(pixels), student(pixels), atol=1e-5)


def test_weights_for_other_classes_leave_the_last_layer_random(tmp_path: Path) -> None:
    file = tmp_path / "thousand.safetensors"
    thousand = build_student("timm/resnet18", "random", NATURAL, 1000, seed=1)
    save_file(thousand.network.state_dict(), file)
    student = build_student("timm/resnet18", str(file), NATURAL, 7, seed=0)
    assert torch.equal(student.network.conv1.weight, thousand.network.conv1.weight)  # type: ignore[arg-type,union-attr]
    means = [round(value / 255, 3) for value in student.mean.flatten().tolist()]
    assert means == IMAGENET[0]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file(build_student("small-cnn", "random", SMALL, 7, seed=1).state_dict(), file)
    with pytest.raises(BadSettings, match="does not fit this network"):
        build_student("timm/resnet18", str(file), NATURAL, 7, seed=0)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet18", "timm/resnet18, torchvision/resnet18"),
        ("timm/resnet81", "timm/resnet18"),
        ("torchvision/mobilenetv2", "torchvision/mobilenet_v2"),
        ("smal-cnn", "small-cnn"),
    ],
)
def test_an_unknown_student_is_answered_with_near_names(name: str, near: str) -> None:
    with pytest.raises(BadSettings, match="no such network") as caught:
        build_student(name, "random", SMALL, 7, seed=0)
    assert near in str(caught.value)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where torchvision keeps what it downloaded, and no way to download more."""
    with socket.socket() as unheard:
        # Nobody listens at this port, and nobody else gets it.
        unheard.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unheard.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        yield tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x0_5"])
def test_a_librarys_weights_get_a_last_layer_for_the_classes_at_hand(
    downloads: Path, name: str
) -> None:
    published = get_model(name, weights=None).state_dict()
    downloads.mkdir(parents=True)
    torch.save(published, downloads / Path(get_model_weights(name).DEFAULT.url).name)
    student = build_student(f"torchvision/{name}", "library", NATURAL, 7, seed=0)
    found = student.network.state_dict()
    *before, weight, bias = published
    assert list(found) == list(published)
    assert all(torch.equal(found[one], published[one]) for one in before)
    assert found[weight].shape == (7, published[weight].shape[1])
    assert found[bias].shape == (7,)
    assert logits_of(f"torchvision/{name}", NATURAL, "library").shape == (20, 7)


@pytest.mark.usefixtures("downloads")
def test_weights_that_cannot_be_fetched_are_named() -> None:
    with pytest.raises(
        BadSettings, match=r"torchvision/mobilenet_v2: its weights could not be fetched"
    ):
        build_student("torchvision/mobilenet_v2", "library", NATURAL, 7, seed=0)
    with pytest.raises(BadSettings, match=r"could not be fetched .* give a safetensors file"):
        build_headed(Architecture("torchvision/mobilenet_v2"), "library", (32, 32, 3), 7, seed=0)


def test_our_own_students_have_no_library_weights() -> None:
    with pytest.raises(BadSettings, match="no pre-trained weights"):
        build_student("small-cnn", "library", SMALL, 7, seed=0)


def test_a_student_that_cannot_take_the_images_is_found_out_beforehand() -> None:
    with pytest.raises(BadSettings, match="8"):
        check_student("torchvision/alexnet", "random", (8, 8, 3), 7)


def started(kind: str, initial: str) -> nn.Module:
    if kind == "headed":
        architecture = Architecture("torchvision/mobilenet_v2")
        return build_headed(architecture, initial, (32, 32, 3), 7, seed=0).network
    return build_student("residual-cnn", initial, NATURAL, 7, seed=0).network


@pytest.mark.parametrize("kind", ["headed", "own"])
def test_weights_saved_from_data_parallel_are_named_as_such(tmp_path: Path, kind: str) -> None:
    file, weights = tmp_path / "parallel.safetensors", started(kind, "random").state_dict()
    weights = {f"module.{name}": tensor.contiguous() for name, tensor in weights.items()}
    save_file(weights, file)
    with pytest.raises(BadSettings, match=r"saved from DataParallel.*removeprefix") as caught:
        started(kind, str(file))
    assert caught.value.field == "initial"
    # Following the message helps.
    save_file({name.removeprefix("module."): tensor for name, tensor in weights.items()}, file)
    own = started(kind, str(file)).state_dict()
    assert all(torch.equal(own[name.removeprefix("module.")], t) for name, t in weights.items())


def test_messages_name_fields_and_no_options_of_the_command_line() -> None:
    caught = []
    for name, initial in (("resnet18", "random"), ("small-cnn", "library")):
        with pytest.raises(BadSettings) as one:
            build_student(name, initial, SMALL, 7, seed=0)
        caught.append(one.value)
    assert [error.field for error in caught] == ["students", "initial"]
    assert not any("--" in str(error) for error in caught)
