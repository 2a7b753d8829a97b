import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import Case, Run, images_in
from numpy.typing import NDArray

from papagaio.asking import ask, question_for
from papagaio.blackboxes.contract import Contract
from papagaio.errors import BadAnswer, BadImages, BadLedger
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger
from papagaio.progress import Message, Step

Shades = NDArray[np.uint8]

# What a failing black box does to the answers to a request.
FAILURES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "raises": lambda scores: np.concatenate([scores, np.empty((1, 99))]),
    "forgets an image": lambda scores: scores[:-1],
    "a NaN": lambda scores: scores * np.float32(np.nan),
    "another type": lambda scores: scores.astype(np.float64),
    "logits": lambda scores: np.asarray(np.log(scores), np.float32),
}


def images_of(shades: Shades) -> ImageSet:
    """Images of one pixel: the same shade is the same image."""
    return ImageSet.of("shades", shades.reshape(-1, 1, 1, 1))


def answers_to(shades: Shades) -> NDArray[np.float32]:
    share = (shades.astype(np.float32) + 1) / 257
    return np.stack([share, 1 - share], axis=1)


@dataclass
class Box:
    """Answers by the shade; fails where its list of failures says so, each call taking one."""

    batch: int = 4
    failures: list[str] = field(default_factory=list)
    requests: list[list[int]] = field(default_factory=list)
    name: str = "box"
    identity: str = "box-1"
    classes: int = 2

    @property
    def contract(self) -> Contract:
        return Contract(1, 1, 1, classes=self.classes, batch=self.batch)

    @property
    def sent(self) -> list[int]:
        return [shade for request in self.requests for shade in request]

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shades = images.ravel()
        self.requests.append(shades.tolist())
        failure = self.failures.pop(0) if self.failures else ""
        scores = answers_to(shades)
        return FAILURES[failure](scores) if failure else scores

    def close(self) -> None:
        pass


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


sets = st.lists(st.integers(0, 30), min_size=1, max_size=40).map(lambda x: np.array(x, np.uint8))


@settings(deadline=None, max_examples=60)
@given(
    shades=sets,
    batch=st.integers(1, 9),
    earlier=st.lists(st.integers(0, 40), unique=True, max_size=15),
    failures=st.lists(st.sampled_from(["", "", *FAILURES]), max_size=12),
    data=st.data(),
)
def test_whatever_fails_every_answer_is_paid_once(
    shades: Shades, batch: int, earlier: list[int], failures: list[str], data: st.DataObject
) -> None:
    images = images_of(shades)
    rows = np.array(data.draw(st.lists(st.integers(0, len(shades) - 1), min_size=1)))
    wanted, answered = set(shades[rows].tolist()), set(earlier)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        if earlier:
            before = images_of(np.array(earlier, np.uint8))
            with Ledger(path) as ledger:
                ask(Box(batch), before, ledger)
        answers, lost = None, 0
        for _ in range(len(failures) + 1):
            box = Box(batch, failures)
            # Opened anew, as by a process that was started again.
            with Ledger(path) as ledger:
                try:
                    answers = ask(box, images.take(rows), ledger)
                except BadAnswer:
                    lost += len(box.requests[-1])
                    answered.update(*box.requests[:-1])
                else:
                    answered.update(box.sent)
            assert len(box.sent) <= len(rows)
            assert len(set(box.sent)) == len(box.sent)
            assert max(map(len, box.requests), default=0) <= batch
        with Ledger(path) as ledger:
            (totals,) = ledger.totals()
            assert not list(ledger.problems())
    assert answers is not None
    np.testing.assert_array_equal(answers, answers_to(shades[rows]))
    assert answered == wanted | set(earlier)
    assert (totals.answers, totals.interrupted) == (len(answered), lost)


def test_an_answered_image_is_not_sent_again(ledger: Ledger) -> None:
    images = images_of(np.arange(10, dtype=np.uint8))
    box = Box()
    ask(box, images.take(np.array([2, 5, 7])), ledger)

    again = ask(box, images, ledger)

    assert box.requests == [[2, 5, 7], [0, 1, 3, 4], [6, 8, 9]]
    np.testing.assert_array_equal(again, answers_to(np.arange(10, dtype=np.uint8)))
    assert ask(Box(failures=["raises"]), images, ledger).tobytes() == again.tobytes()


