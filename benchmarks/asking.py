"""Ask a practice service over HTTP: how fast, through faults, and through `kill -9`.

    python benchmarks/asking.py --speed 5 --faults 10000 --kills 200

Each part prints a table. The first one needs `wrk`. All run on this machine, against
`papagaio serve` in a process of its own, whose account counts what was paid for.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
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

from killing_http import Asking, kill
from practising import Practice, practising

CLASSES = 10
PER_REQUEST, SECONDS = 64, 4
SMALL, SMALL_PER_REQUEST = (8, 8, 1), 4

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
    declared = Declaration(images.shape, CLASSES, batch=len(images))
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
            columns = [*zip(*pairs, strict=True), ratios]
            print(concurrency, *(spread([*values]) for values in columns), sep="\t", flush=True)


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


def kills(place: Path, wanted: int) -> None:
    """Kill a process that asks, resume it, and compare its ledger with the service's account."""
    images = images_of(SMALL, 200 * wanted)
    ledger, start = place / "kills", time.monotonic()
    asking = Asking(images, ledger, batch=SMALL_PER_REQUEST, concurrency=8)
    with served(place, SMALL, "--faults", 0.2, "--latency", 0.01) as service:
        account = kill(asking, service, wanted)
    with Ledger(ledger) as whole:
        answers = whole.read(whole.totals()[0].question, images.digests)
        interrupted = whole.totals()[0].interrupted
        problems = list(whole.problems())
    print(f"{len(images):,} images, {asking.batch} in a request, {asking.concurrency} in flight")
    print(
        *(one.name for one in fields(account)),
        "differ",
        "interrupted",
        "problems",
        "seconds",
        sep="\t",
    )
    differ = (answers != truth(place, images)).any(1).sum()
    rest = differ, interrupted, len(problems), round(time.monotonic() - start)
    print(*astuple(account), *rest, sep="\t", flush=True)


if __name__ == "__main__":
    main()
