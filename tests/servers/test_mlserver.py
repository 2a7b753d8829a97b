"""An audit of a model behind MLServer, over the Open Inference Protocol.

MLServer pins packages of its own, so it gets an environment of its own, in build/servers.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from papagaio.blackboxes.contract import Declaration, checked_answers
from papagaio.blackboxes.named import open_black_box
from papagaio.cli.main import app
from papagaio.errors import BadAnswer
from papagaio.result import read_result

ENVIRONMENT = Path(__file__).parents[2] / "build" / "servers" / "mlserver"
IMAGES = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), np.uint8)
CLASSES = 3

# The brightest of three bands of rows, from pixels between 0 and 1.
RUNTIME = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Bands(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        pixels = NumpyCodec.decode_input(payload.inputs[0]).reshape(-1, 8, 8, 1)
        if pixels.max() > 1:
            raise ValueError("pixels above 1")
        bands = np.stack([pixels[:, 3 * k : 3 * k + 2].mean((1, 2, 3)) for k in range(3)], 1)
        raised = np.exp(20 * bands)
        scores = (raised / raised.sum(1, keepdims=True)).astype("float32")
        output = NumpyCodec.encode_output("scores", scores)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
"""

SETTINGS = {
    "name": "bands",
    "implementation": "bands.Bands",
    "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 8, 8, 1]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, CLASSES]}],
}


def expected(images: np.ndarray) -> np.ndarray:
    bands = [(images[:, 3 * k : 3 * k + 2] / 255).mean((1, 2, 3)) for k in range(3)]
    raised = np.exp(20 * np.stack(bands, 1))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of MLServer's environment, which is made where there is none."""
    executable = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "bin" / "mlserver").exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        made = subprocess.run([executable, "-m", "pip", "install", "-q", "mlserver"], check=False)
        if made.returncode:
            pytest.skip("MLServer cannot be installed here")
    return executable


@pytest.fixture(scope="module")
def address(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlserver")
    http, grpc, metrics = free_ports(3)
    (folder / "bands.py").write_text(RUNTIME)
    (folder / "model-settings.json").write_text(json.dumps(SETTINGS))
    ports = {"http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [python.with_name("mlserver"), "start", folder], stdout=log, stderr=log, cwd=folder
        )
        try:
            wait_for(f"http://127.0.0.1:{http}/v2/models/bands/ready", server, folder / "log")
            yield f"http://127.0.0.1:{http}/v2/models/bands"
        finally:
            server.terminate()
            server.wait(30)


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(url, timeout=5).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"MLServer is not ready: {log.read_text()[-2000:]}")


def test_answers_are_those_of_the_model(address: str) -> None:
    # Shape and type come from the server's metadata.
    declared = Declaration(scale="0..1", classes=CLASSES)
    with closing(open_black_box(address, declared)) as box:
        assert box.contract.shape == (8, 8, 1)
        assert checked_answers(box, IMAGES) == pytest.approx(expected(IMAGES), abs=1e-6)


def test_a_failure_of_the_model_is_one_line(address: str) -> None:
    declared = Declaration(scale="0..255", classes=CLASSES)
    with (
        closing(open_black_box(address, declared)) as box,
        pytest.raises(BadAnswer, match=r"answers 500 .*: ValueError: pixels above 1"),
    ):
        checked_answers(box, IMAGES)


def test_an_audit_asks_each_image_once(address: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    np.savez(tmp_path / "photos.npz", images=random.integers(0, 256, (90, 8, 8, 1), np.uint8))
    mine = random.integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "mine.npz", images=mine, labels=expected(mine).argmax(1))
    words = ["audit", address, "--scale", "0..1", "--classes", CLASSES, "--concurrency", 3]
    words += ["--batch", 16, "--budget", 90, "--transfer", tmp_path / "photos.npz"]
    words += ["--test", tmp_path / "mine.npz", "--controls", "none", "--epochs", 1]
    words += ["--device", "cpu", "--threads", 1, "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    result = read_result(tmp_path / "run" / "result.json")
    assert result.black_box.accuracy.value == 1
    assert (result.queries.total, result.queries.ledger) == (150, 150)
