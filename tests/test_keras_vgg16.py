"""VGG16's weights in the file that Keras publishes, made up here in its layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import papagaio_thesis.run as run_module
from papagaio.errors import BadSettings
from papagaio.networks.headed import Architecture, build_headed
from papagaio.networks.keras_vgg16 import KERAS_VGG16, read_keras_vgg16
from papagaio_thesis.initial import initial_weights, initial_words, starts_from_keras
from papagaio_thesis.options import StudyOptions, read_options
from papagaio_thesis.run import reproduce
from papagaio_thesis.settings import ReproduceSettings

h5py: Any = pytest.importorskip("h5py", reason="the extra keras is not installed")

BLOCKS = {1: (64, 2), 2: (128, 2), 3: (256, 3), 4: (512, 3), 5: (512, 3)}
VGG16 = "torchvision/vgg16"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the names and shapes of the published one, and small random values."""
    path = tmp_path_factory.mktemp("keras") / KERAS_VGG16
    random, width = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for block, (wide, size) in BLOCKS.items():
            for number in range(1, size + 1):
                name = f"block{block}_conv{number}"
                layer = file.create_group(name)
                kernel = random.normal(0, 0.02, (3, 3, width, wide)).astype(np.float32)
                layer[f"{name}_W_1:0"] = kernel
                layer[f"{name}_b_1:0"] = random.normal(0, 0.1, wide).astype(np.float32)
                width = wide
            file.create_group(f"block{block}_pool")
    return path


def convolved(
    image: NDArray[np.float64], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Keras's convolution with `same` padding: (H, W, in) and (3, 3, in, out) -> (H, W, out)."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    parts = [padded[i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(3, 3)]
    return np.asarray(bias + np.sum(parts, axis=0), np.float64)


def test_the_layers_compute_what_kerass_kernels_compute(published: Path) -> None:
    network = build_headed(
        Architecture(VGG16, normalisation="caffe"), str(published), (32, 32, 3), 10, seed=0
    )
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    # Blue first, and the mean subtracted.
    seen = image[..., ::-1] - np.array([103.939, 116.779, 123.68])
    with h5py.File(published) as file:
        for number in (1, 2):
            name = f"block1_conv{number}"
            layer = file[name]
            seen = convolved(seen, layer[f"{name}_W_1:0"][:], layer[f"{name}_b_1:0"][:])
            seen = np.maximum(seen, 0)
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        given = network.network.blue_first(network.normalised(pixels))  # type: ignore[operator]
        found = network.network.features[:4](given)[0]  # type: ignore[index,operator]
    assert found.permute(1, 2, 0).numpy() == pytest.approx(seen, abs=1e-3)


def test_every_layer_is_where_torchvision_has_it(published: Path) -> None:
    state = build_headed(Architecture(VGG16), "random", (32, 32, 3), 10, seed=0).network.features
    assert isinstance(state, torch.nn.Module)
    found = {name: tuple(tensor.shape) for name, tensor in read_keras_vgg16(published).items()}
    assert found == {name: tuple(tensor.shape) for name, tensor in state.state_dict().items()}


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / KERAS_VGG16
    path.write_bytes(b"nothing")
    with pytest.raises(BadSettings, match="not VGG16's weights as Keras publishes them"):
        read_keras_vgg16(path)
    with h5py.File(path, "w") as file:
        file.create_group("block1_conv1")
    with pytest.raises(BadSettings, match="not VGG16's weights as Keras publishes them"):
        read_keras_vgg16(path)


def test_a_folder_of_weights_may_hold_the_published_file_and_its_form_is_implied(
    tmp_path: Path, published: Path
) -> None:
    folder = published.parent
    assert initial_weights(VGG16, "imagenet", folder) == str(published)
    assert initial_words(str(published)).startswith(f"{KERAS_VGG16} (SHA-256 ")
    assert starts_from_keras(folder)
    assert not starts_from_keras(None)
    assert read_options(keras=True).images.normalisation == "caffe"
    # What is stated is not overruled.
    (tmp_path / "own.toml").write_text("[images]\nnormalisation = 'tf'\n")
    assert read_options(own=tmp_path / "own.toml", keras=True).images.normalisation == "tf"
    # A file in Papagaio's own form comes first.
    both = tmp_path / "both"
    both.mkdir()
    (both / KERAS_VGG16).touch()
    assert starts_from_keras(both)
    save_file({"0": torch.zeros(1)}, both / "vgg16_imagenet.safetensors")
    assert not starts_from_keras(both)


def test_a_run_that_starts_from_the_published_file_records_its_form(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[StudyOptions] = []
    monkeypatch.setattr(run_module, "check_requirements", lambda *_: None)
    monkeypatch.setattr(run_module, "_run", lambda _, options, *__: used.append(options))
    (tmp_path / "stand-in").touch()
    for stand_in in (None, tmp_path / "stand-in"):
        reproduce(
            ReproduceSettings(
                weights_dir=published.parent, stand_in=stand_in, studies=(), out=tmp_path / "run"
            )
        )
    # A stand-in has its own form.
    assert [options.images.normalisation for options in used] == ["caffe", "torch"]
