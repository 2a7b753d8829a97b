"""Trackers: a real MLflow server on loopback, and TensorBoard's own reader of its files."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import real
from conftest import Papagaio, Tiny
from example_results import EXAMPLE

from papagaio.result import read_result
from papagaio.tracking.mlflow import open_tracker

pytest.importorskip("mlflow", reason="needs pip install '.[mlflow]'")
pytest.importorskip("tensorboard", reason="needs pip install '.[tensorboard]'")

from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SERVER = """
import os
import sys

words = ["--host", "127.0.0.1", "--port", sys.argv[1], "--workers", "1"]
os.execvp("mlflow", ["mlflow", "server", *words, "--backend-store-uri", "sqlite:///runs.db"])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = real.python_with("mlflow", "mlflow==3.17.2")
    (port,) = real.free_ports(1)
    folder, host = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{port}"
    alone = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with real.serving(folder, SERVER, [python, "model.py", port], f"{host}/health", **alone):
        yield host


def test_settings_epochs_and_scores_arrive_once_even_if_the_run_goes_on(
    server: str, tiny: Tiny, papagaio: Papagaio
) -> None:
    board = tiny.folder / "board"
    command = tiny.audit(epochs=3, seeds="0,1")
    command += [f"--log-to=mlflow={server}", f"--log-to=tensorboard={board}"]
    for _ in range(2):
        ended = papagaio(*command)
        assert ended.code == 0, ended.stderr
        assert "warning" not in ended.stderr
        # MLflow would say here where its page is.
        assert len(ended.stdout.splitlines()) == 3
    cells = {cell.id: cell for cell in read_result(tiny.out / "result.json").cells}

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("papagaio")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"run", *cells}
    assert {one.info.status for one in runs.values()} == {"FINISHED"}
    assert runs["run"].data.params["budget"] == "12"
    for name, cell in cells.items():
        nested = runs[name]
        assert nested.data.tags["mlflow.parentRunId"] == runs["run"].info.run_id
        assert nested.data.params["seed"] == str(cell.seed)
        assert cell.scores.fidelity
        assert nested.data.metrics["fidelity_high"] == cell.scores.fidelity.high
        history = client.get_metric_history(nested.info.run_id, "loss")
        assert [(one.step, one.value) for one in history] == [
            (point.epoch, point.loss) for point in cell.curve
        ]

        events = EventAccumulator(str(board / "run" / name)).Reload()
        losses = [(one.step, one.value) for one in events.Scalars("loss")]
        assert losses == [
            (point.epoch, pytest.approx(point.loss, rel=1e-6)) for point in cell.curve
        ]
        (scored,) = events.Scalars("scores/fidelity")
        assert (scored.step, scored.value) == (12, pytest.approx(cell.scores.fidelity.value))
    assert (
        "settings/text_summary" in EventAccumulator(str(board / "run")).Reload().Tags()["tensors"]
    )


def test_a_run_that_was_killed_goes_on_under_the_same_parent(server: str) -> None:
    result = read_result(EXAMPLE)
    first, second = result.cells[:2]
    killed = open_tracker(server)
    killed.begin("example", result)
    killed.trained(first)
    again = open_tracker(server)
    again.begin("example", result)
    for cell in (first, second):
        again.trained(cell)
    again.end(result)

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("papagaio")
    query = f"tags.`papagaio.started` = '{result.started}'"
    found = client.search_runs([experiment.experiment_id], query)
    assert sorted(one.info.run_name for one in found) == sorted(["example", first.id, second.id])
    (parent,) = (one.info.run_id for one in found if one.info.run_name == "example")
    parents = {one.data.tags.get("mlflow.parentRunId") for one in found}
    assert parents == {parent, None}


def test_a_tracker_that_is_down_is_one_line_and_the_audit_ends_well(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    (port,) = real.free_ports(1)
    (tiny.folder / "file").touch()
    down = [f"mlflow=http://127.0.0.1:{port}", f"tensorboard={tiny.folder / 'file'}"]
    ended = papagaio(*tiny.audit(), *(f"--log-to={one}" for one in down))
    assert ended.code == 0
    warnings = [line for line in ended.stderr.splitlines() if "127.0.0.1" in line]
    assert len(warnings) == 1, ended.stderr
    assert warnings[0].startswith(f"warning: log-to {down[0]}: ")
    assert warnings[0].endswith("; the run goes on without it")
    assert ended.stderr.count("warning: log-to") == 2
    assert "Traceback" not in ended.stderr


def test_tensorboard_does_not_bring_tensorflow_into_the_audit(
    tiny: Tiny, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny.folder / "tensorflow.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tiny.folder)
    ended = papagaio(*tiny.audit(), f"--log-to=tensorboard={tiny.folder / 'board'}")
    assert ended.code == 0, ended.stderr
    assert "tensorflow" not in sys.modules
    assert [*Path(tiny.folder, "board", "run").glob("*/events.*")]
