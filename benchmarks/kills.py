"""Kill an audit at random moments, resume it, and count lost answers and answers paid for twice.

    python benchmarks/kills.py --querying 50 --training 20

It does the same as `tests/test_kills.py`, with more kills. Each kill costs the start of a process.
"""

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import papagaio
from papagaio.hardware import cores, processor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from killing import BATCH, QUERYING, TRAINING, Case, Phase, Run, kill

EPOCHS = 100
COLUMNS = (
    "part",
    "kills",
    "answers",
    "lost",
    "paid twice",
    "in flight, sent again",
    "counted as interrupted",
    "ledger sound",
    "weights equal",
    "curves equal",
    "seconds",
)


def main() -> None:
    """Print a table with one row per part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--querying", type=int, default=50, help="kills during the queries")
    parser.add_argument("--training", type=int, default=20, help="kills during the trainings")
    wanted = parser.parse_args()
    print(
        f"{processor()}, {cores()} cores; Python {platform.python_version()}, "
        f"papagaio {papagaio.__version__}, torch {torch.__version__}, numpy {np.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        # Enough images for more than one request per kill.
        case = Case(Path(folder), max(300, 12 * wanted.querying), EPOCHS)
        case.prepare()
        undisturbed = Run(case, "undisturbed")
        undisturbed.finish()
        print(f"{case.images} images in requests of {BATCH}, {case.epochs} epochs")
        print("\t".join(COLUMNS), flush=True)
        _show("querying", QUERYING, wanted.querying, undisturbed)
        _show("training", TRAINING, wanted.training, undisturbed)


def _show(part: str, phase: Phase, kills: int, undisturbed: Run) -> None:
    start = time.monotonic()
    run = Run(undisturbed.case, part)
    account = kill(run, undisturbed, phase, kills)
    columns = (
        part,
        account.kills,
        run.case.images,
        account.lost,
        account.paid_twice,
        account.sent_again,
        account.interrupted,
        account.sound,
        account.weights_equal,
        account.curves_equal,
        round(time.monotonic() - start),
    )
    print("\t".join(map(str, columns)), flush=True)


if __name__ == "__main__":
    main()
