"""Where trainings run: what is refused, what travels to another machine, and what comes back."""

import pickle
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Papagaio, Tiny

from papagaio import files
from papagaio.auditing.cells import Cell, CellContext, ScoringSet, TrainingSet, cell_job
from papagaio.auditing.plan import AttackConfig, Training
from papagaio.executors.away import attempts, contents, mirror, replaced
from papagaio.jobs import Task
from papagaio.progress import Progress, Step, no_progress
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe


@dataclass(frozen=True)
class Numbers:
    """Frozen numbers, and a folder for what adds them."""

    values: files.Frozen
    folder: Path


def add(numbers: Numbers, progress: Progress) -> float:
    """Add number by number, and continue at the last checkpoint; a negative one is the end."""
    own = numbers.folder / "sum"
    checkpoint, sums = own / "checkpoint", own / "sums.txt"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    values = files.read_array(numbers.values)
    for index in range(done, len(values)):
        files.write(sums, (sums.read_text() if done else "") + f"{index} ")
        done = index + 1
        files.write(checkpoint, str(done))
        progress(Step("sum", done, len(values), "numbers"))
    checkpoint.unlink()
    return float(values.sum())


def test_an_interrupted_task_continues_elsewhere_from_what_came_back(tmp_path: Path) -> None:
    values, folder = tmp_path / "values.npy", tmp_path / "run"
    np.save(values, np.arange(4.0))
    task = Task("sum", partial(add, Numbers(values, folder)))
    reports = attempts(task, folder, {}, lambda leaf: leaf)
    kept, outcome = next(reports)
    assert outcome is None
    assert kept["checkpoint"] == b"1"
    reports.close()
    mirror(kept, folder / "sum")
    values.unlink()

    def fetch(leaf: object) -> object:
        return np.arange(4.0) if leaf == values else leaf

    *_, (kept, outcome) = attempts(task, folder, contents(folder / "sum"), fetch)
    assert outcome == ("sum", 6.0)
    mirror(kept, folder / "sum")
    assert (folder / "sum" / "sums.txt").read_text().split() == ["0", "1", "2", "3"]
    assert not (folder / "sum" / "checkpoint").exists()


def cell_task(folder: Path) -> Task:
    random = np.random.default_rng(0)
    arrays = {
        "images": random.integers(0, 256, (16, 8, 8, 1), np.uint8),
        "answers": np.eye(3, dtype=np.float32)[np.arange(16) % 3],
        "labels": np.arange(16) % 3,
    }
    for name, array in arrays.items():
        files.write_array(folder / f"{name}.npy", array)
    data = TrainingSet(folder / "images.npy", folder / "answers.npy", "probabilities", "digest")
    recipe = Recipe("quick", rate=1e-3, batch=8, epochs=2)
    attack = AttackConfig("probabilities", recipe)
    training = Training("copy", "small-cnn", "random", attack, 16, 0, "transfer", "queried")
    context = CellContext(folder / "cells", ScoringSet(data, folder / "labels.npy"), Machine(), 0)
    job = cell_job(context, Cell(training, data))
    return Task(job.id, job.run)


def test_a_cell_on_a_machine_without_files_leaves_the_same_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "a secret")
    task, cells = cell_task(tmp_path), tmp_path / "cells"

    def loaded(leaf: object) -> object:
        is_array = isinstance(leaf, Path) and leaf.is_file()
        return np.load(leaf) if is_array else leaf  # type: ignore[arg-type]

    sent = pickle.dumps(replaced(task, loaded))
    assert b"a secret" not in sent
    task(no_progress)
    here = (cells / task.id / "student.safetensors").read_bytes()
    for path in tmp_path.glob("*.npy"):
        path.unlink()
    *_, (kept, _) = attempts(pickle.loads(sent), cells, {}, lambda leaf: leaf)  # noqa: S301
    assert kept["student.safetensors"] == here
    assert list(kept)[-1] == "scores.json"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"executor": "ray"}, "--address: executor ray needs it"),
    ({"executor": "slurm"}, "--executor slurm: "),
    ({"executor": "ray", "address": "127.0.0.1:1", "workers": 2}, "--workers 2: a cluster runs"),
    ({"address": "127.0.0.1:1"}, "--address 127.0.0.1:1: only executor ray takes it"),
    ({"gpu-share": 0.5}, "--gpu-share 0.5: only executor ray takes it"),
    ({"executor": "ray", "address": "ray://host:1"}, "--address ray://host:1: "),
]


@pytest.mark.parametrize(("options", "complaint"), REFUSED)
def test_a_place_that_cannot_run_is_refused_before_anything_is_asked(
    tiny: Tiny, papagaio: Papagaio, options: dict[str, Any], complaint: str
) -> None:
    refused = papagaio(*tiny.audit(**options))
    assert refused.code == 2
    assert complaint in refused.complaint
    assert not tiny.asked()
    assert not tiny.out.exists()


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("executor", ["ray", "slurm"])
def test_a_missing_extra_is_one_line(tiny: Tiny, papagaio: Papagaio, executor: str) -> None:
    address = {"address": "127.0.0.1:1"} if executor == "ray" else {}
    refused = papagaio(*tiny.audit(executor=executor, **address))
    assert refused.code == 2
    assert f"it needs pip install 'papagaio[{executor}]'" in refused.complaint
