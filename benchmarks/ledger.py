"""How fast answers are written and read, and how much memory asking takes.

    python benchmarks/ledger.py --images 1000000 --rounds 5

Every round writes answers into a new ledger, in requests of 500, each noted before and flushed to
the disk like its answers; beside it stands what two bare flushes per request allow on this disk.
The last part asks a black box that costs nothing about images in a memory-mapped file.
"""

import argparse
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from papagaio.asking import ask
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.hardware import cores, processor
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger, Question
from papagaio.progress import Message, Step

BATCH, CLASSES, SHAPE = 500, 10, (32, 32, 3)
WRITTEN = 100_000  # answers in each round
PAGE = 4096


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; 3.3 GB are used")
    wanted = parser.parse_args()
    print(
        f"{processor()}, {cores()} cores; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, numpy {np.__version__}"
    )
    with tempfile.TemporaryDirectory(dir=wanted.folder) as name:
        folder = Path(name)
        rounds = range(wanted.rounds)
        _show("answers/s written", [_written(folder / f"{n}.sqlite") for n in rounds])
        _show("answers/s, flushes alone", [_flushed(folder / "flushes") for _ in rounds])
        images = _images(folder / "images", wanted.images)
        with Ledger(folder / "ledger.sqlite") as ledger:
            _asked(images, ledger)
            question = Question("box", "probabilities")
            mixed = images.digests[np.random.default_rng(0).permutation(len(images))]
            for what, function in (("read", ledger.read), ("look for", ledger.missing)):
                times = [_timed(function, question, mixed) for _ in rounds]
                _show(f"s to {what} {len(images):,}", times)


def _show(what: str, values: list[float]) -> None:
    digits = 0 if min(values) > 100 else 2
    middle, least, most = (f"{f(values):,.{digits}f}" for f in (median, min, max))
    print(f"{what}\t{middle} ({least} to {most}, n = {len(values)})", flush=True)


def _timed(function: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


def _written(path: Path) -> float:
    """Answers per second."""
    random = np.random.default_rng(0)
    digests = random.integers(0, 256, (WRITTEN, 32), np.uint8)
    scores = random.random((WRITTEN, CLASSES), np.float32)
    question = Question("box", "probabilities")
    with Ledger(path) as ledger:
        begun = time.perf_counter()
        for start in range(0, WRITTEN, BATCH):
            rows = slice(start, start + BATCH)
            number = ledger.note_request(question, BATCH)
            ledger.note_answers(question, number, digests[rows], scores[rows])
        return WRITTEN / (time.perf_counter() - begun)


def _flushed(path: Path) -> float:
    """Answers per second, if a request cost no more than to append its bytes in two flushes."""
    noted, answered = os.urandom(2 * PAGE), os.urandom(BATCH * (32 + 4 * CLASSES + 32))
    requests = WRITTEN // BATCH
    with path.open("wb", buffering=0) as file:
        begun = time.perf_counter()
        for _ in range(requests):
            for part in (noted, answered):
                file.write(part)
                os.fdatasync(file.fileno())
        return WRITTEN / (time.perf_counter() - begun)


def _images(path: Path, count: int) -> ImageSet:
    """Random images in a file; it counts as page cache, not as memory of this process."""
    made = np.memmap(path, np.uint8, "w+", shape=(count, *SHAPE))
    random = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        part = made[start : start + 10_000]
        part[:] = random.integers(0, 256, part.shape, np.uint8)
    made.flush()
    return ImageSet.of("images", np.memmap(path, np.uint8, "r", shape=(count, *SHAPE)))


def _asked(images: ImageSet, ledger: Ledger) -> None:
    """Ask about all images; print images per second and how memory grew."""
    answer = np.full((BATCH, CLASSES), 1 / CLASSES, np.float32)
    contract = Contract(*SHAPE, CLASSES, batch=BATCH)
    box = FunctionBox("box", "box", contract, lambda asked: answer[: len(asked)])
    megabytes: dict[int, float] = {}

    def note(event: Step | Message) -> None:
        if isinstance(event, Step) and event.done % 100_000 == 0:
            megabytes[event.done] = _private_memory()

    begun = time.perf_counter()
    ask(box, images, ledger, note)
    seconds = time.perf_counter() - begun
    print(f"images/s asked\t{len(images) / seconds:,.0f} (n = {len(images):,})")
    steps = [later - sooner for sooner, later in pairwise(megabytes.values())]
    if len(steps) > 1:
        print(f"MB of memory from image 100,000 to 200,000\t{steps[1]:.1f}")
    print(f"MB of memory from the first image to the last\t{sum(steps):.1f}")
    print(f"MB of memory, when all answers are read\t{_private_memory():.1f}")


def _private_memory() -> float:
    """The memory of this process that no file backs, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(found.split()[1]) / 1e3


if __name__ == "__main__":
    main()
