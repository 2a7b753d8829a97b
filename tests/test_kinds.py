"""Every kind of black box, audited from the command line: the same model in each of them."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serving
import torch
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from serving import Service
from serving import serving as served
from test_model_files import export
from test_model_files_tflite import Graph
from torch import nn

from papagaio.result import read_result

SHAPE = (8, 8, 3)
SIZE = 8 * 8 * 3
MATRIX = np.random.default_rng(0).normal(0, 2, (SIZE, serving.CLASSES)).astype(np.float32)
Kind = Callable[[Path, Service], dict[str, object]]

BUILT = """
import torch

def build():
    return torch.nn.Sequential(Nhwc(), torch.nn.Flatten(), torch.nn.Linear(192, 3, bias=False))

class Nhwc(torch.nn.Module):
    def forward(self, images):
        return images.permute(0, 2, 3, 1)
"""

FUNCTION = """
from pathlib import Path
import numpy as np

MATRIX = np.load(Path(__file__).with_name("matrix.npy"))

def predict(images):
    logits = images.reshape(len(images), -1) / np.float32(255) @ MATRIX
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)
"""

DESCRIPTION = """
url = "ADDRESS/rows"
image = "base64-png"
body = '{"model": "net", "pictures": "$images"}'
scores = "result.rows"
"""


def linear() -> nn.Sequential:
    layer = nn.Linear(SIZE, serving.CLASSES, bias=False)
    layer.weight.data = torch.from_numpy(MATRIX.T.copy())
    return nn.Sequential(nn.Flatten(), layer)


def onnx(folder: Path, _: Service) -> dict[str, object]:
    return {"box": export(folder / "model.onnx", linear(), (2, *SHAPE)), "scale": "0..1"}


def keras(suffix: str) -> Kind:
    def made(folder: Path, _: Service) -> dict[str, object]:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        library = pytest.importorskip("keras", reason="the extra keras is not installed")
        top = library.layers.Dense(serving.CLASSES, "softmax", use_bias=False)
        model = library.Sequential([library.Input(SHAPE), library.layers.Flatten(), top])
        top.set_weights([MATRIX])
        model.save(folder / f"model.{suffix}")
        return {"box": folder / f"model.{suffix}", "scale": "0..1"}

    return made


def tflite(folder: Path, _: Service) -> dict[str, object]:
    graph = Graph()
    images, flat = graph.tensor("float32", (1, *SHAPE)), graph.tensor("float32", (1, SIZE))
    logits, scores = (graph.tensor("float32", (1, serving.CLASSES)) for _ in range(2))
    graph.operator("RESHAPE", [images, graph.constant(np.array([-1, SIZE], np.int32))], flat)
    bias = graph.constant(np.zeros(serving.CLASSES, np.float32))
    graph.operator("FULLY_CONNECTED", [flat, graph.constant(MATRIX.T.copy()), bias], logits)
    graph.operator("SOFTMAX", [logits], scores, beta=1.0)
    graph.write(folder / "model.tflite", [images], [scores])
    return {"box": folder / "model.tflite", "scale": "0..1"}


def hf(folder: Path, _: Service) -> dict[str, object]:
    """A classifier with random weights, which decides the labels of the test images."""
    pytest.importorskip("transformers", reason="the extra transformers is not installed")
    import test_hf_folder as own  # noqa: PLC0415  # skipped where the extra is missing

    processor = own.transformers.ViTImageProcessor(size={"height": 8, "width": 8})
    saved = own.saved(folder / "vit", own.vit(image_size=8, patch_size=4), processor)
    with np.load(folder / "test.npz") as test:
        images = test["images"]
    labels = own.plainly(saved, images).argmax(1)
    np.savez(folder / "test.npz", images=images, labels=labels)
    return {"box": f"hf={saved}"}


def torch_module(folder: Path, _: Service) -> dict[str, object]:
    (folder / "net.py").write_text(BUILT)
    save_file({"2.weight": torch.from_numpy(MATRIX.T.copy())}, folder / "net.safetensors")
    stated = {"weights": folder / "net.safetensors", "input": "8x8x3", "classes": 3}
    return {"box": f"{folder / 'net.py'}:build", **stated}


def function(folder: Path, _: Service) -> dict[str, object]:
    np.save(folder / "matrix.npy", MATRIX)
    (folder / "own.py").write_text(FUNCTION)
    return {"box": f"{folder / 'own.py'}:predict", "input": "8x8x3", "classes": 3}


def open_inference(_: Path, service: Service) -> dict[str, object]:
    box = f"{service.address}/v2/models/net"
    return {"box": box, "scale": "0..1", "colour_order": "bgr"}


def tensorflow_serving(_: Path, service: Service) -> dict[str, object]:
    box = f"{service.address}/v1/models/net:predict"
    return {"box": box, "scale": "-1..1", "input": "8x8x3", "classes": 3, "concurrency": 3}


def mlflow(_: Path, service: Service) -> dict[str, object]:
    box = f"{service.address}/invocations"
    return {"box": box, "scale": "-1..1", "input": "8x8x3", "classes": 3}


def described(folder: Path, service: Service) -> dict[str, object]:
    (folder / "endpoint.toml").write_text(DESCRIPTION.replace("ADDRESS", service.address))
    return {"box": folder / "endpoint.toml", "input": "8x8x3", "classes": 3}


KINDS: dict[str, Kind] = {
    "model.onnx": onnx,
    "model.keras": keras("keras"),
    "model.h5": keras("h5"),
    "model.tflite": tflite,
    "hf=FOLDER": hf,
    "torch module": torch_module,
    "function": function,
    "/v2/models/NAME": open_inference,
    "/v1/models/NAME:predict": tensorflow_serving,
    "/invocations": mlflow,
    "endpoint.toml": described,
}


@pytest.fixture
def pictures(tiny: Tiny) -> Tiny:
    """The folder of an audit of colour images, whose labels are the model's."""
    random = np.random.default_rng(1)
    for name, count in (("transfer", 14), ("test", 40)):
        images = random.integers(0, 256, (count, *SHAPE), np.uint8)
        np.savez(tiny.folder / f"{name}.npz", images=images, labels=truth(images).argmax(1))
    return tiny


