"""Jobs: independent pieces of work, each with a finished record; the missing ones are run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from papagaio.errors import Diverged, PapagaioError
from papagaio.progress import Message, Progress, Step, no_progress

__all__ = ["Executor", "Job", "Record", "Task", "run_jobs"]


class Record(Protocol):
    """What a finished job leaves."""

    @property
    def note(self) -> str:
        """Its most important figure, in a few words."""
        ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Job(Generic[R]):
    """One piece of work.

    Attributes:
        id: its unique name.
        cost: roughly how long it takes, in any unit.
        run: does the work, or resumes it, and returns the record. It must pickle.
        finished: the record of an earlier run, or None.
    """

    id: str
    cost: float
    run: Callable[[Progress], R]
    finished: Callable[[], R | None]


@dataclass(frozen=True)
class Task:
    """A job as an executor runs it: its name and its work, which pickle."""

    id: str
    run: Callable[[Progress], Any]

    def __call__(self, progress: Progress) -> tuple[str, Any]:
        """Return the name, and the record or the error of the user's that ended the work."""
        try:
            return self.id, self.run(progress)
        except PapagaioError as error:
            return self.id, error


# Runs tasks and yields what they return in the order in which it is ready.
Executor = Callable[[Sequence[Task], Progress], Iterator[tuple[str, Any]]]


def run_jobs(
    jobs: Sequence[Job[R]], executor: Executor, *, unit: str, progress: Progress = no_progress
) -> Iterator[tuple[Job[R], R | Diverged]]:
    """Run the jobs that are not finished, the longest first; yield every job with its outcome.

    A training that diverges does not stop the others: its error is its outcome.

    Args:
        jobs: with different ids.
        executor: where they run.
        unit: what a job is called in progress, in the plural.
        progress: told when a job ends, and what the jobs themselves report.

    Yields:
        each job with its record, or with the error by which it diverged; finished jobs first.

    Raises:
        PapagaioError: what a job raised, if it did not diverge.
    """
    records = [(job, job.finished()) for job in jobs]
    missing = [job for job, record in records if record is None]
    done = len(jobs) - len(missing)
    yield from ((job, record) for job, record in records if record is not None)
    if not missing:
        return
    progress(Step("training", done, len(jobs), unit))
    longest_first = sorted(missing, key=lambda job: job.cost, reverse=True)
    by_id = {job.id: job for job in longest_first}
    tasks = [Task(job.id, job.run) for job in longest_first]
    for name, outcome in executor(tasks, progress):
        done += 1
        if isinstance(outcome, PapagaioError) and not isinstance(outcome, Diverged):
            raise outcome
        if isinstance(outcome, Diverged):
            progress(Message(f"{name}: {outcome}"))
        note = "diverged" if isinstance(outcome, Diverged) else outcome.note
        progress(Step("training", done, len(jobs), unit, note))
        yield by_id[name], outcome
