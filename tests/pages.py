"""Results whose pages a browser shows: `python tests/pages.py FOLDER` writes the pages."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from example_results import CEILING, EXAMPLE, FLOOR, HARDER_FLOOR, cell, figure, result

from papagaio.images.png import png
from papagaio.report.page import write_report
from papagaio.result import CopyDetail, Result, read_result

__all__ = ["HOSTILE", "PAGES"]

HOSTILE = "<script>alert('x')</script>\" onerror=\"x"


def _picture(seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    return base64.b64encode(png(pixels)).decode()


def with_classes(names: list[str], **changes: Any) -> Result:  # noqa: ANN401
    """An audit of a black box with these classes, with everything that a page can show."""
    count = len(names)
    pairs = [
        {"black_box": i, "copied": (i + shift) % count, "images": images}
        for shift, images in ((0, 55), (1, 3))
        for i in range(min(count, 200))
    ]
    pictures = [
        {"png": _picture(i), "black_box": names[0], "copied": names[-1], "truth": names[0]}
        for i in range(8)
    ]
    sure = [{"confidence": 0.05 + i / 10, "right": i / 9, "images": 3 + 50 * i} for i in range(10)]
    values: dict[str, Any] = {
        "named": [{"name": name, "images": 7 * i % 60} for i, name in enumerate(names)],
        "pictures": [
            {"png": _picture(100 + i), "named": names[i % count], "share": 0.9} for i in range(24)
        ],
        "detail": CopyDetail.model_validate(
            {
                "cell": "copy-4000-0",
                "pairs": pairs,
                "calibration": sure,
                "differing": pictures,
                "agreeing": pictures,
            }
        ),
        "queries": {"price": 45.0, "price_total": 110.2, "seconds_per_image": 5.4},
    }
    per_class = [figure(0.3 + 0.6 * i / count, 0.03, 59) for i in range(count)]
    cells = changes.pop("cells", None) or [
        *(
            cell(budget=b, seed=s, fidelity=f - 0.004 * s, per_class=per_class)
            for b, f in ((250, 0.71), (1000, 0.83), (4000, 0.9))
            for s in (0, 1)
        ),
        *(cell(response="label", fidelity=0.8 + 0.01 * s, seed=s, per_class=[]) for s in (0, 1)),
        cell(kind=FLOOR.kind, fidelity=0.11, per_class=[]),
        cell(kind=CEILING.kind, fidelity=0.97, per_class=[]),
    ]
    return result(cells, **{**values, **changes})


def many_cells() -> Result:
    """200 trainings: every recipe, response, budget and seed."""
    cells = [
        cell(
            recipe=recipe, response=response, budget=budget, seed=seed, fidelity=0.5 + budget / 9e3
        )
        for recipe in ("recovered-logits", "labels")
        for response in ("probabilities", "rounded-2", "top-3", "top-1", "label")
        for budget in (250, 500, 1000, 2000)
        for seed in range(5)
    ]
    return with_classes([str(i) for i in range(10)], cells=cells)


def at_its_floor() -> Result:
    """A copy that is no better than a student trained on noise."""
    cells = [cell(fidelity=0.12), cell(kind=HARDER_FLOOR.kind, fidelity=0.13)]
    return with_classes([str(i) for i in range(10)], cells=cells)


def unfinished() -> Result:
    """A run of which one training of nine has ended."""
    return with_classes(
        [str(i) for i in range(10)], cells=[cell(budget=250)], trainings=9, complete=False
    )


PAGES: dict[str, Callable[[], Result]] = {
    "example": lambda: read_result(EXAMPLE),
    "classes-2": lambda: with_classes(["cat", "dog"]),
    "classes-10": lambda: with_classes([f"class {i}" for i in range(10)]),
    "classes-1000": lambda: with_classes([f"a class of name {i}" for i in range(1000)]),
    "cells-1": lambda: result([cell()]),
    "cells-200": many_cells,
    "cells-0": lambda: result([], pictures=[]),
    "unfinished": unfinished,
    "floor": at_its_floor,
    "hostile": lambda: with_classes(
        [HOSTILE] * 10, command=HOSTILE, black_box={"name": HOSTILE}, transfer={"name": HOSTILE}
    ),
}


def main() -> None:
    """Write every page into a folder."""
    folder = Path(sys.argv[1])
    for name, make in PAGES.items():
        write_report(make(), folder / f"{name}.html")


if __name__ == "__main__":
    main()
