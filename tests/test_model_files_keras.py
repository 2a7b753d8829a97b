"""Models in Keras files: they answer as they do in Keras."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from conftest import Papagaio
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.blackboxes.contract import Declaration, checked_answers
from papagaio.blackboxes.named import open_black_box, read_model
from papagaio.errors import BadSettings

if TYPE_CHECKING:
    from keras import Model

# Of Keras's own variables, when it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
SUFFIXES = ("keras", "h5")
NAMES = ("model.keras", "model.h5", "model.tflite", "model.onnx")


@pytest.fixture
def keras() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    module: ModuleType = pytest.importorskip("keras", reason="the extra keras is not installed")
    module.utils.set_random_seed(1)
    return module


def small_cnn(keras: ModuleType, activation: str | None, dtype: str = "float32") -> "Model":
    layers = keras.layers
    images = keras.Input((6, 5, 3), dtype=dtype)
    planes = layers.Conv2D(4, 3, activation="relu")(images)
    planes = layers.Dropout(0.5)(layers.BatchNormalization()(planes))
    return keras.Model(images, layers.Dense(4, activation, name="top")(layers.Flatten()(planes)))


def saved(model: "Model", file: Path) -> Path:
    model.save(file)
    return file


def own_answers(model: "Model", pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(model(pixels, training=False).cpu().numpy())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_keras_file_answers_as_keras_does(
    keras: ModuleType, tmp_path: Path, suffix: str, activation: str | None
) -> None:
    model = small_cnn(keras, activation)
    file = saved(model, tmp_path / f"model.{suffix}")
    box = open_black_box(str(file), Declaration(scale="0..1"))
    assert box.contract.shape == (6, 5, 3)
    assert box.contract.classes == 4
    own = own_answers(model, (IMAGES / 255).astype(np.float32))
    expected = own if activation else softmax(own, axis=1)
    answers = checked_answers(box, IMAGES)
    assert answers == pytest.approx(expected, abs=1e-6)
    assert len(np.unique(answers[:, 0].round(4))) > 3


def test_a_keras_file_is_known_by_its_contents(keras: ModuleType, tmp_path: Path) -> None:
    declared = Declaration(scale="0..1")
    files = [saved(small_cnn(keras, None), tmp_path / f"{number}.keras") for number in range(2)]
    one, again, other = (
        open_black_box(str(file), declared).identity for file in (files[0], *files)
    )
    assert one == again
    assert one != other


def test_a_keras_file_that_takes_bytes_needs_no_scale(keras: ModuleType, tmp_path: Path) -> None:
    images = keras.Input((6, 5, 3), dtype="uint8")
    layers = keras.layers
    flat = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, layers.Dense(4)(flat))
    box = open_black_box(str(saved(model, tmp_path / "model.keras")))
    assert box.answer(IMAGES) == pytest.approx(softmax(own_answers(model, IMAGES), 1), abs=1e-6)


def test_a_keras_file_in_bfloat16_answers_in_float32(keras: ModuleType, tmp_path: Path) -> None:
    images = keras.Input((6, 5, 3))
    layers = keras.layers
    top = layers.Dense(4, dtype="mixed_bfloat16")(layers.Flatten()(images))
    file = saved(keras.Model(images, top), tmp_path / "model.keras")
    answers = checked_answers(open_black_box(str(file), Declaration(scale="0..1")), IMAGES)
    assert answers.shape == (7, 4)


def test_a_sequential_keras_file_built_on_a_batch_answers_any_number(
    keras: ModuleType, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    pixels = (IMAGES / 255).astype(np.float32)
    own = own_answers(model, pixels[:2])
    file = saved(model, tmp_path / "model.keras")
    box = open_black_box(str(file), Declaration(scale="0..1"))
    assert box.answer(IMAGES)[:2] == pytest.approx(softmax(own, axis=1), abs=1e-6)
    assert box.answer(IMAGES).shape == (7, 4)


def test_a_keras_file_with_channels_first_is_recognised(keras: ModuleType, tmp_path: Path) -> None:
    images = keras.Input((3, 6, 5))
    model = keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images)))
    file = saved(model, tmp_path / "model.keras")
    box = open_black_box(str(file), Declaration(scale="0..255"))
    assert box.contract.shape == (6, 5, 3)
    own = own_answers(model, IMAGES.transpose(0, 3, 1, 2).astype(np.float32))
    assert box.answer(IMAGES) == pytest.approx(softmax(own, axis=1), abs=1e-6)


@pytest.mark.parametrize("as_dictionary", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_of_several_outputs_of_a_keras_file_has_to_be_named(
    keras: ModuleType, tmp_path: Path, suffix: str, *, as_dictionary: bool
) -> None:
    layers = keras.layers
    images = keras.Input((6, 5, 3))
    flat = layers.Flatten()(images)
    both = [layers.Dense(4, name="scores")(flat), layers.Dense(2, name="box")(flat)]
    outputs = {"z": both[0], "a": both[1]} if as_dictionary else both
    file = saved(keras.Model(images, outputs), tmp_path / f"model.{suffix}")
    with pytest.raises(BadSettings, match=r"has the outputs .*; name the one with the scores"):
        open_black_box(str(file), Declaration(scale="0..1"))
    with pytest.raises(BadSettings, match=r"^output other: "):
        open_black_box(str(file), Declaration(scale="0..1", output="other"))
    for name, classes in (("scores", 4), ("box", 2)):
        box = open_black_box(str(file), Declaration(scale="0..1", output=name))
        assert box.contract.classes == classes


def test_outputs_of_one_keras_layer_are_told_apart(keras: ModuleType, tmp_path: Path) -> None:
    images = keras.Input((6, 5, 3))
    top = keras.layers.Dense(4, name="top")
    flat = keras.layers.Flatten()(images)
    model = keras.Model(images, [top(flat), top(flat * 2)])
    file = saved(model, tmp_path / "model.keras")
    with pytest.raises(BadSettings, match="has the outputs top:0, top:1"):
        read_model(str(file))
    own = model((IMAGES / 255).astype(np.float32))
    for name, expected in zip(("top:0", "top:1"), own, strict=True):
        box = open_black_box(str(file), Declaration(scale="0..1", output=name))
        scores = softmax(expected.detach().cpu().numpy(), axis=1)
        assert box.answer(IMAGES) == pytest.approx(scores, abs=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lambda_layer_is_not_run_from_a_keras_file(
    keras: ModuleType, tmp_path: Path, suffix: str
) -> None:
    images = keras.Input((6, 5, 3))
    scaled = keras.layers.Lambda(lambda pixels: pixels / 255)(images)
    model = keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(scaled)))
    file = saved(model, tmp_path / f"model.{suffix}")
    with pytest.raises(BadSettings, match=r"has a Lambda layer, which is Python code") as refusal:
        read_model(str(file))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_class_that_a_keras_file_lacks_is_named(
    keras: ModuleType, tmp_path: Path, suffix: str
) -> None:
    own = type("Own", (keras.layers.Layer,), {"call": lambda _, images: images})
    images = keras.Input((6, 5, 3))
    file = saved(keras.Model(images, own()(images)), tmp_path / f"model.{suffix}")
    with pytest.raises(BadSettings, match="needs the class Own, which is not in the file"):
        read_model(str(file))


def test_a_keras_file_that_takes_something_else_than_images_is_refused(
    keras: ModuleType, tmp_path: Path
) -> None:
    layers = keras.layers
    images, age = keras.Input((6, 5, 3), name="images"), keras.Input((1,), name="age")
    joined = layers.Concatenate()([layers.Flatten()(images), age])
    two = saved(keras.Model([images, age], layers.Dense(4)(joined)), tmp_path / "two.keras")
    with pytest.raises(BadSettings, match="has the inputs images, age; it has to take images only"):
        read_model(str(two))
    words = keras.Input((6,), dtype="int32")
    text = keras.Model(words, layers.Flatten()(layers.Embedding(9, 2)(words)))
    with pytest.raises(BadSettings, match="takes int32; it has to take floats or bytes"):
        read_model(str(saved(text, tmp_path / "text.keras")))


def test_a_keras_file_of_weights_alone_is_refused(keras: ModuleType, tmp_path: Path) -> None:
    small_cnn(keras, None).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(BadSettings, match=r"Keras cannot load it \(No model config found"):
        read_model(str(tmp_path / "model.weights.h5"))


def test_keras_on_another_backend_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.keras").write_text("anything")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(BadSettings, match="set to jax: set the environment variable KERAS_BACKEND"):
        read_model(str(tmp_path / "model.keras"))


def test_keras_that_another_package_set_to_another_backend_is_refused(
    keras: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.keras").write_text("anything")
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(BadSettings, match="Keras is set to tensorflow"):
        read_model(str(tmp_path / "model.keras"))


# Whatever the format.


@pytest.mark.parametrize("name", NAMES)
def test_a_pointer_of_git_lfs_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(BadSettings, match="is a pointer of Git LFS, not the model"):
        read_model(str(tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_a_models_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSettings, match=f"{name}: no such file"):
        read_model(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("model.keras", "keras", "keras"),
        ("model.h5", "keras", "keras"),
        ("model.tflite", "ai_edge_litert.interpreter", "tflite"),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    papagaio: Papagaio,
    name: str,
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_text("anything")
    ended = papagaio("check", tmp_path / name, f"--test={tmp_path}")
    assert ended.code == 2
    assert f"pip install '.[{extra}]'" in ended.complaint
