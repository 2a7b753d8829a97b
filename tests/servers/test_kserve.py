"""KServe: Open Inference Protocol, and its first protocol, which is TensorFlow Serving's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import real

from papagaio.blackboxes.contract import Declaration
from papagaio.errors import NoAnswer

# It listens on every address unless told otherwise, and has no option for it.
MODEL = """
import kserve
import uvicorn
from bands import scores

configure = uvicorn.Config.__init__
uvicorn.Config.__init__ = lambda self, *words, **more: configure(
    self, *words, **{**more, "host": "127.0.0.1"}
)


class Bands(kserve.Model):
    def __init__(self):
        super().__init__("bands")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": scores(payload["instances"]).tolist()}
        rows = scores(payload.inputs[0].as_numpy())
        output = kserve.InferOutput("scores", list(rows.shape), "FP32", rows.ravel().tolist())
        return kserve.InferResponse(payload.id, self.name, [output])


kserve.ModelServer(enable_grpc=False).start([Bands()])
"""

STATED = Declaration(real.SHAPE, real.CLASSES, scale="0..1")
WRONG = Declaration(real.SHAPE, real.CLASSES, scale="0..255")
PATHS = ("/v2/models/bands", "/v1/models/bands:predict")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = real.python_with("kserve", "kserve==0.21.0")
    (port,) = real.free_ports(1)
    folder, host = tmp_path_factory.mktemp("kserve"), f"http://127.0.0.1:{port}"
    command = [python, "model.py", "--http_port", port]
    with real.serving(folder, MODEL, command, f"{host}/v2/models/bands/ready"):
        yield host


# Its metadata are empty, and TensorFlow Serving has none.
@pytest.mark.parametrize("path", PATHS)
def test_answers_are_those_of_the_model(server: str, path: str) -> None:
    real.assert_answers_are_the_models(server + path, STATED)


@pytest.mark.parametrize("path", PATHS)
def test_a_failure_of_the_model_is_one_line(server: str, path: str) -> None:
    said = real.refusal(server + path, WRONG)
    assert isinstance(said, NoAnswer)
    assert "answers 500 Internal Server Error (2 tries): " in str(said)
    assert "pixels above 1" in str(said)


@pytest.mark.parametrize("path", PATHS)
def test_an_audit_asks_each_image_once(server: str, path: str, tmp_path: Path) -> None:
    words = ("--input", "8x8x1", "--classes", real.CLASSES)
    real.assert_an_audit_asks_each_image_once(server + path, tmp_path, *words)
