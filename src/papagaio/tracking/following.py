"""Trackers follow a run; the run does not depend on them."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from papagaio.errors import BadSettings, to_install
from papagaio.progress import Message, Progress
from papagaio.result import CellRecord, Result, Scores

__all__ = ["Following", "Tracker", "follow", "need_trackers", "numbers_of"]


class Tracker(Protocol):
    """Something that is told what happens in a run. It may raise whatever it likes.

    A run that goes on after an interruption begins again, with the same `started`, and is told of
    the cells that ended before, too.
    """

    def begin(self, run: str, result: Result) -> None:
        """The trainings begin: the run's name, and its result without cells."""

    def trained(self, cell: CellRecord) -> None:
        """A training has ended with scores."""

    def end(self, result: Result) -> None:
        """The run ends, or is interrupted."""


class Following:
    """The trackers of a run; one that fails is named once, and not told anything any more."""

    def __init__(self, trackers: dict[str, Tracker], progress: Progress) -> None:
        self._trackers = trackers
        self._progress = progress

    def begin(self, run: str, result: Result) -> None:
        """The trainings begin."""
        self._tell(lambda tracker: tracker.begin(run, result))

    def trained(self, cell: CellRecord) -> None:
        """A training has ended with scores."""
        self._tell(lambda tracker: tracker.trained(cell))

    def end(self, result: Result) -> None:
        """The run ends, or is interrupted."""
        self._tell(lambda tracker: tracker.end(result))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in [*self._trackers.items()]:
            try:
                what(tracker)
            except Exception as error:  # noqa: BLE001  # a tracker is never the reason a run dies
                del self._trackers[name]
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                self._progress(
                    Message(f"warning: log-to {name}: {reason}; the run goes on without it")
                )


def need_trackers(places: Sequence[str]) -> None:
    """Refuse trackers whose packages are not installed.

    Args:
        places: `mlflow=URI` or `tensorboard=FOLDER`.

    Raises:
        BadSettings: a package is missing.
    """
    for place in places:
        name = place.partition("=")[0]
        if find_spec(name) is None:  # a tracker has the name of the package that it needs
            raise BadSettings(
                f"needs a package that is missing: {to_install(name)}",
                field="log_to",
                value=place,
            )


def follow(places: Sequence[str], out: Path, result: Result, progress: Progress) -> Following:
    """Tell trackers that the trainings of a run begin.

    Args:
        places: as for `need_trackers`.
        out: the run directory; its name is the run's.
        result: without cells.
        progress: told which tracker failed.
    """
    trackers = {}
    for place in places:
        name, _, where = place.partition("=")
        trackers[place] = import_module(f"papagaio.tracking.{name}").open_tracker(where)
    following = Following(trackers, progress)
    following.begin(out.resolve().name, result)
    return following


def numbers_of(scores: Scores) -> dict[str, float]:
    """Every score that was measured, with the ends of its interval, by name."""
    numbers: dict[str, float] = {}
    for name in Scores.model_fields:
        if (figure := getattr(scores, name)) is not None:
            numbers |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return numbers
