"""Known images among new ones: how many, where, and what their answers show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from papagaio.asking import ask, question_for
from papagaio.blackboxes.contract import Contract
from papagaio.canaries import Canaries, canaries_of, requests_of, tolerated
from papagaio.cli.main import app
from papagaio.errors import BadAnswer
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger
from papagaio.result import read_result

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]

# Their first pixel decides; the second one tells new images from known ones.
NEW = np.array([[n % 256, 1 + n // 256] for n in range(600)], np.uint8).reshape(-1, 1, 2, 1)
KNOWN = np.array([[n, 0] for n in range(20)], np.uint8).reshape(-1, 1, 2, 1)


def model(images: Pixels) -> Scores:
    share = (images[:, 0, 0, 0].astype(np.float32) + 1) / 257
    return np.stack([share, 1 - share], axis=1)


def another(images: Pixels) -> Scores:
    return model(255 - images)


@dataclass
class Box:
    """Answers as the model does; requests of which `is_wrong` is true, as `wrong` does."""

    wrong: Callable[[Pixels], Scores] = model
    is_wrong: Callable[[int], bool] = lambda _: True
    contract: Contract = field(default_factory=lambda: Contract(1, 2, 1, classes=2, batch=16))
    name: str = "box"
    identity: str = "box-1"
    requests: list[Pixels] = field(default_factory=list)

    def answer(self, images: Pixels) -> Scores:
        self.requests.append(images)
        return (self.wrong if self.is_wrong(len(self.requests)) else model)(images)

    def close(self) -> None:
        pass


def asked(box: Box, path: Path, tolerance: float = 0.01) -> Scores:
    canaries = Canaries(KNOWN, model(KNOWN), tolerance)
    with Ledger(path) as ledger:
        return ask(box, ImageSet.of("new", NEW), ledger, canaries=canaries)


def known_in(requests: list[Pixels]) -> list[int]:
    return [int((images[:, 0, 1, 0] == 0).sum()) for images in requests]


@given(rows=st.integers(0, 500), batch=st.integers(1, 300), canaries=st.integers(0, 5))
def test_requests_hold_each_image_once_and_a_hundredth_of_canaries(
    rows: int, batch: int, canaries: int
) -> None:
    requests = list(requests_of(np.arange(rows), batch, canaries))
    assert np.concatenate([np.empty(0, int), *(r.new for r in requests)]).tolist() == [*range(rows)]
    sent = sum(len(request.is_known) for request in requests)
    known = sum(len(request.known) for request in requests)
    assert all(len(request.is_known) <= batch for request in requests)
    assert sent == rows + known
    assert all(len(r.known) == r.is_known.sum() for r in requests)
    assert all((r.known < canaries).all() for r in requests)
    if not rows or not canaries:
        assert not known
    else:
        # A canary itself may be the image that makes the next one due.
        assert max(2, sent / 100 - 1) <= known < max(3, sent / 100 + 1)
        assert len(requests[0].known) >= min(2, batch)


def test_answers_are_those_of_the_new_images_and_canaries_are_counted_apart(
    tmp_path: Path,
) -> None:
    box = Box()
    answers = asked(box, tmp_path / "ledger")
    np.testing.assert_array_equal(answers, model(NEW))
    assert sum(known_in(box.requests)) == 7  # of 600 + 7
    places = {int(np.argmin(images[:, 0, 1, 0])) for images in box.requests if not images.all()}
    assert len(places) > 2
    with Ledger(tmp_path / "ledger") as ledger:
        (totals,) = ledger.totals()
        assert ledger.canaries(totals.question, totals.first) == (7, 0)
        assert ledger.canaries(totals.question, "9999") == (0, None)
        assert not list(ledger.problems())
    assert (totals.answers, totals.canaries) == (600, 7)


def test_a_model_that_changes_in_the_middle_is_asked_no_more(tmp_path: Path) -> None:
    box = Box(another, lambda number: number > 20)
    with pytest.raises(BadAnswer, match="box answers the same images in another way") as caught:
        asked(box, tmp_path / "ledger")
    assert "under box-1" in str(caught.value)
    # Two canaries in succession, of which there is one in a hundred images.
    assert len(box.requests) == 32
    with Ledger(tmp_path / "ledger") as ledger:
        (totals,) = ledger.totals()
        missing = ledger.missing(question_for(box), ImageSet.of("new", NEW).digests)
    assert totals.answers == 600 - len(missing) == sum(map(len, box.requests)) - totals.canaries


@pytest.mark.parametrize("left", [1, 550])
def test_after_an_interruption_a_changed_model_is_found_in_the_first_request(
    tmp_path: Path, left: int
) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ask(Box(), ImageSet.of("new", NEW[left:]), ledger)
    box = Box(another)
    with pytest.raises(BadAnswer, match="another way"):
        asked(box, tmp_path / "ledger")
    assert len(box.requests) == 1


def test_two_canaries_in_the_middle_of_a_request_are_enough(tmp_path: Path) -> None:
    def wrong_at_first(images: Pixels) -> Scores:
        return np.concatenate([another(images[:200]), model(images[200:])])

    box = Box(wrong_at_first, contract=Contract(1, 2, 1, classes=2, batch=400))
    with pytest.raises(BadAnswer, match="another way"):
        asked(box, tmp_path / "ledger")
    assert len(box.requests) == 1
    assert box.requests[0][200:, 0, 1, 0].min() == 0  # the last canary is answered rightly


def test_answers_in_another_order_are_found(tmp_path: Path) -> None:
    with pytest.raises(BadAnswer, match="come in another order"):
        asked(Box(lambda images: model(images)[::-1].copy()), tmp_path / "ledger")


def test_one_canary_that_differs_is_no_reason_to_stop(tmp_path: Path) -> None:
    box = Box(another, lambda number: number == 13)
    asked(box, tmp_path / "ledger")
    assert known_in(box.requests)[12] == 1
    with Ledger(tmp_path / "ledger") as ledger:
        count, change = ledger.canaries(question_for(box), "")
    assert count == 7
    assert change is not None
    assert change > 0.8


def test_noise_is_allowed_within_the_tolerance_and_measured(tmp_path: Path) -> None:
    def noisy(images: Pixels) -> Scores:
        shift = np.full(len(images), 0.05, np.float32)
        return np.asarray(model(images) + np.stack([shift, -shift], 1), np.float32).clip(0, 1)

    with pytest.raises(BadAnswer, match="it adds noise"):
        asked(Box(noisy), tmp_path / "strict")
    asked(Box(noisy), tmp_path / "tolerant", tolerance=np.inf)
    with Ledger(tmp_path / "tolerant") as ledger:
        _, change = ledger.canaries(question_for(Box()), "")
    assert change == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("response", "resolution", "allowed"),
    [("probabilities", 0, 0.01), ("rounded-1", 0, 0.11), ("probabilities", 0.1, 0.11)],
)
def test_a_score_may_change_by_a_step(response: str, resolution: float, allowed: float) -> None:
    assert allowed <= tolerated(response, resolution) < allowed + 0.01


def test_canaries_are_the_images_that_the_black_box_is_least_sure_of() -> None:
    images = NEW[[0, 255, 128, 100, 10]]
    chosen = canaries_of(images, model(images), 0.01)
    assert chosen.pixels[:, 0, 0, 0].tolist() == [128, 100, 10]
    np.testing.assert_array_equal(chosen.scores, model(chosen.pixels))


def test_canaries_of_labels_are_of_all_classes() -> None:
    labels = np.eye(2, dtype=np.float32)[np.arange(600) // 300]
    named = canaries_of(NEW, labels, 0.01).scores.argmax(1)
    assert 100 < named.sum() < 200


MISBEHAVING = """
import numpy as np