@pytest.fixture
def service() -> Iterator[Service]:
    tensors = {
        "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
    }
    answers = {
        "/v2/models/net/infer": serving.tensor,
        "/v1/models/net:predict": serving.instances("instances"),
        "/invocations": serving.instances("inputs"),
        "/rows": serving.base64_pngs,
    }
    with served(Service(answers, {"/v2/models/net": {"name": "net", **tensors}})) as running:
        yield running


def truth(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return serving.truth(images)


def options(tiny: Tiny, **changes: object) -> list[str]:
    plain = {"input": None, "classes": None, "unchecked": None}
    return tiny.audit(**plain | changes)


def is_audited(tiny: Tiny) -> None:
    """It was understood rightly, it answered every image, and there is a copy and a report."""
    result = read_result(tiny.out / "result.json")
    assert result.black_box.accuracy.value == 1
    assert (result.queries.spent, result.queries.scoring, result.complete) == (12, 40, True)
    assert (tiny.out / "report.html").exists()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_black_box_is_audited_without_python(
    kind: str, pictures: Tiny, service: Service, papagaio: Papagaio
) -> None:
    ended = papagaio(*options(pictures, **KINDS[kind](pictures.folder, service)))
    assert ended.code == 0, ended.stderr
    is_audited(pictures)


def test_answers_obtained_elsewhere_are_audited(pictures: Tiny, papagaio: Papagaio) -> None:
    table, folder = pictures.folder / "answers.csv", pictures.folder / "questions"
    audit = options(pictures, box=f"recorded={table}", input="8x8x3", classes=3)
    asked = papagaio("questions", *audit[1:], "--to", folder)
    assert asked.code == 0, asked.stderr
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "a", "b", "c"])
        for path in folder.glob("*.png"):
            rows.writerow([path.name, *truth(np.asarray(Image.open(path))[None])[0]])
    ended = papagaio(*audit)
    assert ended.code == 0, ended.stderr
    is_audited(pictures)