def test_another_black_box_is_asked_anew(ledger: Ledger) -> None:
    images = images_of(np.arange(3, dtype=np.uint8))
    ask(Box(), images.take(np.arange(3)), ledger)
    other = Box(identity="box-2")

    ask(other, images.take(np.arange(3)), ledger)

    assert other.sent == [0, 1, 2]
    assert [total.question for total in ledger.totals()] == [
        question_for(Box()),
        question_for(other),
    ]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_request_keeps_the_answers_before_it_and_counts_as_interrupted(
    ledger: Ledger, failure: str
) -> None:
    images = images_of(np.arange(10, dtype=np.uint8))
    box = Box(failures=["", failure])

    with pytest.raises(BadAnswer):
        ask(box, images, ledger)

    (totals,) = ledger.totals()
    assert (totals.answers, totals.requests, totals.interrupted) == (4, 1, 4)
    assert len(box.requests) == 2
    assert ledger.missing(question_for(box), images.digests).tolist() == [4, 5, 6, 7, 8, 9]


def test_images_of_another_shape_are_refused_before_anything_is_sent(ledger: Ledger) -> None:
    box = Box()
    wide = ImageSet.of("wide", np.zeros((2, 1, 2, 1), np.uint8))

    with pytest.raises(BadImages, match=r"\(1, 2, 1\).*\(1, 1, 1\)"):
        ask(box, wide, ledger)

    assert box.requests == []
    assert ledger.totals() == []


def test_a_black_box_that_has_other_classes_than_before_is_not_asked(ledger: Ledger) -> None:
    images = images_of(np.arange(10, dtype=np.uint8))
    ask(Box(), images.take(np.arange(3)), ledger)
    box = Box(classes=3)

    with pytest.raises(BadLedger, match=r"box-1 answered with 2 classes.*another identity"):
        ask(box, images, ledger)

    assert box.requests == []
    assert not list(ledger.problems())


def test_progress_counts_answers_already_paid(ledger: Ledger) -> None:
    images = images_of(np.arange(10, dtype=np.uint8))
    ask(Box(), images.take(np.arange(3)), ledger)
    steps: list[Step | Message] = []

    ask(Box(), images, ledger, steps.append)

    assert [(s.done, s.total) for s in steps if isinstance(s, Step)] == [(3, 10), (7, 10), (10, 10)]


def test_asking_works_outside_the_main_thread(tmp_path: Path) -> None:
    found = []

    def work() -> None:
        with Ledger(tmp_path / "of-the-thread.sqlite") as own:
            found.append(ask(Box(), images_of(np.arange(5, dtype=np.uint8)), own))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    np.testing.assert_array_equal(found[0], answers_to(np.arange(5, dtype=np.uint8)))


@dataclass
class Together(Box):
    """Three requests at a time. The first three arrive together; then `answer_of` answers."""

    answer_of: Callable[[Shades], NDArray[np.float32]] = answers_to
    arrived: threading.Barrier = field(default_factory=lambda: threading.Barrier(3))
    in_flight: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def contract(self) -> Contract:
        return Contract(1, 1, 1, classes=2, batch=2, concurrency=3)

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shades = images.ravel()
        with self.lock:
            self.requests.append(shades.tolist())
            among_first = len(self.requests) <= 3
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        if among_first:
            self.arrived.wait(timeout=60)
        try:
            return self.answer_of(shades)
        finally:
            with self.lock:
                self.in_flight -= 1