asked = 0

def answer(images):
    global asked
    asked += len(images)
    lit = images.reshape(len(images), 4, -1).mean(2)
    scores = np.exp(lit / 20)
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    return WRONG if asked > RIGHT else scores
"""


def audited(folder: Path, wrong: str, *words: str, right: int = 40) -> Result:
    """Audit a black box that answers rightly only about as many images as its test set has."""
    random = np.random.default_rng(0)
    source = MISBEHAVING.replace("WRONG", wrong).replace("RIGHT", str(right))
    (folder / "box.py").write_text(source)
    labels = np.arange(240) % 4
    images = random.integers(0, 90, (240, 4, 4, 1), np.uint8)
    images[np.arange(240), labels] += 60
    np.savez(folder / "test.npz", images=images[:40], labels=labels[:40])
    np.savez(folder / "transfer.npz", images=images[40:], labels=labels[40:])
    named = [f"{folder}/box.py:answer", "--input", "4x4x1", "--classes", "4", "--batch", "10"]
    sets = ["--test", f"{folder}/test.npz", "--transfer", f"{folder}/transfer.npz"]
    cost = ["--budget", "200", "--controls", "none", "--epochs", "1", "--out", f"{folder}/run"]
    return CliRunner().invoke(app, ["audit", *named, *sets, *cost, *words])


def checked(folder: Path, *words: str) -> str:
    """Check the black box that an audit left, on 20 images, and say what was found."""
    named = [f"{folder}/box.py:answer", "--input", "4x4x1", "--classes", "4", "--batch", "10"]
    sample = ["--test", f"{folder}/test.npz", "--limit", "24"]
    done = CliRunner().invoke(app, ["check", *named, *sample, *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_check_says_that_an_audit_may_stop(tmp_path: Path) -> None:
    assert audited(tmp_path, "scores[:, ::-1]", "--dry-run", right=20).exit_code == 0
    found = checked(tmp_path, "--ledger", f"{tmp_path}/kept.sqlite")
    (again,) = (line for line in found.splitlines() if line.startswith("asked again"))
    assert again.endswith(": an audit may stop, unless --unchecked is given")


@pytest.mark.parametrize("wrong", ["scores[::-1]", "scores[:, ::-1]"])
def test_an_audit_stops_when_answers_change(tmp_path: Path, wrong: str) -> None:
    done = audited(tmp_path, wrong)
    assert isinstance(done.exception, BadAnswer)
    assert "answers the same images in another way than before" in done.exception.args[0]
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert 40 < totals.answers < 240
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_changed_model_is_found_while_the_test_set_is_completed(tmp_path: Path) -> None:
    kept = ["--identity", "same", "--ledger", f"{tmp_path}/kept.sqlite"]
    assert audited(tmp_path, "scores", "--dry-run").exit_code == 0
    assert "asked again\tthe same answers\n" in checked(tmp_path, *kept)
    done = audited(tmp_path, "scores[:, ::-1]", *kept, right=0)
    assert isinstance(done.exception, BadAnswer)
    assert "answers the same images in another way than before" in done.exception.args[0]
    with Ledger(tmp_path / "kept.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert totals.answers < 40


def test_unchecked_an_audit_goes_on_and_reports_the_change(tmp_path: Path) -> None:
    done = audited(tmp_path, "scores[:, ::-1]", "--unchecked")
    assert done.exit_code == 0, done.output
    queries = read_result(tmp_path / "run" / "result.json").queries
    assert (queries.spent, queries.canaries) == (200, 3)
    assert queries.change is not None
    assert queries.change > 0.1
