"""Test learning curves and estimates where more answers were measured.

    python benchmarks/learning_curve.py --boxes build/augmentation

Claim: the band of a learning curve covers what copies from more answers reach in at least 90 % of
all cases, and a curve of the form that is used is nearer to it than other forms are.

Copies learn a growing number of answers, with three seeds. The studies: the demo's digit classifier
asked about letters, with probabilities and with labels; with --boxes, also the small black boxes
whose answers benchmarks/augmentation.py leaves in its folder. The latter are reduced: 12 epochs,
batches of 32, a fixed augmentation, 1,000 test images. --runs adds the copies of audits with
several budgets, such as runs/demo.

Each training is a line in a file, written when it ends; a second run trains only what is missing.
Leaving out the last point: from the budgets below each measured one, this one is foretold, at most
ten times as far as the data reach. The column `estimate` has the cases of `papagaio estimate`: four
budgets up to a half thousand answers, and twice to ten times as many foretold.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from papagaio.demo import digit_classifier
from papagaio.images.choosing import choose, load
from papagaio.images.named import open_source
from papagaio.learning_curve import FARTHEST, LearningCurve, Point
from papagaio.networks.named import build_student, default_student
from papagaio.responses import derive
from papagaio.result import read_result
from papagaio.scores import Figure, fidelity, mean_over_seeds
from papagaio.training.inference import predict
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named
from papagaio.vocabulary import Augmentation, Response

BUILD = Path(__file__).parents[1] / "build" / "learning-curve"
LETTERS = (60, 120, 250, 500, 1000, 2000, 3000, 4000)
PHOTOS = (50, 100, 200, 400, 800, 1600)
# What each small black box was found to be copied best with.
AUGMENTATIONS: dict[str, tuple[Augmentation, ...]] = {
    "objects-both": ("crop", "flip"),
    "objects-none": (),
    "grey-flip": ("flip",),
    "digits-none": (),
    "coarse-crop": (),
    "fine-none": (),
}
MACHINE = Machine()
Images = NDArray[np.uint8]
Scores = NDArray[np.float32]
# The fidelity of each seed at each budget.
Study = dict[int, dict[int, Figure]]


@dataclass(frozen=True)
class Answered:
    """Images and a black box's answers to them: those that copies learn, and the test set."""

    images: Images
    answers: Scores
    test_images: Images
    test_answers: Scores


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=BUILD, help="where results are kept")
    parser.add_argument("--boxes", type=Path, help="the folder of benchmarks/augmentation.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most", type=int, default=4000, help="the largest budget (4000)")
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[], help="runs with several budgets"
    )
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = options.folder / "results.jsonl"
    if not options.report:
        for response in ("probabilities", "label"):
            measure(f"letters {response}", letters(options.folder), response, LETTERS, options)
        for name in AUGMENTATIONS if options.boxes else ():
            measure(name, photos(options.boxes / f"{name}.npz"), "probabilities", PHOTOS, options)
    print(table(studies(results) | audited(options.runs)))


def letters(folder: Path) -> Answered:
    """The demo's digits and letters."""
    box = digit_classifier(load(open_source("digits:train")), folder / "digits.safetensors")
    asked, test = choose(open_source("letters"), 4000), load(open_source("digits:test"))
    return Answered(asked.pixels, box.answer(asked.pixels), test.pixels, box.answer(test.pixels))


def photos(file: Path) -> Answered:
    """A black box's answers from its file."""
    with np.load(file) as arrays:
        names = ("images", "answers", "test_images", "test_answers")
        images, answers, test_images, test_answers = (arrays[name] for name in names)
    return Answered(images, answers, test_images[:1000], test_answers[:1000])


def measure(
    name: str,
    answered: Answered,
    response: Response,
    budgets: Sequence[int],
    options: argparse.Namespace,
) -> None:
    """Train the copies of a study that are missing, and append their fidelity to the results."""
    results = options.folder / "results.jsonl"
    done = studies(results).get(name, {})
    recipe = recipe_of(name, response, answered.images.shape[1:])
    for seed in options.seeds:
        for budget in budgets:
            if budget > options.most or seed in done.get(budget, {}):
                continue
            found = copied(answered, response, recipe, budget, seed)
            ends = found.value, found.low, found.high, found.n
            line = {"study": name, "budget": budget, "seed": seed, "fidelity": ends}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def recipe_of(name: str, response: Response, shape: tuple[int, ...]) -> Recipe:
    """The default recipe; for the small black boxes, a reduced one."""
    recipe = recipe_named(default_recipe(response), (shape[0], shape[1], shape[2]))
    if name not in AUGMENTATIONS:
        return recipe
    reduced = replace(recipe, epochs=12, batch=32, rounds=())
    return replace(reduced, augmentation=AUGMENTATIONS[name])


def copied(
    answered: Answered, response: Response, recipe: Recipe, budget: int, seed: int
) -> Figure:
    """The fidelity of a copy on the test set."""
    images = answered.images[:budget]
    answers = derive(answered.answers[:budget], "probabilities", response)
    classes = answered.answers.shape[1]
    name = default_student((images.shape[1], images.shape[2], images.shape[3]))
    student = build_student(name, "random", images, classes, seed=seed)
    train(student, images, answers, recipe, seed=seed, machine=MACHINE)
    named = predict(student, answered.test_images, MACHINE, recipe.augmentation)
    return fidelity(named, answered.test_answers)


def studies(results: Path) -> dict[str, Study]:
    """The results by study, budget and seed."""
    found: dict[str, Study] = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        one = json.loads(line)
        budgets = found.setdefault(one["study"], {})
        budgets.setdefault(one["budget"], {})[one["seed"]] = Figure(*one["fidelity"])
    return found


