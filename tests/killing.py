"""Kill the real command at random moments, resume it until it is done, and count what was lost.

`test_kills.py` asserts on these counts; `benchmarks/kills.py` prints them for many kills.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from papagaio.images.imageset import digest_images

PAPAGAIO = Path(sys.executable).with_name("papagaio")
BATCH = 8
SECONDS_PER_REQUEST = 0.05
_TEST_IMAGES = 16
_PATIENCE = 120.0
_PATIENCE_WITH_WORKERS = 10.0

# Integers up to the exponential, so that an answer is the same to the last bit in any batch.
_BOX = f"""
import os
import time

import numpy as np

from papagaio.images.imageset import digest_images

WEIGHTS = np.random.default_rng(7).integers(-100, 101, (64, 4))


def answer(images):
    with open(os.environ["RECEIVED"], "a") as log:
        log.write(" ".join(d.tobytes().hex() for d in digest_images(images)) + "\\n")
        log.flush()
        os.fsync(log.fileno())
    time.sleep({SECONDS_PER_REQUEST})
    logits = images.reshape(len(images), -1).astype(np.int64) @ WEIGHTS / 30_000
    scores = np.exp(logits)
    return (scores / scores.sum(1, keepdims=True)).astype(np.float32)
"""


@dataclass(frozen=True)
class Account:
    """What happened to a run that was killed and resumed until it was done.

    Attributes:
        kills: the number of kills.
        lost: answers that were in the ledger after a kill and later were missing or different.
        paid_twice: images sent again although their answer was in the ledger.
        sent_again: images sent again because their request was in flight at a kill.
        most_sent_again: the largest number of them at one kill.
        interrupted: images that the ledger counts as possibly paid for, without an answer.
        left_alive: processes of the command that did not end with it.
        sound: whether `papagaio ledger verify` finds no fault.
        weights_equal: whether the weights of each copy equal the undisturbed run's, byte for byte.
        curves_equal: whether each `curve.csv` equals the undisturbed run's.
    """

    kills: int
    lost: int
    paid_twice: int
    sent_again: int
    most_sent_again: int
    interrupted: int
    left_alive: int
    sound: bool
    weights_equal: bool
    curves_equal: bool


@dataclass(frozen=True)
class Case:
    """A folder with a black box and images, the budget, and the epochs per training."""

    folder: Path
    budget: int
    epochs: int

    def prepare(self) -> None:
        """Write the black box and the images."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "box.py").write_text(_BOX)
        random = np.random.default_rng(3)
        for name, count in (("transfer", self.budget + 50), ("test", _TEST_IMAGES)):
            images = random.integers(0, 256, (count, 8, 8, 1), np.uint8)
            np.savez(self.folder / f"{name}.npz", images=images, labels=np.arange(count) % 4)

    @cached_property
    def test(self) -> set[str]:
        """The digests of the test images."""
        images = np.load(self.folder / "test.npz")["images"]
        return {digest.tobytes().hex() for digest in digest_images(images)}

    @property
    def images(self) -> int:
        """The number of images that the black box is asked about."""
        return self.budget + _TEST_IMAGES


