"""Triton, as nvidia-pytriton ships it: Open Inference Protocol."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import real

from papagaio.blackboxes.contract import Declaration
from papagaio.errors import NoAnswer

MODEL = """
import sys

import numpy as np
from bands import scores
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

http, grpc, metrics = map(int, sys.argv[1:])
here = {"http_address": "127.0.0.1", "grpc_address": "127.0.0.1", "metrics_address": "127.0.0.1"}
config = TritonConfig(http_port=http, grpc_port=grpc, metrics_port=metrics, **here)
with Triton(config=config) as server:
    server.bind(
        model_name="bands",
        infer_func=batch(lambda images: {"scores": scores(images)}),
        inputs=[Tensor(name="images", dtype=np.float32, shape=(8, 8, 1))],
        outputs=[Tensor(name="scores", dtype=np.float32, shape=(3,))],
        config=ModelConfig(max_batch_size=128),
    )
    server.serve()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = real.python_with("triton", "nvidia-pytriton==0.7.0")
    ports = real.free_ports(3)
    folder = tmp_path_factory.mktemp("triton")
    model = f"http://127.0.0.1:{ports[0]}/v2/models/bands"
    # Its Python is the one that it was made with.
    libraries = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    command = [python, "model.py", *ports]
    with real.serving(folder, MODEL, command, f"{model}/ready", **libraries):
        yield model


# Shape, type and number of classes come from the server's metadata.
def test_answers_are_those_of_the_model(address: str) -> None:
    real.assert_answers_are_the_models(address, Declaration(scale="0..1"))


# Its traceback is within JSON.
def test_a_failure_of_the_model_is_one_line(address: str) -> None:
    said = real.refusal(address, Declaration(scale="0..255"))
    assert isinstance(said, NoAnswer)
    assert str(said).endswith("ValueError: pixels above 1")


def test_an_audit_asks_each_image_once(address: str, tmp_path: Path) -> None:
    real.assert_an_audit_asks_each_image_once(address, tmp_path)
