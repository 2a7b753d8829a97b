"""MLServer: Open Inference Protocol."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import real

from papagaio.blackboxes.contract import Declaration
from papagaio.errors import NoAnswer

MODEL = """
from bands import scores
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Bands(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        rows = scores(NumpyCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("scores", rows)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
"""

SETTINGS = {
    "name": "bands",
    "implementation": "model.Bands",
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, *real.SHAPE]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, real.CLASSES]}],
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = real.python_with("mlserver", "mlserver==1.7.1")
    folder = tmp_path_factory.mktemp("mlserver")
    http, grpc, metrics = real.free_ports(3)
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS))
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = f"http://127.0.0.1:{http}/v2/models/bands"
    command = [python.with_name("mlserver"), "start", folder]
    with real.serving(folder, MODEL, command, f"{model}/ready"):
        yield model


# Shape and type come from the server's metadata.
def test_answers_are_those_of_the_model(address: str) -> None:
    real.assert_answers_are_the_models(address, Declaration(scale="0..1", classes=real.CLASSES))


def test_a_failure_of_the_model_is_one_line(address: str) -> None:
    said = real.refusal(address, Declaration(scale="0..255", classes=real.CLASSES))
    assert isinstance(said, NoAnswer)
    assert str(said).endswith(
        "answers 500 Internal Server Error (2 tries): ValueError: pixels above 1"
    )


def test_an_audit_asks_each_image_once(address: str, tmp_path: Path) -> None:
    real.assert_an_audit_asks_each_image_once(address, tmp_path)
