"""Compare ways of choosing the images of a budget: `audit --selection`.

    python benchmarks/selection.py --responses label --seeds 0 1 2

Audits of the demo's digit classifier from 500 letters out of 4,000, with the defaults; every seed is
an audit of its own, whose copies choose. Each line of the output is one audit: the fidelity on the
590 test digits after each round. Random choice is measured at the same budgets.
"""

import argparse
import tempfile
from pathlib import Path
from typing import get_args

from papagaio.auditing.plan import AuditImages
from papagaio.auditing.run import audit
from papagaio.demo import digit_classifier
from papagaio.images.choosing import choose, load
from papagaio.images.named import open_source
from papagaio.settings import AuditOptions
from papagaio.vocabulary import Selection

BUDGET, CANDIDATES = 500, 4000
ROUNDS = (31, 62, 125, 250, BUDGET)


def main() -> None:
    """Measure, and print a line for each audit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--selections", nargs="+", choices=get_args(Selection), default=get_args(Selection))
    add("--responses", nargs="+", default=["probabilities", "label"])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    print("\t".join(["response", "selection", "seed", *map(str, ROUNDS)]))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        own, test = (load(open_source(f"digits:{part}")) for part in ("train", "test"))
        images = AuditImages(choose(open_source("letters"), CANDIDATES), test)
        box = digit_classifier(own, work / "black-box.safetensors")
        for seed in given.seeds:
            for response in given.responses:
                for selection in given.selections:
                    is_random = selection == "random"
                    options = AuditOptions(
                        budget=BUDGET,
                        budgets=ROUNDS[:-1] if is_random else (),
                        selection=selection,
                        responses=(response,),
                        seeds=(seed,),
                        controls=(),
                        device="cpu",
                        precision="float32",
                        threads=1,
                        ledger=work / "ledger.sqlite",
                        out=work / f"{response}-{selection}-{seed}",
                    )
                    rows = sorted(audit(box, images, options).summary, key=lambda row: row.budget)
                    figures = [f"{row.fidelity.value:.3f}" for row in rows if row.fidelity]
                    print("\t".join([response, selection, str(seed), *figures]), flush=True)


if __name__ == "__main__":
    main()
