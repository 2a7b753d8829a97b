"""Image classifiers in folders that transformers saves: the same answers, and what is refused."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from papagaio.blackboxes.contract import Contract, Declaration, checked_answers
from papagaio.blackboxes.hf_folder import read_hf
from papagaio.blackboxes.named import open_black_box
from papagaio.errors import BadSettings

transformers = pytest.importorskip("transformers", reason="the extra transformers is missing")

NAMES = ("parrot", "macaw", "toucan")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
SIZE = {"height": 32, "width": 32}


def vit(**changes: object) -> object:
    """A tiny one, whose random weights are large enough that its answers differ."""
    options = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.5,
        "id2label": dict(enumerate(NAMES)),
    }
    return transformers.ViTConfig(**options | changes)


def resnet(**changes: object) -> object:
    options = {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
        "num_labels": 5,
    }
    return transformers.ResNetConfig(**options | changes)


def saved(folder: Path, config: object, with_processor: object = None) -> Path:
    """Save a classifier with random weights as its owner would."""
    torch.manual_seed(0)
    model = transformers.AutoModelForImageClassification.from_config(config)
    model.save_pretrained(folder)
    processor: Any = with_processor or transformers.ViTImageProcessor(size=SIZE)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("made") / "vit", vit())


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A classifier to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "vit"))


def plainly(folder: Path, images: NDArray[np.uint8], **options: object) -> NDArray[np.float32]:
    """The probabilities that an owner gets: processor, model and softmax."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    given = processor([*map(Image.fromarray, images)], return_tensors="pt", **options)
    with torch.inference_mode():
        answers: NDArray[np.float32] = model(**given).logits.softmax(1).numpy()
    return answers


# The same answers.


def test_a_folder_answers_as_the_librarys_own_pipeline(made: Path) -> None:
    box = open_black_box(f"hf={made}")
    answers = checked_answers(box, IMAGES)
    pipeline = transformers.pipeline("image-classification", model=str(made))
    for image, row in zip(IMAGES, answers, strict=True):
        found = {one["label"]: one["score"] for one in pipeline(Image.fromarray(image), top_k=3)}
        assert row == pytest.approx([found[name] for name in NAMES], abs=1e-5)
    assert answers.std(0).max() > 0.01
    assert box.name == "vit"
    assert box.contract == Contract(32, 32, 3, classes=3, class_names=NAMES)


@pytest.mark.parametrize(
    "options",
    [
        {"image_mean": [0.1, 0.5, 0.9], "image_std": [0.2, 0.3, 0.4]},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [120.0] * 3, "image_std": [60.0] * 3},
        {"rescale_factor": 1 / 127.5, "do_normalize": False},
    ],
)
def test_the_processor_says_how_pixels_are_given(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = saved(tmp_path, vit(), transformers.ViTImageProcessor(size=SIZE, **options))
    box = open_black_box(f"hf={folder}")
    assert box.answer(IMAGES) == pytest.approx(plainly(folder, IMAGES), abs=1e-5)
    usual = saved(tmp_path / "usual", vit())
    assert not np.allclose(box.answer(IMAGES), plainly(usual, IMAGES), atol=1e-3)


def test_the_processor_says_the_order_of_colours(tmp_path: Path) -> None:
    processor = transformers.MobileViTImageProcessor(
        do_flip_channel_order=True, size={"shortest_edge": 32}, crop_size=SIZE
    )
    folder = saved(tmp_path, resnet(), processor)
    box = open_black_box(f"hf={folder}")
    assert box.answer(IMAGES) == pytest.approx(plainly(folder, IMAGES), abs=1e-5)
    assert not np.allclose(box.answer(IMAGES), box.answer(IMAGES[..., ::-1]), atol=1e-4)


def test_images_are_what_is_left_after_the_processors_resizing_and_cropping(
    tmp_path: Path,
) -> None:
    crop = transformers.CLIPImageProcessor(size={"shortest_edge": 40}, crop_size=SIZE)
    folder = saved(tmp_path, resnet(), crop)
    whole = np.random.default_rng(1).integers(0, 256, (3, 40, 40, 3), np.uint8)
    box = open_black_box(f"hf={folder}")
    assert box.contract.shape == (32, 32, 3)
    inside = whole[:, 4:36, 4:36]
    assert box.answer(inside) == pytest.approx(plainly(folder, whole), abs=1e-5)


def test_a_processor_that_crops_while_it_resizes_does_neither(tmp_path: Path) -> None:
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.5)
    folder = saved(tmp_path, resnet(), processor)
    box = open_black_box(f"hf={folder}")
    assert box.contract.shape == (32, 32, 3)
    assert box.answer(IMAGES) == pytest.approx(plainly(folder, IMAGES, do_resize=False), abs=1e-5)
    assert not np.allclose(box.answer(IMAGES), plainly(folder, IMAGES), atol=1e-4)


