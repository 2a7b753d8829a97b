"""An owner's function in a process of its own: what happens there reaches the audit as one line."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from papagaio.asking import ask
from papagaio.blackboxes.apart import FunctionApart, open_function
from papagaio.blackboxes.contract import Declaration, checked_answers
from papagaio.blackboxes.imported import import_function
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

# Answers by the shade of each image's only pixel, after doing something else.
BOX = """
import atexit, ctypes, os, subprocess, sys, threading, time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def predict(images):
    share = (images.ravel() + np.float32(1)) / 257
    scores = np.stack([share, 1 - share], 1)
    {body}
    return scores
"""

SHADES = np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1)

Open = Callable[..., FunctionApart]


def write_box(folder: Path, body: str) -> str:
    (folder / "box.py").write_text(BOX.format(body=body))
    return f"{folder / 'box.py'}:predict"


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def open_box(body: str = "", concurrency: int = 1) -> FunctionApart:
        declared = Declaration((1, 1, 1), classes=2, batch=4, concurrency=concurrency)
        return open_function(write_box(tmp_path, body), declared)

    return open_box


def test_its_main_thread_answers_beside_no_library_but_the_owners(opened: Open) -> None:
    box = opened(
        "raise OSError(os.getpid(), 'torch' in sys.modules, "
        "threading.current_thread() is threading.main_thread())"
    )
    with pytest.raises(BadAnswer, match=rf"Errno {box.process.pid}\] False: True"):
        box.answer(SHADES[:4])
    assert box.process.pid != os.getpid()


def test_answers_are_the_functions_and_images_stay_the_callers(opened: Open) -> None:
    box, images = opened("images[:] = 0"), SHADES.copy()
    for start, stop in ((0, 4), (4, 5), (5, 8)):
        answers = box.answer(images[start:stop])
        share = (np.arange(start, stop) + 1) / 257
        assert answers == pytest.approx(np.stack([share, 1 - share], 1))
        assert answers.flags.writeable
    assert np.array_equal(images, SHADES)


def test_it_is_found_where_this_process_finds_it_and_is_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found").mkdir()
    write_box(tmp_path / "found", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = "found.box:predict"
    box = open_function(spec, Declaration((1, 1, 1), classes=2))
    assert box.answer(SHADES[:1]).shape == (1, 2)
    assert box.identity == f"function-sha256:{import_function(spec).digest}"


WRONG = {
    "[0.5]": "returned list; return a NumPy array of float32",
    "None": "returned NoneType; return a NumPy array",
    "np.array([[{}, {}]])": "returned object; return float32",
    "np.zeros((70_000_000, 2), 'f4')": r"returned shape \(70000000, 2\), but 1 images of 2 classes",
    "scores.astype('f8')": "returned float64; return float32",
    "scores * 2": "scores that sum to 2 and not to 1",
    "1 / 0": "predict raised ZeroDivisionError: division by zero",
    "sys.exit('enough')": "predict raised SystemExit: enough",
    "(_ for _ in ()).throw(EOFError('no more'))": "predict raised EOFError: no more",
}


def test_what_it_returns_is_refused_as_anywhere_and_it_answers_again(opened: Open) -> None:
    choices = ", ".join(f"lambda scores: {wrong}" for wrong in WRONG)
    box = opened(f"if images.max() < 30: return [{choices}][images.max()](scores)")
    for shade, words in enumerate(WRONG.values()):
        with pytest.raises(BadAnswer, match=words):
            checked_answers(box, SHADES[shade : shade + 1])
    assert checked_answers(box, SHADES[36:]).shape == (4, 2)


def test_requests_are_answered_at_the_same_time(opened: Open, tmp_path: Path) -> None:
    meeting = "vars(sys).setdefault('meeting', threading.Barrier(4)).wait(timeout=60)"
    box = opened(meeting, concurrency=4)
    images = ImageSet.of("shades", SHADES[:32])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        answers = ask(box, images, ledger)
    assert answers[:, 0] == pytest.approx((np.arange(32) + 1) / 257)


# How it ends.


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("ctypes.string_at(0)", r"was ended by signal 11 \(Segmentation fault\); answers already"),
        ("os._exit(3)", "ended with exit code 3; answers already"),
        ("os.kill(os.getpid(), 9)", r"was ended by signal 9 \(Killed\), probably for lack of memo"),
    ],
)
def test_a_process_that_ends_is_one_line_and_answers_are_kept(
    opened: Open, tmp_path: Path, act: str, words: str, concurrency: int
) -> None:
    box, images = opened(f"if images.max() > 20: {act}", concurrency), ImageSet.of("shades", SHADES)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(BadAnswer, match=f"^the process of {box.name} {words}"):
            ask(box, images, ledger)
        (totals,) = ledger.totals()
        # Those that came before in requests of 4; another request may be in flight.
        assert 20 - 4 * (concurrency - 1) <= totals.answers <= 20
        with pytest.raises(BadAnswer, match=words.partition(";")[0]):
            ask(box, images, ledger)


def test_it_is_noticed_that_it_ended_while_another_holds_its_line(
    opened: Open, tmp_path: Path
) -> None:
    waiting = "[time.sleep(0.05) for _ in range(1200) if not (HERE / 'go').exists()]"
    box = opened(f"(os.fork() or {waiting}) and os._exit(3)")
    began = time.monotonic()
    with pytest.raises(BadAnswer, match="ended with exit code 3"):
        box.answer(SHADES[:4])
    assert time.monotonic() - began < 30
    (tmp_path / "go").touch()


def test_a_process_that_ends_while_it_imports_is_named(tmp_path: Path) -> None:
    (tmp_path / "box.py").write_text("import os\nos._exit(4)\n")
    with pytest.raises(
        BadSettings, match=r"box\.py:predict: the process .* ended with exit code 4"
    ):
        open_function(f"{tmp_path / 'box.py'}:predict", Declaration((1, 1, 1), classes=2))


@pytest.mark.parametrize("way", ["closed", "forgotten"])
def test_it_ends_by_itself_when_it_is_closed_or_forgotten(
    opened: Open, tmp_path: Path, way: str
) -> None:
    box = opened("atexit.register((HERE / 'ended').touch)")
    box.answer(SHADES[:4])
    process = box.process
    if way == "closed":
        box.close()
        with pytest.raises(BadAnswer, match="ended with exit code 0"):
            box.answer(SHADES[:4])
        box.close()
    else:
        del box
        gc.collect()
    assert process.poll() == 0
    assert (tmp_path / "ended").exists()


# The program around it.

ASK = """
import signal, sys
from contextlib import closing
from pathlib import Path
import numpy as np
from papagaio.asking import ask
from papagaio.blackboxes.apart import open_function
from papagaio.blackboxes.contract import Declaration
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

