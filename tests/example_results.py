"""Results made by hand, for tests of what is said about them."""

from pathlib import Path
from typing import Any

from papagaio.controls import CONTROLS
from papagaio.result import CellRecord, CurvePoint, Result, Scores, read_result
from papagaio.scores import Figure
from papagaio.summary import summarise

EXAMPLE = Path(__file__).parent / "data" / "result-example.json"


def figure(value: float, reach: float = 0.01, n: int = 590) -> Figure:
    return Figure(value=value, low=value - reach, high=value + reach, n=n)


def cell(
    *,
    kind: str = "copy",
    fidelity: float = 0.989,
    budget: int = 4000,
    seed: int = 0,
    **rest: object,
) -> CellRecord:
    scores = Scores(
        accuracy=figure(fidelity - 0.003),
        relative_accuracy=figure((fidelity - 0.003) / 0.995),
        fidelity=figure(fidelity),
        kl=figure(0.0512, 0.004),
    )
    values: dict[str, Any] = {
        "id": f"{kind}-{budget}-{seed}",
        "kind": kind,
        "student": "small",
        "initial": "random",
        "recipe": "recovered-logits",
        "augmentation": [],
        "undertrained": False,
        "response": "probabilities",
        "budget": budget,
        "seed": seed,
        "seconds": 6.1,
        "epochs": 40,
        "recipe_epochs": 40,
        "steps": 2500,
        "parameters": 100_000,
        "scores": scores,
        "per_class": [figure(fidelity, 0.03, 59)] * 10,
        "curve": [
            CurvePoint(epoch=e, loss=1 / e, distillation_accuracy=1 - 0.5 / e) for e in (1, 20, 40)
        ],
    }
    return CellRecord(**{**values, **rest})


SEEDS = [cell(seed=0, fidelity=0.986), cell(seed=1, fidelity=0.989), cell(seed=2, fidelity=0.992)]


def result(cells: list[CellRecord] | None = None, **changes: object) -> Result:
    cells = SEEDS if cells is None else cells
    values = read_result(EXAMPLE).model_dump(by_alias=True)
    values |= {"cells": cells, "summary": summarise(cells), "trainings": len(cells)}
    for name, change in changes.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    return Result.model_validate(values)


def named(*images: int) -> list[dict[str, object]]:
    return [{"name": f"class {i}", "images": count} for i, count in enumerate(images)]


# A black box given pixels from 0 to 1 where it expects 0 to 255.
AT_CHANCE = {"accuracy": figure(0.097), "better_than_majority": False}
ONE_CLASS = {"almost_one_class": True, "most_named": {"name": "seven", "images": 587}}

(FLOOR, HARDER_FLOOR, *_), (CEILING, *_) = (
    [control for control in CONTROLS if control.side == side] for side in ("floor", "ceiling")
)
