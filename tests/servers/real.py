"""What the tests against real servers share: environments, processes, a model, and its audit.

Servers pin packages of their own, so each gets an environment of its own, in build/servers.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from papagaio.blackboxes.contract import Declaration, checked_answers
from papagaio.blackboxes.named import open_black_box
from papagaio.cli.main import app
from papagaio.errors import PapagaioError
from papagaio.result import read_result

ENVIRONMENTS = Path(__file__).parents[2] / "build" / "servers"
SHAPE, CLASSES = (8, 8, 1), 3
IMAGES = np.random.default_rng(0).integers(0, 256, (70, *SHAPE), np.uint8)

# The brightest of three bands of rows, from pixels between 0 and 1.
BANDS = """
import numpy as np


def scores(pixels):
    pixels = np.asarray(pixels, "float32").reshape(-1, 8, 8, 1)
    if pixels.max() > 1:
        raise ValueError("pixels above 1")
    bands = np.stack([pixels[:, 3 * k : 3 * k + 2].mean((1, 2, 3)) for k in range(3)], 1)
    raised = np.exp(20 * bands)
    return (raised / raised.sum(1, keepdims=True)).astype("float32")
"""


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


def python_with(name: str, *packages: str) -> Path:
    """The Python of an environment with these packages, which is made where there is none."""
    folder, wanted = ENVIRONMENTS / name, " ".join(packages)
    executable, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [str(executable), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            pytest.skip(f"{wanted} cannot be installed here: {reason}")
        ready.write_text(wanted)
    return executable


@contextmanager
def serving(
    folder: Path, script: str, words: Sequence[object], ready: str, **more: str
) -> Iterator[None]:
    """Run a server until it is not needed any more.

    Args:
        folder: where it runs; `bands.py` in it holds the model.
        script: the text of `model.py` in it.
        words: the command.
        ready: a URL that it answers when it is ready.
        more: variables of its environment.
    """
    (folder / "bands.py").write_text(BANDS)
    (folder / "model.py").write_text(script)
    variables = {"PATH": f"{Path(str(words[0])).parent}:/usr/bin:/bin", "HOME": str(folder), **more}
    command = [str(word) for word in words]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=variables)
        try:
            _wait_for(ready, server, folder / "log")
            yield
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(url, timeout=5, trust_env=False).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"the server is not ready: {log.read_text()[-2000:]}")


def assert_answers_are_the_models(address: str, declared: Declaration) -> None:
    with closing(open_black_box(address, declared)) as box:
        assert box.contract.shape == SHAPE
        assert checked_answers(box, IMAGES[:64]) == pytest.approx(expected(IMAGES[:64]), abs=1e-6)
        # As one alone, too.
        assert checked_answers(box, IMAGES[64:65]) == pytest.approx(
            expected(IMAGES[64:65]), abs=1e-6
        )


def refusal(address: str, declared: Declaration) -> PapagaioError:
    """What is said when the model raises."""
    with closing(open_black_box(address, declared)) as box, pytest.raises(PapagaioError) as refused:
        checked_answers(box, IMAGES)
    assert "\n" not in str(refused.value)
    return refused.value


def assert_an_audit_asks_each_image_once(address: str, folder: Path, *more: object) -> None:
    random = np.random.default_rng(1)
    np.savez(folder / "photos.npz", images=random.integers(0, 256, (90, *SHAPE), np.uint8))
    mine = random.integers(0, 256, (60, *SHAPE), np.uint8)
    np.savez(folder / "mine.npz", images=mine, labels=expected(mine).argmax(1))
    words = ["audit", address, "--scale", "0..1", *more, "--concurrency", 3]
    words += ["--batch", 16, "--budget", 90, "--transfer", folder / "photos.npz"]
    words += ["--test", folder / "mine.npz", "--controls", "none", "--epochs", 1]
    words += ["--device", "cpu", "--threads", 1, "--out", folder / "run"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    result = read_result(folder / "run" / "result.json")
    assert result.black_box.accuracy.value == 1
    queries = result.queries
    assert queries.total == queries.ledger == 150 + queries.canaries
    assert queries.canaries > 0
    assert queries.change == pytest.approx(0, abs=1e-6)
