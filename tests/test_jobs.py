"""Jobs: which are run, in which order, where, and what happens when one diverges."""

import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from papagaio.errors import BadSettings, Diverged
from papagaio.executors.here import in_process, on_this_machine
from papagaio.jobs import Job, run_jobs
from papagaio.progress import Message, Progress, Step


@dataclass(frozen=True)
class Sum:
    """The record of a job that adds."""

    value: int

    @property
    def note(self) -> str:
        return f"sum {self.value}"


def add(folder: Path, name: str, numbers: tuple[int, ...], progress: Progress) -> Sum:
    (folder / name).write_text("ran")
    if not numbers:
        raise Diverged("nothing to add")
    progress(Step(name, len(numbers), len(numbers), "numbers"))
    return Sum(sum(numbers))


def job(folder: Path, name: str, *numbers: int, done: Sum | None = None) -> Job[Sum]:
    return Job(name, len(numbers), partial(add, folder, name, numbers), lambda: done)


def test_missing_jobs_run_longest_first_after_the_finished_ones(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "short", 1), job(tmp_path, "long", 1, 2, 3)]
    jobs.append(job(tmp_path, "finished", 9, 9, 9, 9, done=Sum(36)))
    outcomes = list(run_jobs(jobs, in_process, unit="sums"))
    assert [(one.id, outcome) for one, outcome in outcomes] == [
        ("finished", Sum(36)),
        ("long", Sum(6)),
        ("short", Sum(1)),
    ]
    assert not (tmp_path / "finished").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_diverged_job_does_not_stop_the_others(tmp_path: Path, workers: int) -> None:
    jobs = [job(tmp_path, "a", 1, 2), job(tmp_path, "broken"), job(tmp_path, "b", 3)]
    # Finished or not is asked here, and a lambda does not pickle: only `run` goes to a worker.
    outcomes = {
        one.id: outcome for one, outcome in run_jobs(jobs, on_this_machine(workers), unit="x")
    }
    assert outcomes["a"] == Sum(3)
    assert outcomes["b"] == Sum(3)
    assert isinstance(outcomes["broken"], Diverged)
    assert str(outcomes["broken"]) == "nothing to add"


def test_progress_counts_jobs_and_shows_what_each_left(tmp_path: Path) -> None:
    told: list[Step | Message] = []
    jobs = [job(tmp_path, "a", 1, 2), job(tmp_path, "broken"), job(tmp_path, "z", done=Sum(0))]
    list(run_jobs(jobs, in_process, unit="sums", progress=told.append))
    assert told == [
        Step("training", 1, 3, "sums"),
        Step("a", 2, 2, "numbers"),
        Step("training", 2, 3, "sums", "sum 3"),
        Message("broken: nothing to add"),
        Step("training", 3, 3, "sums", "diverged"),
    ]


def test_workers_are_processes_of_their_own(tmp_path: Path) -> None:
    jobs = [job(tmp_path, str(n), n) for n in range(4)]
    outcomes = {one.id: outcome for one, outcome in run_jobs(jobs, on_this_machine(2), unit="sums")}
    assert outcomes == {str(n): Sum(n) for n in range(4)}
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2", "3"}


def killed(_: Progress) -> Sum:
    os.kill(os.getpid(), signal.SIGKILL)
    return Sum(0)


def test_a_worker_that_is_killed_is_one_clear_error(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a", 1), Job[Sum]("killed", 0, killed, lambda: None)]
    with pytest.raises(BadSettings, match="workers 2: a worker process was killed"):
        list(run_jobs(jobs, on_this_machine(2), unit="sums"))
