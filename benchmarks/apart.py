"""What a request costs more because an owner's function runs in a process of its own.

    python benchmarks/apart.py --requests 200

The same function is called here and there in turn, with 64 images; it reads them once, and waits.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.apart import open_function
from papagaio.blackboxes.contract import Declaration

Images = NDArray[np.uint8]
Scores = NDArray[np.float32]
BATCH, CLASSES = 64, 10


def quick(images: Images) -> Scores:
    """Read the images, and answer at once."""
    images.max()
    return np.full((len(images), CLASSES), 1 / CLASSES, np.float32)


def slow(images: Images) -> Scores:
    """Read the images, and answer after 20 ms."""
    time.sleep(0.02)
    return quick(images)


def seconds(call: Callable[[Images], Scores], images: Images) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call(images)
    return time.perf_counter() - began


def main() -> None:
    """Print the median and the quartiles, in microseconds per request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    requests = parser.parse_args().requests
    for side in (32, 224):
        pool = np.random.default_rng(0).integers(0, 256, (4, BATCH, side, side, 3), np.uint8)
        for function in (quick, slow):
            declared = Declaration((side, side, 3), classes=CLASSES, batch=BATCH)
            box = open_function(f"{__file__}:{function.__name__}", declared)
            rows = [
                [seconds(c, pool[i % 4]) for c in (function, box.answer)] for i in range(requests)
            ]
            box.close()
            here, apart = np.array(rows[requests // 10 :]).T * 1e6
            for name, times in (("here", here), ("apart", apart), ("apart - here", apart - here)):
                low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
                print(
                    f"{side}\t{function.__name__}\t{name}\t{median:.0f} ({low:.0f} to {high:.0f})"
                )


if __name__ == "__main__":
    main()
