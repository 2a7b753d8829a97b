"""How long the trainings of an audit take in this process, in worker processes, and on Ray.

    python benchmarks/executors.py --rounds 3 --trainings 8

Copies of the demo's digit classifier from 500 letters, one thread each, on this machine alone: what
a cluster adds is what it takes to send and to fetch. Prints a line per round and place.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from papagaio.auditing.plan import AuditImages
from papagaio.auditing.run import audit
from papagaio.demo import digit_classifier
from papagaio.images.choosing import choose, load
from papagaio.images.named import open_source
from papagaio.progress import Message, Step
from papagaio.settings import AuditOptions

BUDGET = 500
PORT = 6399
STARTS_WITHIN = 120  # seconds, on a busy machine
PLACES: dict[str, tuple[dict[str, Any], int]] = {
    "this process": ({}, 0),
    "2 worker processes": ({"workers": 2}, 0),
    "Ray with 1 core": ({"executor": "ray", "address": f"127.0.0.1:{PORT}"}, 1),
    "Ray with 2 cores": ({"executor": "ray", "address": f"127.0.0.1:{PORT}"}, 2),
}


def main() -> None:
    """Measure every place in turn, in every round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trainings", type=int, default=8)
    parser.add_argument("--places", default=",".join(PLACES), help="some of them, with commas")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        own = load(open_source("digits:train"))
        test = load(open_source("digits:test"))
        images = AuditImages(choose(open_source("letters"), BUDGET), test)
        box = digit_classifier(own, work / "black-box.safetensors")
        copies: set[tuple[bytes, ...]] = set()
        for number in range(given.rounds):
            for name in given.places.split(","):
                options, cores = PLACES[name]
                out = work / f"{number}-{name}"
                with _ray(cores):
                    seconds, trained = _measured(box, images, given.trainings, out, options)
                copies.add(tuple(p.read_bytes() for p in sorted(out.rglob("student.safetensors"))))
                load_average = os.getloadavg()[0]
                print(
                    f"round {number + 1}, {name}: {seconds:.1f} s for trainings of {trained:.1f} s "
                    f"in all; load {load_average:.1f}",
                    flush=True,
                )
        print(f"different results: {len(copies)} (1: all the same, bit for bit)")


def _measured(
    box: Any,  # noqa: ANN401
    images: AuditImages,
    trainings: int,
    out: Path,
    options: dict[str, Any],
) -> tuple[float, float]:
    """Seconds from the first training's start to the last one's end, and the sum of their own."""
    told: list[float] = []

    def progress(step: Step | Message) -> None:
        if isinstance(step, Step) and step.task == "training":
            told.append(time.monotonic())

    result = audit(
        box,
        images,
        AuditOptions(
            budget=BUDGET,
            seeds=tuple(range(trainings)),
            controls=(),
            unchecked=True,
            device="cpu",
            precision="float32",
            threads=1,
            ledger=out.with_name("ledger.sqlite"),
            out=out,
            **options,
        ),
        progress,
    )
    return told[-1] - told[0], sum(cell.seconds for cell in result.cells)


@contextmanager
def _ray(cores: int) -> Iterator[None]:
    """A Ray cluster of this machine with so many cores, or none."""
    if not cores:
        yield
        return
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    size = [f"--port={PORT}", f"--num-cpus={cores}", f"--object-store-memory={200 * 2**20}"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats"]
    while True:
        with subprocess.Popen([*start, *size, *quiet], stdout=subprocess.DEVNULL) as head:
            try:
                head.wait(STARTS_WITHIN)
                continue  # the machine was too busy for Ray, which gives up
            except subprocess.TimeoutExpired:
                pass
            try:
                yield
                return
            finally:
                head.terminate()


if __name__ == "__main__":
    main()
