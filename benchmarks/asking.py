"""Ask a practice service over HTTP: how fast, through faults, and through `kill -9`.

    python benchmarks/asking.py --speed 5 --faults 10000 --kills 200

Each part prints a table. The first one needs `wrk`. All run on this machine, against
`papagaio serve` in a process of its own, whose account counts what was paid for.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import papagaio
from papagaio.asking import ask
from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.named import open_black_box
from papagaio.blackboxes.service import HttpBox, open_http
from papagaio.errors import BadAnswer
from papagaio.hardware import cores, processor
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from practising import Practice, practising

CLASSES = 10
PER_REQUEST, SECONDS = 64, 8
SMALL, SMALL_PER_REQUEST, CONCURRENCY = (8, 8, 1), 4, 8

# Costs nothing: a table of answers, by the first two bytes of an image.
TABLE = f"""
import numpy as np

TABLE = np.random.default_rng(0).dirichlet(np.ones({CLASSES}), 2**16).astype("float32")


def answer(images):
    first = images.reshape(len(images), -1)[:, :2].astype(int)
    return TABLE[first @ [256, 1]]
"""


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=int, default=0, help="rounds against wrk")
    parser.add_argument("--faults", type=int, default=0, help="requests with every fault on")
    parser.add_argument("--kills", type=int, default=0, help="kills with every fault on")
    wanted = parser.parse_args()
    print(
        f"{processor()}, {cores()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, papagaio {papagaio.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "table.py").write_text(TABLE)
        if wanted.speed:
            speed(place, wanted.speed)
        if wanted.faults:
            faults(place, wanted.faults)
        if wanted.kills:
            kills(place, wanted.kills)


def images_of(shape: tuple[int, int, int], number: int) -> ImageSet:
    """Random images."""
    pixels = np.random.default_rng(1).integers(0, 256, (number, *shape), np.uint8)
    return ImageSet.of("random", pixels)


@contextmanager
def served(place: Path, shape: tuple[int, int, int], *options: object) -> Iterator[Practice]:
    """Serve the table."""
    declared = "--input", "x".join(map(str, shape)), "--classes", CLASSES
    with practising(f"{place}/table.py:answer", *declared, *options) as service:
        yield service


def truth(place: Path, images: ImageSet) -> NDArray[np.float32]:
    """The table's own answers."""
    declared = Declaration(images.shape, CLASSES)
    return open_black_box(f"{place}/table.py:answer", declared).answer(images.pixels)


# speed


def speed(place: Path, rounds: int) -> None:
    """Images per second of `ask` and of wrk, in turn, with the same body and concurrency."""
    images = images_of((32, 32, 3), PER_REQUEST * 100)
    print(f"requests of {PER_REQUEST} images of 32x32x3, {rounds} rounds, median (least to most)")
    print("in flight\twrk, images/s\task, images/s\task / wrk", flush=True)
    with served(place, images.shape) as service:
        for concurrency in (1, 4, 16):
            box = open_http(
                service.address, Declaration(batch=PER_REQUEST, concurrency=concurrency)
            )
            pairs = []
            for number in range(rounds):
                by_wrk = PER_REQUEST * wrk(place, box, images.pixels[:PER_REQUEST])
                with Ledger(place / f"speed-{concurrency}-{number}") as ledger:
                    start = time.monotonic()
                    ask(box, images, ledger)
                    pairs.append((by_wrk, len(images) / (time.monotonic() - start)))
            box.close()
            ratios = [asked / loaded for loaded, asked in pairs]
            columns = *zip(*pairs, strict=True), ratios
            print(concurrency, *(spread(values) for values in columns), sep="\t", flush=True)


def wrk(place: Path, box: HttpBox, pixels: NDArray[np.uint8]) -> float:
    """Requests per second of the load generator."""
    body, script = place / "body.json", place / "post.lua"
    body.write_bytes(box.exchange.body(pixels).content)
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = io.open("{body}"):read("*a")\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
    )
    most = box.contract.concurrency
    words = ["wrk", "-t1", f"-c{most}", f"-d{SECONDS}s", "--timeout", "30s", "-s", str(script)]
    done = subprocess.run([*words, box.exchange.url], capture_output=True, text=True, check=True)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    (per_second,) = re.findall(r"Requests/sec: +([\d.]+)", done.stdout)
    return float(per_second)


def spread(values: list[float]) -> str:
    """Median, least and most."""
    digits = 2 if max(values) < 10 else 0
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


# faults