folder, most = Path(sys.argv[1]), int(sys.argv[2])

set_handler = signal.signal

def watched(number, handler):
    set_handler(number, handler)
    if handler is signal.default_int_handler:
        (folder / "interrupted").touch()

signal.signal = watched
declared = Declaration((1, 1, 1), classes=2, batch=4, concurrency=most)
images = ImageSet.of("shades", np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1))
box = open_function(f"{folder / 'box.py'}:predict", declared)
with closing(box), Ledger(folder / "ledger.sqlite") as ledger:
    print(len(ask(box, images, ledger)))
"""
ARRIVE_AND_WAIT = (
    "(HERE / f'arrived-{images.max()}').touch()\n"
    "    while not (HERE / 'go').exists(): time.sleep(0.01)"
)


def start(folder: Path, body: str, most: int = 1) -> "subprocess.Popen[str]":
    """A program that asks about 40 images in requests of 4, in a process group of its own."""
    write_box(folder, body)
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ASK, folder, str(most)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(folder: Path, pattern: str, most: int = 1) -> None:
    patience = time.monotonic() + 60
    while len([*folder.glob(pattern)]) < most:
        assert time.monotonic() < patience
        time.sleep(0.01)


def answers_in(folder: Path) -> int:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return sum(totals.answers for totals in ledger.totals())


def test_what_it_prints_goes_to_stderr_and_nothing_is_left_behind(tmp_path: Path) -> None:
    process = start(tmp_path, "print('aloud', end=' '); os.system('echo from a program')")
    stdout, stderr = process.communicate(timeout=60)
    assert stdout == "40\n"
    assert sorted(stderr.split()) == sorted(["aloud", "from", "a", "program"] * 10)


@pytest.mark.parametrize("most", [1, 3])
def test_ctrl_c_lets_it_finish_what_it_was_asked(tmp_path: Path, most: int) -> None:
    process = start(tmp_path, ARRIVE_AND_WAIT, most)
    wait_for(tmp_path, "arrived-*", most)
    os.killpg(process.pid, signal.SIGINT)
    wait_for(tmp_path, "interrupted")
    assert process.poll() is None
    (tmp_path / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == 1
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    assert stdout == ""
    assert answers_in(tmp_path) == 4 * most


@pytest.mark.parametrize("most", [1, 3])
def test_ctrl_c_twice_ends_it_although_the_function_never_returns(
    tmp_path: Path, most: int
) -> None:
    process = start(tmp_path, ARRIVE_AND_WAIT, most)
    wait_for(tmp_path, "arrived-*", most)
    os.killpg(process.pid, signal.SIGINT)
    # Signals that wait for a process are one signal.
    wait_for(tmp_path, "interrupted")
    os.killpg(process.pid, signal.SIGINT)
    # Its stderr is closed once the function's process has ended too.
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == 1
    assert answers_in(tmp_path) == 0


def test_kill_9_leaves_no_process_behind(tmp_path: Path) -> None:
    process = start(tmp_path, ARRIVE_AND_WAIT)
    wait_for(tmp_path, "arrived-*")
    process.kill()
    # Its stderr is closed once the function's process has ended too.
    _, stderr = process.communicate(timeout=60)
    assert stderr == ""
    assert answers_in(tmp_path) == 0


def test_close_does_not_wait_for_a_function_that_never_returns(
    opened: Open, tmp_path: Path
) -> None:
    box, outcome = opened(ARRIVE_AND_WAIT), list[str]()

    def call() -> None:
        with pytest.raises(BadAnswer) as raised:
            box.answer(SHADES[:4])
        outcome.append(str(raised.value))

    caller = threading.Thread(target=call)
    caller.start()
    wait_for(tmp_path, "arrived-*")
    box.close()
    caller.join(timeout=60)
    assert "was ended by signal 9" in outcome[0]
