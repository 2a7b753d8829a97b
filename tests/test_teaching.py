import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import Papagaio
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from papagaio.auditing.preparing import check_classes
from papagaio.blackboxes.contract import Declaration
from papagaio.errors import BadImages, BadSettings
from papagaio.images.choosing import load
from papagaio.images.named import open_source
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.progress import Progress
from papagaio.scores import Figure
from papagaio.teaching.folder import open_taught, save_taught
from papagaio.teaching.phases import phases_from
from papagaio.teaching.settings import TeachSettings
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.training.variants import Variants

NOTHING = Declaration()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three colours with noise: easy to learn."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = random.integers(0, 60, (60, 32, 32, 3), np.uint8)
    images[np.arange(60), :, :, labels] += 180
    np.savez(folder / "train.npz", images=images, labels=labels)
    np.savez(folder / "other.npz", images=images[::-1] // 2 + 60)
    # Two thirds of the labels are wrong.
    np.savez(folder / "mislabelled.npz", images=images[:31], labels=np.zeros(31, np.int64))
    return folder


def teach(pictures: Path, out: Path, **changes: object) -> list[object]:
    options: dict[str, object] = {
        "data": pictures / "train.npz",
        "test": pictures / "train.npz",
        "body": "torchvision/mobilenet_v2",
        "initial": "random",
        "head": "16",
        "phase": "2,1e-3,all",
        "device": "cpu",
        "threads": 1,
        "out": out,
    }
    options |= changes
    return ["teach", *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]


def test_a_taught_black_box_is_audited_like_any_other(
    tmp_path: Path, pictures: Path, papagaio: Papagaio
) -> None:
    out = tmp_path / "box"
    taught = papagaio(*teach(pictures, out), "--phase", "1,1e-4,2", "--flip", 0.5)
    assert taught.code == 0, taught.stderr
    assert taught.stdout.splitlines()[-1] == f"black box: taught={out}"
    # Two files of one name are two sets.
    assert [line.partition(": ")[0] for line in taught.stdout.splitlines()[:2]] == [
        "accuracy on train",
        "accuracy on test",
    ]

    ended = papagaio(
        *("audit", f"taught={out}", "--transfer", pictures / "other.npz", "--budget", 20),
        *("--test", pictures / "train.npz", "--students", "residual-cnn", "--epochs", 1),
        *("--controls", "none", "--device", "cpu", "--precision", "float32", "--threads", 1),
        "--unchecked",  # two epochs teach it nothing
        *("--out", tmp_path / "audit"),
    )
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "audit" / "report.html").exists()

    # Taught again, it is as it was: every phase is there.
    assert "epochs" in taught.stderr
    weights = (out / "weights.safetensors").read_bytes()
    again = papagaio(*teach(pictures, out), "--phase", "1,1e-4,2", "--flip", 0.5)
    assert "epochs" not in again.stderr
    assert (out / "weights.safetensors").read_bytes() == weights

    # Taught otherwise into the same folder, it is another.
    other = papagaio(*teach(pictures, out, seed=1), "--phase", "1,1e-4,2", "--flip", 0.5)
    assert "epochs" in other.stderr
    assert (out / "weights.safetensors").read_bytes() != weights


