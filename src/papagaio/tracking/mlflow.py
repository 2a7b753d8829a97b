"""MLflow: an audit is a run of the experiment `papagaio`; its trainings are nested runs."""

import logging
import os
import time
from typing import TYPE_CHECKING

from papagaio.result import CellRecord, Result
from papagaio.tracking.following import Tracker, numbers_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["open_tracker"]

_EXPERIMENT = "papagaio"
_STARTED, _CELL = "papagaio.started", "papagaio.cell"

# The user's own variables win. By default, MLflow waits for minutes, prints to stdout, and sends
# its makers what is used.
_VARIABLES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# What a server takes.
_LONGEST_VALUE = 500


def open_tracker(where: str) -> Tracker:
    """A tracking server; a name and a password are read from MLflow's own variables."""
    return _Mlflow(where)


class _Mlflow:
    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._known: dict[str, str] = {}

    def begin(self, run: str, result: Result) -> None:
        self._client = _client(self._uri)
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        self._experiment: str = (
            found.experiment_id if found else self._client.create_experiment(_EXPERIMENT)
        )
        self._tags = {_STARTED: result.started}
        # What an earlier session of the same run has logged.
        query = f"tags.`{_STARTED}` = '{result.started}'"
        earlier = self._client.search_runs([self._experiment], query, max_results=50_000)
        # Killed, it left the audit's run open, which goes on; an open nested one is incomplete.
        self._known = {
            one.data.tags.get(_CELL, ""): one.info.run_id
            for one in earlier
            if _CELL not in one.data.tags or one.info.status != "RUNNING"
        }
        if "" in self._known:
            self._run = self._known[""]
            self._client.update_run(self._run, status="RUNNING")
            return
        self._run = self._create(run, {})
        self._log(self._run, result.settings, {}, 0)

    def trained(self, cell: CellRecord) -> None:
        if cell.id in self._known:
            return
        nested = self._create(cell.id, {"mlflow.parentRunId": self._run, _CELL: cell.id})
        facts = {"kind", "student", "recipe", "response", "budget", "seed", "augmentation"}
        self._log(nested, cell.model_dump(include=facts), numbers_of(cell.scores), cell.epochs)
        for name in ("loss", "distillation_accuracy"):
            points = [(point.epoch, getattr(point, name)) for point in cell.curve]
            self._client.log_batch(nested, [_metric(name, value, at) for at, value in points])
        self._client.set_terminated(nested)

    def end(self, result: Result) -> None:
        self._client.set_terminated(self._run, "FINISHED" if result.complete else "KILLED")

    def _create(self, name: str, tags: dict[str, str]) -> str:
        made = self._client.create_run(self._experiment, tags=self._tags | tags, run_name=name)
        return str(made.info.run_id)

    def _log(
        self, run: str, facts: dict[str, object], numbers: dict[str, float], epoch: int
    ) -> None:
        from mlflow.entities import Param  # noqa: PLC0415  # an extra

        params = [Param(name, str(value)[:_LONGEST_VALUE]) for name, value in facts.items()]
        metrics = [_metric(name, value, epoch) for name, value in numbers.items()]
        self._client.log_batch(run, metrics, params)


def _metric(name: str, value: float, step: int) -> object:
    from mlflow.entities import Metric  # noqa: PLC0415  # an extra

    return Metric(name, value, int(time.time() * 1000), step)


def _client(uri: str) -> "MlflowClient":
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    # It would say of each try that it failed.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    from mlflow import MlflowClient  # noqa: PLC0415  # an extra

    return MlflowClient(tracking_uri=uri)