def test_as_many_requests_as_allowed_are_in_flight_and_no_more(ledger: Ledger) -> None:
    def slowly(shades: Shades) -> NDArray[np.float32]:
        # The later ones are answered first.
        time.sleep(0.001 * (40 - int(shades[0])))
        return answers_to(shades)

    images = images_of(np.arange(40, dtype=np.uint8))
    box = Together(answer_of=slowly)
    answers = ask(box, images, ledger)
    assert box.most == 3
    assert sorted(box.sent) == [*range(40)]
    np.testing.assert_array_equal(answers, answers_to(np.arange(40, dtype=np.uint8)))
    (totals,) = ledger.totals()
    assert (totals.answers, totals.requests, totals.interrupted) == (40, 20, 0)


def test_after_a_failure_the_others_in_flight_are_stored_and_none_is_sent(ledger: Ledger) -> None:
    failed = threading.Event()

    def fail_first(shades: Shades) -> NDArray[np.float32]:
        if 2 in shades:
            failed.set()
            raise RuntimeError("no")
        failed.wait(timeout=60)
        time.sleep(0.1)
        return answers_to(shades)

    images = images_of(np.arange(40, dtype=np.uint8))
    box = Together(answer_of=fail_first)
    with pytest.raises(BadAnswer, match="RuntimeError: no"):
        ask(box, images, ledger)
    assert sorted(box.sent) == [0, 1, 2, 3, 4, 5]
    (totals,) = ledger.totals()
    assert (totals.answers, totals.requests, totals.interrupted) == (4, 2, 2)
    assert ledger.missing(question_for(box), images.digests[:6]).tolist() == [2, 3]


# Says that a request has arrived and that Ctrl-C was noticed, and answers it when the file named
# `go` is there.
ASK_SLOWLY = """
import signal, sys, time
from pathlib import Path
import numpy as np
from papagaio.asking import ask
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

folder, most = Path(sys.argv[1]), int(sys.argv[2])

def answer(images):
    asking = signal.getsignal(signal.SIGINT)
    said = False
    print("request\\n", end="", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.01)
        if signal.getsignal(signal.SIGINT) is not asking and not said:
            print("interrupted\\n", end="", flush=True)
            said = True
    return np.full((len(images), 2), 0.5, np.float32)

box = FunctionBox("box", "box-1", Contract(1, 1, 1, classes=2, batch=4, concurrency=most), answer)
images = ImageSet.of("shades", np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1))
with Ledger(folder / "ledger.sqlite") as ledger:
    ask(box, images, ledger)
"""


def ask_slowly(folder: Path, most: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", ASK_SLOWLY, folder, str(most)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for _ in range(most):
        assert process.stdout.readline() == "request\n"
    return process


def interrupt(process: subprocess.Popen[str], most: int) -> None:
    """Press Ctrl-C, and wait until the process has noticed: signals that wait are one signal."""
    process.send_signal(signal.SIGINT)
    assert process.stdout
    for _ in range(most):
        assert process.stdout.readline() == "interrupted\n"


@pytest.mark.parametrize("most", [1, 3])
def test_ctrl_c_lets_the_requests_in_flight_be_answered_and_written(
    tmp_path: Path, most: int
) -> None:
    process = ask_slowly(tmp_path, most)

    interrupt(process, most)
    assert process.poll() is None
    (tmp_path / "go").touch()
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert stdout == ""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert (totals.answers, totals.requests, totals.interrupted) == (4 * most, most, 0)


@pytest.mark.parametrize("most", [1, 3])
def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, most: int) -> None:
    process = ask_slowly(tmp_path, most)

    interrupt(process, most)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert (totals.answers, totals.requests, totals.interrupted) == (0, 0, 4 * most)


def test_ctrl_c_ends_the_command_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    case = Case(tmp_path, budget=40, epochs=1)
    case.prepare()
    run = Run(case, "run")
    process = run.start()
    while len(run.received) < 3 and process.poll() is None:
        time.sleep(0.005)

    process.send_signal(signal.SIGINT)

    code = process.wait(timeout=60)
    *_, last = run.output().splitlines()
    assert "Traceback" not in run.output()
    assert (code, last) == (
        130,
        "papagaio: interrupted; run the same command again to resume",
    )
    answers, interrupted = run.answers()
    assert set(images_in(run.received)) == answers.keys()
    assert interrupted == 0
    run.finish()
    assert len(images_in(run.received)) == case.images
