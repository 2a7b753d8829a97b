"""Where trainings run: what is refused, what travels to another machine, and what comes back."""

import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Papagaio, Tiny

from papagaio import files
from papagaio.auditing.cells import cell_job
from papagaio.auditing.frozen import Cell, CellContext, ScoringSet, TrainingSet
from papagaio.auditing.plan import AttackConfig, Training
from papagaio.errors import BadSettings
from papagaio.executors.away import attempts, contents, mirror, replaced
from papagaio.executors.named import executor_for
from papagaio.executors.options import ExecutorOptions
from papagaio.jobs import Task
from papagaio.networks.headed import Architecture
from papagaio.options import validated
from papagaio.progress import Progress, Step, no_progress
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio_thesis import trials
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.inputs import PARTS
from papagaio_thesis.measuring import EvaluationSet
from papagaio_thesis.trials import Trial, TrialContext, trial_job


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


def choose(folder: Path, progress: Progress) -> str:
    """Try two things before there is a checkpoint."""
    for trial in ("first", "second"):
        files.write(folder / "choice" / "tried" / trial, trial)
        progress(Step("choosing", 1, 2, "trials"))
        progress(Step("choosing", 1, 2, "trials"))
    return "chosen"


def test_what_a_choice_has_tried_comes_back_once_before_the_first_checkpoint(
    tmp_path: Path,
) -> None:
    task = Task("choice", partial(choose, tmp_path))
    reports = [*attempts(task, tmp_path, {}, lambda leaf: leaf)]
    first, both = "tried/first", ["tried/first", "tried/second"]
    assert [[*kept] for kept, _ in reports] == [[first], both, both]
    assert [outcome for _, outcome in reports] == [None, None, ("choice", "chosen")]


def arrays_in(folder: Path, side: int, channels: int) -> dict[str, Path]:
    random = np.random.default_rng(0)
    arrays = {
        "images": random.integers(0, 256, (16, side, side, channels), np.uint8),
        "answers": np.eye(3, dtype=np.float32)[np.arange(16) % 3],
        "labels": np.arange(16) % 3,
    }
    for name, array in arrays.items():
        files.write_array(folder / f"{name}.npy", array)
    return {name: folder / f"{name}.npy" for name in arrays}


def a_cell(folder: Path) -> Task:
    paths = arrays_in(folder, 8, 1)
    data = TrainingSet(paths["images"], paths["answers"], "probabilities", "digest")
    attack = AttackConfig("probabilities", Recipe("quick", rate=1e-3, batch=8, epochs=2))
    training = Training("copy", "small-cnn", "random", attack, 16, 0, "transfer", "queried")
    context = CellContext(folder / "runs", ScoringSet(data, paths["labels"]), Machine(), 0)
    job = cell_job(context, Cell(training, data))
    return Task(job.id, job.run)


def a_trial(folder: Path) -> Task:
    paths = arrays_in(folder, 32, 3)
    evaluated = {"images": paths["images"], "labels": paths["labels"]}
    train, test = (
        EvaluationSet(part, **evaluated, teacher_labels=paths["labels"], size=8) for part in PARTS
    )
    trial = Trial(
        study="experiment 4",
        variant="thesis",
        architecture=Architecture(BODIES["MobileNetV2"]),
        initial="random",
        weights="random",
        recipe=Recipe("quick", rate=1e-3, batch=8, epochs=1),
        training_set=trials.TrainingSet("small", **paths, size=16, digest="digest"),
        seed=0,
        marks=(1,),
        machine=Machine(),
    )
    job = trial_job(TrialContext(folder / "runs", train, test, probed=8), trial)
    return Task(job.id, job.run)


@pytest.mark.parametrize(
    ("make", "last"), [(a_cell, "scores.json"), (a_trial, "record.json")], ids=["cell", "trial"]
)
def test_a_training_on_a_machine_without_files_leaves_the_same_copy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], Task],
    last: str,
) -> None:
    monkeypatch.setenv("API_KEY", "a secret")
    task, runs = make(tmp_path), tmp_path / "runs"

    def loaded(leaf: object) -> object:
        return np.load(leaf) if isinstance(leaf, Path) and leaf.is_file() else leaf

    sent = pickle.dumps(replaced(task, loaded))
    assert b"a secret" not in sent
    task(no_progress)
    here = (runs / task.id / "student.safetensors").read_bytes()
    for path in tmp_path.glob("*.npy"):
        path.unlink()
    *_, (kept, _) = attempts(pickle.loads(sent), runs, {}, lambda leaf: leaf)  # noqa: S301
    assert kept["student.safetensors"] == here
    assert list(kept)[-1] == last


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"executor": "ray"}, "address: executor ray needs it"),
    ({"executor": "ray", "address": "127.0.0.1:1", "workers": 2}, "workers 2: a cluster runs"),
    ({"address": "127.0.0.1:1"}, "address 127.0.0.1:1: only executor ray takes it"),
    ({"gpu_share": 0.5}, "gpu-share 0.5: only executor ray takes it"),
    ({"executor": "ray", "address": "ray://host:1"}, "address ray://host:1: "),
    ({"executor": "slurm"}, "executor slurm: it needs pip install '.\\[slurm\\]'"),
    (
        {"executor": "ray", "address": "127.0.0.1:1"},
        "executor ray: it needs pip install '.\\[ray\\]'",
    ),
]


@pytest.mark.parametrize(("options", "complaint"), REFUSED)
def test_a_place_that_cannot_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], complaint: str
) -> None:
    for extra in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(BadSettings, match=complaint):
        executor_for(validated(ExecutorOptions, options), tmp_path, device="cpu", threads=1)


def test_it_is_refused_before_anything_is_asked(tiny: Tiny, papagaio: Papagaio) -> None:
    refused = papagaio(*tiny.audit(executor="ray"))
    assert refused.code == 2
    assert refused.complaint.startswith("papagaio: --address: executor ray needs it")
    assert not tiny.asked()
    assert not tiny.out.exists()
