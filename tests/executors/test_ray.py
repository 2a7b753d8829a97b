"""Trainings on a real Ray cluster of this machine, whose nodes are killed."""

import json
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import COMMAND, Ended, Papagaio, Tiny

from papagaio.errors import BadSettings
from papagaio.executors.ray_cluster import ray_cluster

pytest.importorskip("ray", reason="make test-executors installs Ray")

# Ray tells its makers how it is used.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

SMALL = {"object_store_memory": 80 * 2**20}
LONG = {"epochs": 1500, "seeds": "0,1", "checkpoint-seconds": 1}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose first node has no core: only the commands under test use it."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415  # it reads the variable above

    head = {"num_cpus": 0, "include_dashboard": False, **SMALL}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def started(tiny: Tiny, out: Path, **options: object) -> subprocess.Popen[str]:
    command = [str(COMMAND), *tiny.audit(**LONG, out=out, **options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(running: subprocess.Popen[str]) -> Ended:
    stdout, stderr = running.communicate(timeout=400)
    return Ended(running.returncode, stdout, stderr)


def wait_for_checkpoints(out: Path, running: subprocess.Popen[str]) -> None:
    """Wait until every training has sent one."""
    while len(list(out.glob("cells/*/checkpoint"))) < 2:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


def weights(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("cells/*/student.safetensors")}


def test_two_nodes_of_which_one_dies_give_the_same_weights_and_then_no_node_is_one_line(
    cluster: Any,  # noqa: ANN401
    tiny: Tiny,
) -> None:
    alone, both, last = (tiny.folder / name for name in ("alone", "both", "last"))
    on_ray = {"executor": "ray", "address": cluster.address}
    assert ended(started(tiny, alone)).code == 0
    nodes = [cluster.add_node(num_cpus=1, **SMALL) for _ in range(2)]

    running = started(tiny, both, **on_ray)
    wait_for_checkpoints(both, running)
    cluster.remove_node(nodes[0], allow_graceful=False)
    done = ended(running)
    assert done.code == 0, done.stderr
    assert "it lost its worker (NodeDiedError) and continues on another" in done.stderr
    assert weights(both) == weights(alone)
    assert len(weights(both)) == 2
    assert not list(both.glob("cells/*/checkpoint"))

    running = started(tiny, last, **on_ray)
    while not list(last.glob("cells/*/checkpoint")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    cluster.remove_node(nodes[1], allow_graceful=False)
    done = ended(running)
    assert done.code == 1
    assert not done.stdout
    assert "Traceback" not in done.stderr
    complaint = done.stderr.splitlines()[-1]
    assert complaint.startswith("papagaio: the Ray cluster has no machine with the 1 cores")
    assert list(last.glob("cells/*/checkpoint"))
    assert ended(started(tiny, last)).code == 0
    assert weights(last) == weights(alone)


def test_a_machine_without_papagaio_is_one_line(
    cluster: Any,  # noqa: ANN401
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = tiny.folder / "bare"
    venv.create(bare)
    # Folders named in such a file are searched, and the editable Papagaio in them is not found.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site,) = bare.glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(paths))
    # As ray job submit does, tell Ray by which Python to start its workers.
    runtime = {"runtime_env": {"py_executable": str(bare / "bin" / "python")}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(runtime))
    cluster.add_node(num_cpus=1, **SMALL)
    done = ended(started(tiny, tiny.out, executor="ray", address=cluster.address))
    assert done.code == 2
    assert "papagaio: --executor ray: papagaio is missing on " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("listens", [False, True])
def test_an_address_that_does_not_answer_is_one_line_before_anything_is_asked(
    tiny: Tiny,
    papagaio: Papagaio,
    listens: bool,  # noqa: FBT001
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        # Alone, without the imports of the command.
        begun = time.monotonic()
        with pytest.raises(BadSettings):
            ray_cluster(address, tiny.out, cpus=1, gpus=0)
        assert time.monotonic() - begun < 10
        refused = papagaio(*tiny.audit(executor="ray", address=address))
    assert refused.code == 2
    assert f"--address {address}: no Ray cluster answers there" in refused.complaint
    assert not tiny.asked()
    assert not tiny.out.exists()