@dataclass(frozen=True)
class Run:
    """One run directory of a case."""

    case: Case
    name: str
    seeds: tuple[int, ...] = (0,)
    workers: int = 1

    @property
    def out(self) -> Path:
        """The run directory."""
        return self.case.folder / self.name

    @property
    def received(self) -> list[list[str]]:
        """The digests of the images that the black box received, one list per request.

        Canaries are left out: test images among others.
        """
        log = self.case.folder / f"{self.name}.received"
        requests = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        test = self.case.test
        return [
            images if test.issuperset(images) else [one for one in images if one not in test]
            for images in requests
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command, with the same options each time."""
        folder = self.case.folder
        options = {
            "transfer": folder / "transfer.npz",
            "test": folder / "test.npz",
            "out": self.out,
            "budget": self.case.budget,
            "batch": BATCH,
            "epochs": self.case.epochs,
            "seeds": ",".join(map(str, self.seeds)),
            "workers": self.workers,
            "students": "small-cnn",
            "controls": "none",
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
            "checkpoint-seconds": 0,
        }
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        words += ["--input", "8x8x1", "--classes", "4", "--unchecked"]
        received = str(folder / f"{self.name}.received")
        with (folder / f"{self.name}.output").open("ab") as output:
            return subprocess.Popen(
                [PAPAGAIO, "audit", f"{folder / 'box.py'}:answer", *words],
                env=os.environ | {"OMP_NUM_THREADS": "1", "RECEIVED": received},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def finish(self) -> None:
        """Run the command until it is done.

        Raises:
            RuntimeError: the command failed.
        """
        if self.start().wait() != 0:
            raise RuntimeError(self.output())

    def kill_when(self, moment: Callable[[], bool], delay: float) -> int:
        """Start the command, and kill it `delay` seconds after `moment` becomes true.

        Returns:
            The number of its other processes that do not end with it.

        Raises:
            RuntimeError: it ended before, or `moment` did not become true in two minutes.
        """
        process = self.start()
        patience = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < patience:
            if moment():
                time.sleep(delay)
                break
            time.sleep(0.02)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError(f"ended before it could be killed: {self.output()}")
        if time.monotonic() >= patience:
            raise RuntimeError(f"the moment to kill it never came: {self.output()}")
        return _left_alive(process.pid)

    def answers(self) -> tuple[dict[str, bytes], int]:
        """Return what its ledger holds; see `stored_in`."""
        return stored_in(self.out / "ledger.sqlite", self.case.folder / f"{self.name}.copy")

    def epochs(self) -> int:
        """Return the number of epochs in the checkpoint, the least over all trainings."""
        return min(map(self._epochs_of, self.seeds))

    def result(self, name: str) -> list[bytes]:
        """Return the contents of a file from the folder of each copy."""
        return [self._files(seed, name)[0].read_bytes() for seed in self.seeds]

    def is_sound(self) -> bool:
        """Whether `papagaio ledger verify` finds no fault."""
        ledger = self.out / "ledger.sqlite"
        verified = subprocess.run(
            [PAPAGAIO, "ledger", "verify", ledger], capture_output=True, check=False
        )
        return verified.returncode == 0

    def output(self) -> str:
        """Return the end of the command's output."""
        return (self.case.folder / f"{self.name}.output").read_text()[-2000:]

    def _epochs_of(self, seed: int) -> int:
        if self._files(seed, "scores.json"):
            return self.case.epochs
        try:
            return max(
                len(torch.load(path, weights_only=True)["curve"])
                for path in self._files(seed, "checkpoint")
            )
        except (ValueError, FileNotFoundError):  # it has not begun, or has just ended
            return 0

    def _files(self, seed: int, name: str) -> list[Path]:
        return sorted(self.out.glob(f"cells/copy_*_{seed}_????????/{name}"))


def stored_in(ledger: Path, copy: Path) -> tuple[dict[str, bytes], int]:
    """Return every answer in a ledger by image, and the number of interrupted images.

    It reads a copy, in a folder that is made, because opening the file itself would repair what a
    kill left.
    """
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in ledger.parent.glob(f"{ledger.name}*"):
        shutil.copy(file, copy)
    answers: dict[str, bytes] = {}
    with closing(sqlite3.connect(copy / ledger.name)) as db:
        if not db.execute("PRAGMA user_version").fetchone()[0]:
            return answers, 0
        for digests, scores in db.execute("SELECT digests, scores FROM answers"):
            images = np.frombuffer(digests, np.uint8).reshape(-1, 32)
            rows = np.frombuffer(scores, np.uint8).reshape(len(images), -1)
            pairs = zip(images, rows, strict=True)
            answers |= {image.tobytes().hex(): row.tobytes() for image, row in pairs}
        (interrupted,) = db.execute(
            "SELECT coalesce(sum(images), 0) FROM requests WHERE answered IS NULL"
        ).fetchone()
    return answers, interrupted


@dataclass(frozen=True)
class Phase:
    """A phase of a run, in which it is killed.

    Attributes:
        total: the amount of work in the phase.
        done: the amount of work done.
        moved: grows once a resumed process works on the phase again.
        longest_delay: the largest number of seconds from reaching `done` to the kill.
    """

    total: Callable[[Run], int]
    done: Callable[[Run], int]
    moved: Callable[[Run], int]
    longest_delay: float


def images_in(requests: list[list[str]]) -> list[str]:
    """Return the images of all requests; one that was sent twice appears twice."""
    return list(chain.from_iterable(requests))


QUERYING = Phase(
    total=lambda run: run.case.images,
    done=lambda run: len(set(images_in(run.received))),
    moved=lambda run: len(run.received),
    longest_delay=1.5 * SECONDS_PER_REQUEST,
)
TRAINING = Phase(
    total=lambda run: run.case.epochs,
    done=Run.epochs,
    moved=Run.epochs,
    longest_delay=0.02,  # about an epoch
)


def kill(run: Run, undisturbed: Run, phase: Phase, kills: int) -> Account:
    """Kill a run `kills` times, spread over a phase, and then let it finish.

    Raises:
        RuntimeError: a kill came after the phase had ended.
    """
    answers: dict[str, bytes] = {}
    in_flight: set[str] = set()
    lost = paid_twice = sent_again = most = left_alive = 0
    for target, delay in [*_moments(phase, run, kills), (0.0, None)]:
        before, requests = phase.moved(run), len(run.received)
        if delay is None:
            run.finish()
        else:
            left_alive += run.kill_when(
                lambda: phase.moved(run) > before and phase.done(run) >= target,  # noqa: B023  # called at once
                delay,
            )
        session = images_in(run.received[requests:])
        paid_twice += sum(image in answers for image in session)
        sent_again += len(in_flight.intersection(session))
        stored, interrupted = run.answers()
        lost += sum(stored.get(image) != scores for image, scores in answers.items())
        answers = stored
        in_flight = set(images_in(run.received)) - answers.keys()
        most = max(most, len(in_flight))
        if delay is not None and (
            len(answers) if phase is QUERYING else run.epochs()
        ) >= phase.total(run):
            raise RuntimeError("the kill came after the phase had ended")
    return Account(
        kills=kills,
        lost=lost + run.case.images - len(answers),
        paid_twice=paid_twice,
        sent_again=sent_again,
        most_sent_again=most,
        interrupted=interrupted,
        left_alive=left_alive,
        sound=run.is_sound(),
        weights_equal=_equal(run, undisturbed, "student.safetensors"),
        curves_equal=_equal(run, undisturbed, "curve.csv"),
    )


def _moments(phase: Phase, run: Run, kills: int) -> list[tuple[float, float | None]]:
    """Return the work done at each kill, one in each equal part of the phase, and a delay."""
    random = np.random.default_rng(kills)
    parts = (np.arange(kills) + random.random(kills)) / kills
    delays = random.uniform(0, phase.longest_delay, kills)
    return list(zip(0.9 * phase.total(run) * parts, delays, strict=True))


def _left_alive(group: int) -> int:
    """Return the number of processes of a group that are still running after a while."""
    patience = time.monotonic() + _PATIENCE_WITH_WORKERS
    while (alive := _alive(group)) and time.monotonic() < patience:
        time.sleep(0.05)
    return alive


def _alive(group: int) -> int:
    alive = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            alive += int(its_group) == group and state != "Z"
    return alive


def _equal(run: Run, undisturbed: Run, name: str) -> bool:
    whole = dict(zip(undisturbed.seeds, undisturbed.result(name), strict=True))
    return run.result(name) == [whole[seed] for seed in run.seeds]