def test_weights_in_half_precision_are_computed_with_in_single_precision(tmp_path: Path) -> None:
    folder = saved(tmp_path, vit())
    model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    model.half().save_pretrained(folder)
    assert load_file(folder / "model.safetensors")["classifier.bias"].dtype == torch.float16
    answers = open_black_box(f"hf={folder}").answer(IMAGES)
    with torch.inference_mode():
        pixels = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)).float() / 127.5 - 1
        expected = model.float()(pixels).logits.softmax(1).numpy()
    assert answers == pytest.approx(expected, abs=1e-5)


def test_weights_in_several_files_are_one_model(made: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(made)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    shutil.copy(made / "preprocessor_config.json", tmp_path)
    assert len([*tmp_path.glob("*.safetensors")]) > 1
    whole, parts = open_black_box(f"hf={made}"), open_black_box(f"hf={tmp_path}")
    assert np.array_equal(parts.answer(IMAGES), whole.answer(IMAGES))


def test_images_that_cannot_be_written_to_are_answered(made: Path) -> None:
    images = IMAGES.copy()
    images.flags.writeable = False
    box = open_black_box(f"hf={made}")
    assert np.array_equal(box.answer(images), box.answer(IMAGES))


@pytest.mark.parametrize(
    "setting",
    [
        {"attn_implementation": "parrot/kernel"},
        {"_attn_implementation": "parrot/kernel"},
        {"transformers_weights": "adapter_model.bin"},
        {"return_dict": False},
    ],
)
def test_no_setting_of_the_model_brings_code_or_other_weights(
    made: Path, folder: Path, setting: dict[str, object]
) -> None:
    change(folder / "config.json", **setting)
    (folder / "adapter_model.bin").write_bytes(b"parrot")
    answers = open_black_box(f"hf={folder}").answer(IMAGES)
    assert np.array_equal(answers, open_black_box(f"hf={made}").answer(IMAGES))


def test_opening_a_folder_prints_nothing(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    open_black_box(f"hf={made}")
    assert capfd.readouterr() == ("", "")


# What a folder says.


@pytest.mark.parametrize(
    ("processor", "image_size", "expected"),
    [
        ({"size": {"height": 24, "width": 48}}, 32, (24, 48)),
        ({"size": {"shortest_edge": 24}}, 32, (24, 24)),
        ({"size": {"shortest_edge": 24, "longest_edge": 48}}, 32, (32, 32)),
        ({"size": SIZE, "do_center_crop": True, "crop_size": 24}, 32, (24, 24)),
        ({"size": SIZE, "do_center_crop": False, "crop_size": 24}, 64, (32, 32)),
        ({"do_resize": False}, 48, (48, 48)),
        ({"do_resize": False}, (24, 48), (24, 48)),
        ({"do_resize": False}, None, (None, None)),
    ],
)
def test_the_size_is_the_processors_or_else_the_models(
    folder: Path, processor: dict[str, Any], image_size: object, expected: tuple[int, int]
) -> None:
    resnet_with_size = resnet() if image_size is None else resnet(image_size=image_size)
    saved(folder, resnet_with_size, transformers.ViTImageProcessor(**processor))
    model = read_hf(folder, None)
    assert model.axes == (None, *expected, 3)
    assert model.dtype == "uint8"


def test_a_size_that_no_file_states_is_the_owners_to_state(tmp_path: Path) -> None:
    folder = saved(tmp_path, resnet(), transformers.ViTImageProcessor(do_resize=False))
    with pytest.raises(BadSettings, match=r"^input: .*images of any size"):
        open_black_box(f"hf={folder}")
    box = open_black_box(f"hf={folder}", Declaration((24, 40, 3)))
    images = IMAGES[:, :24].repeat(2, 2)[:, :, :40]
    assert box.contract.shape == (24, 40, 3)
    assert box.answer(images) == pytest.approx(plainly(folder, images), abs=1e-5)


def test_a_model_of_grey_images_takes_grey_images(tmp_path: Path) -> None:
    processor = transformers.ViTImageProcessor(size=SIZE, image_mean=[0.5], image_std=[0.5])
    folder = saved(tmp_path, vit(num_channels=1), processor)
    box = open_black_box(f"hf={folder}")
    assert box.contract.shape == (32, 32, 1)
    grey = np.ascontiguousarray(IMAGES[..., :1])
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(grey.transpose(0, 3, 1, 2)).float() / 127.5 - 1
        expected = model(pixels).logits.softmax(1).numpy()
    assert box.answer(grey) == pytest.approx(expected, abs=1e-5)


def test_default_names_of_classes_are_none(tmp_path: Path) -> None:
    folder = saved(tmp_path, resnet(), transformers.ViTImageProcessor(size=SIZE))
    contract = open_black_box(f"hf={folder}").contract
    assert (contract.classes, contract.class_names) == (5, None)


def test_names_of_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = {number: f"bird {99 - number}" for number in range(12)}
    folder = saved(tmp_path, vit(id2label=dict(reversed(names.items()))))
    assert open_black_box(f"hf={folder}").contract.class_names == tuple(names.values())


def test_the_output_may_be_named(made: Path) -> None:
    assert open_black_box(f"hf={made}", Declaration(output="logits")).contract.classes == 3
    with pytest.raises(BadSettings, match=r"^output hidden_states: .*has the outputs logits"):
        open_black_box(f"hf={made}", Declaration(output="hidden_states"))


def test_a_stated_shape_does_not_contradict_the_folder(made: Path) -> None:
    declared = Declaration((32, 32, 3), classes=3)
    assert open_black_box(f"hf={made}", declared).contract.shape == (32, 32, 3)
    with pytest.raises(BadSettings, match=r"^input: .*takes images of 32x32x3"):
        open_black_box(f"hf={made}", replace(declared, shape=(64, 64, 3)))


# Identities.


def test_the_same_folder_elsewhere_is_the_same_model(made: Path, folder: Path) -> None:
    (folder / "README.md").write_text("A parrot.")
    assert open_black_box(f"hf={folder}").identity == open_black_box(f"hf={made}").identity


def changed_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def changed_mean(folder: Path) -> None:
    change(folder / "preprocessor_config.json", image_mean=[0.4, 0.5, 0.5])


def changed_activation(folder: Path) -> None:
    change(folder / "config.json", hidden_act="relu")


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("edit", [changed_weight, changed_mean, changed_activation])
def test_another_weight_or_setting_is_another_model(
    made: Path, folder: Path, edit: Callable[[Path], None]
) -> None:
    edit(folder)
    one, other = open_black_box(f"hf={made}"), open_black_box(f"hf={folder}")
    assert one.identity != other.identity
    assert not np.array_equal(one.answer(IMAGES), other.answer(IMAGES))


# What is refused.


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def with_text(name: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text)

    return damage


def only_a_pickle(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def a_pickle_in_the_index(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "part.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "part.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def a_model_of_text(folder: Path) -> None:
    transformers.BertConfig(hidden_size=16, num_hidden_layers=1).save_pretrained(folder)


def a_model_without_its_classifier(folder: Path) -> None:
    transformers.ViTModel(vit(), add_pooling_layer=False).save_pretrained(folder)


def code_of_its_own(folder: Path) -> None:
    (folder / "parrot.py").write_text("raise SystemExit('run')")
    auto = {"AutoConfig": "parrot.Config", "AutoModelForImageClassification": "parrot.Model"}
    change(folder / "config.json", model_type="parrot", auto_map=auto)


def a_processor_of_its_own(folder: Path) -> None:
    (folder / "parrot.py").write_text("raise SystemExit('run')")
    change(
        folder / "preprocessor_config.json",
        image_processor_type="Parrot",
        auto_map={"AutoImageProcessor": "parrot.Parrot"},
    )


def other_shapes(folder: Path) -> None:
    change(folder / "config.json", hidden_size=32)


def several_labels(folder: Path) -> None:
    change(folder / "config.json", problem_type="multi_label_classification")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "no such folder"),
        (without("config.json"), "has no config.json"),
        (without("preprocessor_config.json"), "has no preprocessor_config.json"),
        (without("model.safetensors"), r"has no \*\.safetensors"),
        (only_a_pickle, r"no other weights are read: .*which writes safetensors"),
        (a_pickle_in_the_index, r"names part\.bin, which is no \*\.safetensors beside it"),
        (with_text("model.safetensors.index.json", "[]"), "is no index of weights"),
        (
            with_text("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid 1"),
            "is a pointer of Git LFS, not the model: run git lfs pull",
        ),
        (with_text("model.safetensors", "parrot"), "transformers cannot load it"),
        (with_text("config.json", "{"), r"config\.json: transformers cannot load it"),
        (with_text("preprocessor_config.json", "{"), "transformers cannot load it"),
        (with_text("adapter_config.json", "{}"), "holds an adapter"),
        (a_model_of_text, "type bert, which is no image classifier"),
        (a_model_without_its_classifier, r"has no weights for classifier\.bias"),
        (other_shapes, "its weights .* do not fit its config.json"),
        (several_labels, r"\(multi_label_classification\) does not name one of several classes"),
        (code_of_its_own, "transformers cannot load it"),
        (a_processor_of_its_own, "transformers cannot load it"),
    ],
)
def test_a_folder_that_holds_no_classifier_is_refused_in_a_line(
    folder: Path, damage: Callable[[Path], None], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    capfd.readouterr()
    with pytest.raises(BadSettings, match=words) as refused:
        open_black_box(f"hf={folder}")
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_library_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadSettings, match=r"pip install '\.\[transformers\]'"):
        open_black_box(f"hf={made}")