def test_the_accuracies_that_are_printed_are_those_of_the_weights(
    tmp_path: Path, pictures: Path, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the precision in which a black box answers, whatever is faster here.
    monkeypatch.setattr("papagaio.teaching.run.settled_precision", lambda *_: (Machine(), ""))
    test = pictures / "mislabelled.npz"
    ended = papagaio(*teach(pictures, tmp_path, test=test, body="timm/resnet10t", head="none"))
    assert ended.code == 0, ended.stderr
    box = open_taught(str(tmp_path), NOTHING)
    printed = [line.split(" ")[:4] for line in ended.stdout.splitlines()[:2]]
    expected = []
    for part, name in (("train", "train.npz"), ("test", "mislabelled.npz")):
        with np.load(pictures / name) as arrays:
            right = box.answer(arrays["images"]).argmax(1) == arrays["labels"]
        expected.append(["accuracy", "on", f"{part}:", f"{right.mean():.4f}"])
    assert printed == expected
    assert printed[0][3] != printed[1][3]


def test_every_option_of_teach_reaches_the_teaching(
    tmp_path: Path, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[TeachSettings] = []

    def teach_from(settings: TeachSettings, _: Progress) -> dict[str, Figure]:
        passed.append(settings)
        return {}

    monkeypatch.setattr("papagaio.teaching.run.teach_from", teach_from)
    papagaio("teach", "--data", "d", "--out", tmp_path)
    papagaio("teach", "--data", "d", "--head", "none", "--out", tmp_path)
    papagaio(
        *("teach", "--data", "d", "--test", "t", "--data-dir", "dd", "--body", "timm/x"),
        *("--initial", "random", "--head", "32,16", "--pooling", "flatten", "--dropout", 0.25),
        *("--side", 64, "--phase", "3,1e-2,2", "--phase", "2,1e-5,all", "--batch", 16),
        *("--normalisation", "caffe", "--flip", 0.5, "--brighten", 0.3, "--seed", 7),
        *("--device", "cpu", "--threads", 2, "--out", tmp_path),
    )
    full = TeachSettings(
        data="d",
        test="t",
        data_dir=Path("dd"),
        body="timm/x",
        initial="random",
        normalisation="caffe",
        head=(32, 16),
        pooling="flatten",
        dropout=0.25,
        side=64,
        phases=("3,1e-2,2", "2,1e-5,all"),
        batch=16,
        flip=0.5,
        brighten=0.3,
        seed=7,
        device="cpu",
        threads=2,
        out=tmp_path,
    )
    plain = TeachSettings(data="d", out=tmp_path)
    assert passed == [plain, plain.model_copy(update={"head": ()}), full]
    assert set(full.model_dump(exclude_defaults=True)) == set(TeachSettings.model_fields)


@pytest.mark.parametrize("form", ["torch", "caffe", "tf"])
def test_a_taught_box_sees_pixels_in_the_form_that_it_was_taught_with(
    tmp_path: Path,
    pictures: Path,
    papagaio: Papagaio,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setattr("papagaio.teaching.run.settled_precision", lambda *_: (Machine(), ""))
    words = teach(pictures, tmp_path, normalisation=form, phase="1,1e-3,all", head="none")
    assert papagaio(*words).code == 0
    described = json.loads((tmp_path / "black-box.json").read_text())
    assert described["architecture"]["normalisation"] == form
    with np.load(pictures / "train.npz") as arrays:
        images = arrays["images"][:4]
    # The same by hand: the library's own layers on normalised pixels.
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    seen = {
        "torch": (images / 255 - mean) / deviation,
        "caffe": (images - [123.68, 116.779, 103.939])[..., ::-1],
        "tf": images / 127.5 - 1,
    }[form]
    state = load_file(tmp_path / "weights.safetensors")
    body = torchvision.models.mobilenet_v2().features.eval()
    prefix = "network.features."
    body.load_state_dict({n.removeprefix(prefix): t for n, t in state.items() if prefix in n})
    with torch.no_grad():
        planes = body(torch.from_numpy(seen.transpose(0, 3, 1, 2).astype(np.float32)))
    weight, bias = (state[f"network.classifier.0.{part}"] for part in ("weight", "bias"))
    logits = (planes.mean((2, 3)) @ weight.T + bias).numpy()
    answers = open_taught(str(tmp_path), NOTHING).answer(images)
    assert answers == pytest.approx(softmax(logits, axis=1), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": "2,1e-3"}, "write EPOCHS,RATE,LAYERS"),
        ({"phase": "0,1e-3,all"}, "at least one epoch"),
        ({"phase": "2,3,all"}, "a rate between 0 and 1"),
        ({"phase": "2,1e-3,900"}, "cannot train 900 layers"),
        ({"head": "wide"}, "--head wide: should be a valid integer"),
        ({"pooling": "max"}, "--pooling max: should be 'mean' or 'flatten'"),
        ({"body": "torchvision/vgg61"}, "cannot load its convolutional layers"),
        ({"data": "nothing.npz"}, "no such folder"),
        ({"test": "nothing.npz"}, "no such folder"),
        ({"head": "-5"}, "--head -5: should be greater than or equal to 1"),
        ({"body": "torchvision/swin_t"}, "feature"),
        ({"batch": "2"}, "--batch 2: should be greater than or equal to 3"),
    ],
)
def test_bad_words_are_one_clear_line(
    tmp_path: Path, pictures: Path, papagaio: Papagaio, changes: dict[str, object], message: str
) -> None:
    ended = papagaio(*teach(pictures, tmp_path / "box", **changes))
    assert ended.code == 2
    assert message in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "box").exists()


def test_a_folder_that_was_not_taught_is_no_black_box(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="not a black box of papagaio teach"):
        open_taught(str(tmp_path), NOTHING)


def test_a_taught_box_declares_itself_and_is_not_contradicted(tmp_path: Path) -> None:
    architecture, shape = Architecture("timm/resnet10t", Head(widths=())), (32, 32, 3)
    network = build_headed(architecture, "random", shape, 3, seed=0)
    save_taught(tmp_path, network, architecture, shape, ("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    box = open_taught(str(tmp_path), Declaration(batch=7))
    assert box.answer(images) == pytest.approx(
        softmax(infer(network, images, Machine()), axis=1), abs=1e-5
    )
    contract = box.contract
    assert (contract.shape, contract.classes, contract.batch) == (shape, 3, 7)
    assert contract.class_names == ("a", "b", "c")
    for other in (Declaration(shape=(32, 32, 1)), Declaration(classes=4)):
        with pytest.raises(BadSettings, match=r"declares .*; leave it out"):
            open_taught(str(tmp_path), other)
    save_file({"network.0.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(BadSettings, match=r"weights\.safetensors does not fit black-box\.json"):
        open_taught(str(tmp_path), NOTHING)


def test_classes_in_another_order_are_no_test_of_what_was_taught(
    tmp_path: Path, papagaio: Papagaio
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for part, classes in (("train", "ab"), ("test", "bc")):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(noise).save(tmp_path / part / name / f"{number}.png")
    given = {"data": tmp_path / "train", "test": tmp_path / "test"}
    ended = papagaio(*teach(tmp_path, tmp_path / "box", **given))
    assert ended.code == 2
    assert "its classes are b, c, those of" in ended.stderr

    # Nor are they in an audit.
    given["test"] = given["data"]
    assert papagaio(*teach(tmp_path, tmp_path / "box", **given)).code == 0
    box = open_taught(str(tmp_path / "box"), NOTHING)
    with pytest.raises(BadImages, match="its classes are b, c, those of the black box are a, b"):
        check_classes(load(open_source(str(tmp_path / "test"))), box.contract)


def test_phases_are_read_as_they_are_written() -> None:
    first, second = phases_from(["10,1e-3,2", "7,1e-5,all"], 32, Variants(flip=0.5))
    assert (first.recipe.epochs, first.recipe.rate, first.trained) == (10, 1e-3, 2)
    assert (second.recipe.epochs, second.recipe.rate, second.trained) == (7, 1e-5, None)
    assert first.recipe.variants == Variants(flip=0.5)
    assert phases_from(["1,1e-3,all"], 32, Variants())[0].recipe.variants == Variants()