def audited(runs: Sequence[Path]) -> dict[str, Study]:
    """The copies of audits: one study for each run, recipe and response."""
    found: dict[str, Study] = {}
    for run in runs:
        for cell in read_result(run / "result.json").cells:
            if cell.kind == "copy" and cell.scores.fidelity:
                name = f"{run.name}, {cell.recipe}, {cell.response}"
                budgets = found.setdefault(name, {})
                budgets.setdefault(cell.budget, {})[cell.seed] = cell.scores.fidelity
    return found


# Forms of curves: points, and a budget beyond them -> a share.
Form = Callable[[Sequence[Point], int], float]


def drifting(points: Sequence[Point], budget: int) -> float:
    """The form that Papagaio uses."""
    return LearningCurve(tuple(points)).at(budget).value


def straight(points: Sequence[Point], budget: int) -> float:
    """A line through the logits over the logarithm of the budget, by least squares."""
    x, y = arrays(points)
    y = np.clip(y, 0.002, 0.998)
    slope, start = np.polyfit(np.log(x), np.log(y / (1 - y)), 1)
    return float(1 / (1 + np.exp(-start - slope * np.log(budget))))


def power(points: Sequence[Point], budget: int) -> float:
    """An error that falls as a power of the budget, by least squares of its logarithm."""
    x, y = arrays(points)
    slope, start = np.polyfit(np.log(x), np.log(np.clip(1 - y, 0.002, 1)), 1)
    return float(1 - np.exp(start + slope * np.log(budget)))


def floored(points: Sequence[Point], budget: int) -> float:
    """An error that falls as a power of the budget towards a free floor, by least squares."""
    x, y = arrays(points)
    if len(set(x)) < 3:
        return power(points, budget)
    bounds = ([0, 0, 0], [1, 10, 3])

    def error(
        n: NDArray[np.float64], floor: float, start: float, fall: float
    ) -> NDArray[np.float64]:
        return np.asarray(floor + start * (n / x.min()) ** -fall)

    try:
        fitted, _ = curve_fit(error, x, 1 - y, p0=(0.01, 0.5, 0.5), bounds=bounds)
    except RuntimeError:
        return power(points, budget)
    return float(1 - error(np.array(budget), *fitted))


def arrays(points: Sequence[Point]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Budgets and shares."""
    x = np.array([point.budget for point in points], float)
    return x, np.array([point.figure.value for point in points])


FORMS: dict[str, Form] = {
    "drifting slope": drifting,
    "straight line": straight,
    "power law": power,
    "power law, floor": floored,
}


@dataclass(frozen=True)
class Case:
    """Points, and a budget beyond them with the mean fidelity over all seeds there."""

    points: tuple[Point, ...]
    budget: int
    truth: float


def left_out(study: Study, seeds: Sequence[int]) -> Iterator[Case]:
    """Each budget, foretold from those below: the means over these seeds."""
    budgets = sorted(study)
    for number, budget in enumerate(budgets):
        below = [b for b in budgets[:number] if set(seeds) <= set(study[b])]
        if len(below) >= 2 and budget <= FARTHEST * below[-1]:
            yield Case(
                tuple(Point(b, mean(study[b], seeds)) for b in below), budget, truth(study[budget])
            )


def estimated(study: Study, seeds: Sequence[int]) -> Iterator[Case]:
    """What `papagaio estimate` sees: four budgets up to 500, one point for each seed."""
    budgets = sorted(study)
    below = [b for b in budgets if b <= 500][-4:]
    if len(below) < 4 or not all(set(seeds) <= set(study[b]) for b in below):
        return
    points = tuple(Point(b, study[b][seed]) for b in below for seed in seeds)
    for budget in budgets:
        if below[-1] < budget <= FARTHEST * below[-1]:
            yield Case(points, budget, truth(study[budget]))


def mean(figures: dict[int, Figure], seeds: Sequence[int]) -> Figure:
    """The mean over seeds."""
    return mean_over_seeds([figures[seed] for seed in seeds])


def truth(figures: dict[int, Figure]) -> float:
    """The mean fidelity over all seeds."""
    return float(np.mean([figure.value for figure in figures.values()]))


def table(found: dict[str, Study]) -> str:
    """Coverage and mean errors: one row per study and per kind of case."""
    lines = ["| study | cases | covered | mean width | " + " | ".join(FORMS) + " |"]
    lines.append("|---" * (4 + len(FORMS)) + "|")
    every: dict[str, list[Case]] = {}
    for name, study in found.items():
        seeds = sorted(set.intersection(*(set(figures) for figures in study.values())))
        pairs = [(a, b) for a in seeds for b in seeds if a < b]
        kinds = {
            "last left out, all seeds": [*left_out(study, seeds)] if len(seeds) > 1 else [],
            "last left out, each seed": [c for s in seeds for c in left_out(study, [s])],
            "estimate, two seeds": [c for pair in pairs for c in estimated(study, pair)],
        }
        for kind, cases in kinds.items():
            lines += [row(f"{name}: {kind}", cases)] if cases else []
            every.setdefault(kind, []).extend(cases)
    lines += [row(f"**all: {kind}**", cases) for kind, cases in every.items() if cases]
    return "\n".join(lines)


def row(name: str, cases: Sequence[Case]) -> str:
    """One row of the table."""
    bands = [LearningCurve(case.points).at(case.budget) for case in cases]
    covered = sum(b.low <= c.truth <= b.high for b, c in zip(bands, cases, strict=True))
    width = np.mean([band.high - band.low for band in bands])
    errors = [
        f"{np.mean([abs(form(c.points, c.budget) - c.truth) for c in cases]):.3f}"
        for form in FORMS.values()
    ]
    return f"| {name} | {len(cases)} | {covered} | {width:.3f} | " + " | ".join(errors) + " |"


if __name__ == "__main__":
    main()
