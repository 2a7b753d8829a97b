"""Trainings as jobs of submitit, by its executor that starts processes of this machine."""

import gc
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from papagaio.errors import Diverged, Lost
from papagaio.executors.slurm import slurm
from papagaio.jobs import Task
from papagaio.progress import Message, Progress, Step

pytest.importorskip("submitit", reason="make test-executors installs submitit")

# submitit leaves a process to itself whose result it has read.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@pytest.fixture(autouse=True)
def _jobs_find_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def work(folder: Path, name: str, _: Progress) -> str:
    """Be killed (the first time, or always), fail, or return a name."""
    begun = folder / f"{name}.begun"
    if name == "always" or (name == "once" and not begun.exists()):
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "diverges":
        raise Diverged("not finite")
    return f"{name} is done"


def run(folder: Path, *names: str) -> tuple[dict[str, object], list[Step | Message]]:
    told: list[Step | Message] = []
    executor = slurm(folder / "slurm", cpus=1, gpus=0, cluster="local")
    tasks = [Task(name, partial(work, folder, name)) for name in names]
    outcomes = dict(executor(tasks, told.append))
    gc.collect()
    return outcomes, told


def test_a_killed_job_is_sent_again_and_a_diverged_one_is_an_outcome(tmp_path: Path) -> None:
    outcomes, told = run(tmp_path, "plain", "once", "diverges")
    assert outcomes["plain"] == "plain is done"
    assert outcomes["once"] == "once is done"
    assert isinstance(outcomes["diverges"], Diverged)
    (message,) = told
    assert isinstance(message, Message)
    assert message.text.startswith("once: it lost its worker (see ")


def test_a_job_that_is_always_killed_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Lost, match="always: it lost its worker 3 times"):
        run(tmp_path, "always")
    gc.collect()
