"""What follows a run is never the reason that it ends. Real trackers: tests/extras."""

import json
from pathlib import Path

import pytest
from conftest import Papagaio, Tiny

from papagaio.progress import Message, Step
from papagaio.result import CellRecord, Result
from papagaio.tracking import following as module
from papagaio.tracking.following import Following, numbers_of

EXAMPLE = Path(__file__).parent / "data" / "result-example.json"


class Kept:
    """Keeps what it is told, and fails at a word."""

    def __init__(self, fails_at: str = "") -> None:
        self.told: list[str] = []
        self._fails_at = fails_at

    def _keep(self, word: str) -> None:
        self.told.append(word)
        if word == self._fails_at:
            raise ConnectionError("refused\nby the server")

    def begin(self, run: str, result: Result) -> None:  # noqa: ARG002
        self._keep(run)

    def trained(self, cell: CellRecord) -> None:
        self._keep(cell.id)

    def end(self, result: Result) -> None:  # noqa: ARG002
        self._keep("end")


def test_a_tracker_that_fails_is_named_once_and_not_told_more() -> None:
    result = Result.model_validate(json.loads(EXAMPLE.read_text()))
    first, second = result.cells[:2]
    said: list[Step | Message] = []
    fine, fails = Kept(), Kept(first.id)
    trackers = Following({"mlflow=x": fails, "tensorboard=y": fine}, said.append)
    trackers.begin("run", result)
    trackers.trained(first)
    trackers.trained(second)
    trackers.end(result)
    assert fine.told == ["run", first.id, second.id, "end"]
    assert fails.told == ["run", first.id]
    (line,) = said
    assert line == Message("warning: log-to mlflow=x: refused; the run goes on without it")


def test_scores_become_numbers_with_their_intervals() -> None:
    scores = Result.model_validate(json.loads(EXAMPLE.read_text())).cells[0].scores
    assert scores.fidelity
    numbers = numbers_of(scores)
    assert numbers["fidelity"] == scores.fidelity.value
    assert numbers["fidelity_low"] == scores.fidelity.low
    assert len(numbers) == 3 * sum(value is not None for _, value in scores)


def test_a_tracker_without_its_package_is_one_line_before_anything_is_asked(
    tiny: Tiny, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    ended = papagaio(*tiny.audit(), "--log-to=mlflow=http://127.0.0.1:1")
    assert ended.code == 2
    assert ended.complaint == (
        "papagaio: --log-to mlflow=http://127.0.0.1:1: needs a package that is missing: "
        "pip install '.[mlflow]' in Papagaio's checkout"
    )
    assert tiny.asked() == []


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("wandb=x", "write tensorboard=FOLDER or mlflow=URI"),
        ("mlflow=https://me:secret@host", "a URI without a password"),
    ],
)
def test_a_wrong_place_is_one_line(
    tiny: Tiny, papagaio: Papagaio, place: str, complaint: str
) -> None:
    ended = papagaio(*tiny.audit(), f"--log-to={place}")
    assert ended.code == 2
    assert complaint in ended.complaint
