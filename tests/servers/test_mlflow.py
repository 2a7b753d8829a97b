"""MLflow's scoring server: `/invocations`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import real

from papagaio.blackboxes.contract import Declaration

MODEL = """
import os
import sys

import mlflow
from bands import scores


class Bands(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return scores(model_input)


mlflow.pyfunc.save_model("saved", python_model=Bands(), code_paths=["bands.py"])
words = ["-m", "saved", "-h", "127.0.0.1", "-p", sys.argv[1], "--env-manager", "local"]
os.execvp("mlflow", ["mlflow", "models", "serve", *words, "--workers", "1"])
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = real.python_with("mlflow", "mlflow==3.17.2")
    (port,) = real.free_ports(1)
    folder, host = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{port}"
    with real.serving(folder, MODEL, [python, "model.py", port], f"{host}/health"):
        yield f"{host}/invocations"


def test_answers_are_those_of_the_model(address: str) -> None:
    declared = Declaration(real.SHAPE, real.CLASSES, scale="0..1")
    real.assert_answers_are_the_models(address, declared)


# The reason is in the server's log only.
def test_a_failure_of_the_model_is_one_line(address: str) -> None:
    said = real.refusal(address, Declaration(real.SHAPE, real.CLASSES, scale="0..255"))
    assert said.exit_code == 2
    assert "answers 400 Bad Request" in str(said)


def test_an_audit_asks_each_image_once(address: str, tmp_path: Path) -> None:
    words = ("--input", "8x8x1", "--classes", real.CLASSES)
    real.assert_an_audit_asks_each_image_once(address, tmp_path, *words)