def faults(place: Path, requests: int) -> None:
    """Ask through all faults, again where it stops; compare with the black box itself."""
    images = images_of(SMALL, SMALL_PER_REQUEST * requests)
    share, concurrency = 0.1, 16
    declared = Declaration(batch=SMALL_PER_REQUEST, concurrency=concurrency)
    start = time.monotonic()
    with (
        served(place, SMALL, "--faults", share) as service,
        Ledger(place / "faults") as ledger,
    ):
        box = open_black_box(service.address, declared)
        answers, stops = None, 0
        while answers is None:
            try:
                answers = ask(box, images, ledger)
            except BadAnswer as error:
                stops += 1
                print(f"stopped: {str(error).partition(';')[0]}", flush=True)
        counted = service.usage()
    paid = counted["images"] - counted["cut_off"]
    print(f"{requests:,} requests of {SMALL_PER_REQUEST} images, {concurrency} in flight")
    print(f"faults in {share:.0%} of all requests, {counted['requests']:,} of which arrived")
    print(f"answers that differ: {(answers != truth(place, images)).any(1).sum()}")
    print(f"stopped and asked again: {stops}")
    print(f"images charged: {counted['images']:,}, {counted['cut_off']:,} of them cut off")
    print(f"paid twice otherwise: {paid - len(images):,}")
    print(f"{time.monotonic() - start:.0f} s", flush=True)


# kills


@dataclass
class Kills:
    """What was counted over all kills, in images where nothing else is said.

    Attributes:
        kills: how many.
        stopped: how often a process ended by itself before its kill, as faults make it.
        lost: answers that were in the ledger after a kill and later were missing or different.
        twice: answered by the service, and lost with the process that was killed.
        most_twice: the largest number of them at one kill.
        beyond: answered in one session beyond what was missing before it.
    """

    kills: int = 0
    stopped: int = 0
    lost: int = 0
    twice: int = 0
    most_twice: int = 0
    beyond: int = 0
    kept: dict[bytes, bytes] = field(default_factory=dict)

    def note(self, budget: int, delivered: float, kept: dict[bytes, bytes]) -> None:
        """Account for a session, from what the service has delivered in all."""
        sent = int(delivered) - len(self.kept) - self.twice
        self.beyond += max(0, sent - (budget - len(self.kept)))
        twice = sent - (len(kept) - len(self.kept))
        self.most_twice = max(self.most_twice, twice)
        self.twice += twice
        self.lost += sum(kept.get(image) != scores for image, scores in self.kept.items())
        self.kept = kept


def kills(place: Path, wanted: int) -> None:
    """Kill a process that asks, resume it, and compare its ledger with the service's account."""
    images = images_of(SMALL, 200 * wanted)
    random = np.random.default_rng(wanted)
    ledger, found, start = place / "kills", Kills(), time.monotonic()
    with served(place, SMALL, "--faults", 0.2, "--latency", 0.01) as service:
        while found.kills < wanted:
            if session(service.address, images, ledger, random.uniform(0.02, 0.6)):
                found.kills += 1
            else:
                found.stopped += 1
            found.note(len(images), delivered_by(service), kept_in(ledger))
            if len(found.kept) == len(images):
                raise RuntimeError("asked about everything before the last kill")
        while not session(service.address, images, ledger, None):
            found.stopped += 1
        found.note(len(images), delivered_by(service), kept_in(ledger))
    with Ledger(ledger) as whole:
        answers = whole.read(whole.totals()[0].question, images.digests)
        interrupted = whole.totals()[0].interrupted
        problems = list(whole.problems())
    print(f"{len(images):,} images, {SMALL_PER_REQUEST} in a request, {CONCURRENCY} in flight")
    print("kills\tstopped\tlost\tdiffer\tpaid twice\tmost at a kill\tbeyond the budget\t", end="")
    print("counted as interrupted\tproblems\tseconds")
    print(
        found.kills,
        found.stopped,
        found.lost,
        (answers != truth(place, images)).any(1).sum(),
        found.twice,
        found.most_twice,
        found.beyond,
        interrupted,
        len(problems),
        round(time.monotonic() - start),
        sep="\t",
        flush=True,
    )


def session(address: str, images: ImageSet, ledger: Path, delay: float | None) -> bool:
    """Ask in a process of its own, and kill it after a number of seconds.

    Returns:
        whether it was killed; without a delay, whether it asked about everything.
    """
    process = get_context("fork").Process(target=asking, args=(address, images, ledger))
    process.start()
    process.join(delay)
    process.kill()
    process.join()
    return process.exitcode == (0 if delay is None else -signal.SIGKILL)


def asking(address: str, images: ImageSet, ledger: Path) -> None:
    """What the process that is killed does."""
    declared = Declaration(batch=SMALL_PER_REQUEST, concurrency=CONCURRENCY)
    box = open_black_box(address, declared)
    with Ledger(ledger) as opened:
        try:
            ask(box, images, opened)
        except BadAnswer:
            sys.exit(1)


def delivered_by(service: Practice) -> float:
    """Images whose answers were sent, once it has worked off what a killed process left."""
    before, counted = {}, service.usage()
    while before != counted:
        time.sleep(0.15)
        before, counted = counted, service.usage()
    return counted["images"] - counted["cut_off"]


def kept_in(ledger: Path) -> dict[bytes, bytes]:
    """The scores in a ledger by image; from a copy, since opening it would repair it."""
    copy = ledger.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in ledger.parent.glob(f"{ledger.name}*"):
        shutil.copy(file, copy)
    with closing(sqlite3.connect(copy / ledger.name)) as db:
        try:
            return dict(db.execute("SELECT image, scores FROM answers"))
        except sqlite3.OperationalError:  # killed before there was a table
            return {}


if __name__ == "__main__":
    main()
