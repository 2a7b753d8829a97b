"""What it costs that an owner's function runs in a process of its own.

    python benchmarks/apart.py --requests 200

The same function is called here and there in turn, with 64 images; it reads them once, and waits.
"""

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter, sleep

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.apart import open_function
from papagaio.blackboxes.contract import Declaration


def quick(images: NDArray[np.uint8], wait: float = 0.0) -> NDArray[np.float32]:
    """Read the images, and answer at once or after a number of seconds."""
    images.max()
    sleep(wait)
    return np.full((len(images), 10), 0.1, np.float32)


slow = partial(quick, wait=0.02)


def microseconds(call: Callable[..., object], *arguments: object) -> float:
    """How long a call takes."""
    began = perf_counter()
    call(*arguments)
    return (perf_counter() - began) * 1e6


def main() -> None:
    """Print the median, the quartiles and the least time of a request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    requests = parser.parse_args().requests
    for side in (32, 224):
        pool = np.random.default_rng(0).integers(0, 256, (4, 64, side, side, 3), np.uint8)
        for name, function in (("quick", quick), ("slow", slow)):
            box = open_function(f"{__file__}:{name}", Declaration((side, side, 3), classes=10))
            calls = {"here": function, "apart": box.answer}
            times = {where: np.empty(requests) for where in calls}
            for row in range(requests):
                for where, call in calls.items():
                    times[where][row] = microseconds(call, pool[row % 4])
            box.close()
            for where, found in times.items():
                least, low, median, high = np.quantile(found, [0, 0.25, 0.5, 0.75])
                spread = f"{low:,.0f} to {high:,.0f}, least {least:,.0f}"
                print(f"{side} pixels\t{name}\t{where}\t{median:,.0f} us ({spread})")


if __name__ == "__main__":
    main()
