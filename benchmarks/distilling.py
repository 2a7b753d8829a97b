"""Measure ensembles of copies, and the student distilled from each, beside single copies.

    python benchmarks/distilling.py letters 500
    python benchmarks/distilling.py letters 500 --response label
    python benchmarks/distilling.py build/augmentation/objects-both.npz 400 --augmentation crop flip

The black box is the demo's digit classifier, asked about letters, or one that
`benchmarks/augmentation.py` left as a file, with the same reduced trainings as there. Nine copies
make three ensembles, and each ensemble teaches one student about all images, answered or not. Each
line of the output is one fidelity, written as it comes.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio.demo import digit_classifier
from papagaio.images.choosing import choose, load
from papagaio.images.named import open_source
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student, default_student
from papagaio.responses import Answers, centred_log, complete, derive
from papagaio.training.distilling import distil, distilling_recipe
from papagaio.training.inference import infer
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import default_recipe, recipe_named
from papagaio.vocabulary import RESPONSES

BUILD = Path(__file__).parents[1] / "build" / "distilling"
MACHINE = Machine()
GROUPS, COPIES, LETTERS = 3, 3, 4000
# As in benchmarks/augmentation.py.
EPOCHS, BATCH = 12, 32


@dataclass(frozen=True)
class Setting:
    """A black box's answers, and how copies are made from them.

    Attributes:
        images: uint8 (N, H, W, C), of which the first have answers.
        answers: those that the copies learn.
        recipe: of the copies.
        test_images: uint8 (M, H, W, C).
        named: int64 (M,), the class that the black box names on each.
    """

    images: NDArray[np.uint8]
    answers: Answers
    recipe: Recipe
    test_images: NDArray[np.uint8]
    named: NDArray[np.int64]

    def build(self, seed: int) -> Classifier:
        """Return an untrained student."""
        _, height, width, channels = self.images.shape
        name, classes = default_student((height, width, channels)), self.answers.scores.shape[1]
        return build_student(name, "random", self.images[: len(self.answers)], classes, seed=seed)

    def logits(self, network: Classifier) -> NDArray[np.float32]:
        """Return a network's centred logits on the test images."""
        found = infer(network, self.test_images, MACHINE, augmentation=self.recipe.augmentation)
        return np.asarray(found - found.mean(1, keepdims=True), np.float32)

    def fidelity(self, logits: NDArray[np.float32]) -> float:
        """Return the share of test images on which the black box's class has the highest logit."""
        return float((logits.argmax(1) == self.named).mean())


def main() -> None:
    """Measure, and print one line for each copy, ensemble and student."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("setting", help="letters, or a file of benchmarks/augmentation.py")
    add("answers", type=int, help="how many answers the copies learn")
    add("--response", choices=RESPONSES, default="probabilities")
    add("--augmentation", nargs="*", default=[], help="of the copies, for a file")
    options = parser.parse_args()
    setting = setting_of(options)
    for group in range(GROUPS):
        seeds = range(group * COPIES, (group + 1) * COPIES)
        copies = [copy_of(setting, seed) for seed in seeds]
        together = np.mean([setting.logits(copy) for copy in copies], 0)
        say(f"ensemble {group}", setting.fidelity(together), 0.0)
        started = time.monotonic()
        student = student_of(setting, copies, 100 + group)
        fidelity = setting.fidelity(setting.logits(student))
        say(f"student {group}", fidelity, time.monotonic() - started)


def copy_of(setting: Setting, seed: int) -> Classifier:
    """Train a copy, and say how faithful it is."""
    copy, started = setting.build(seed), time.monotonic()
    answered = setting.images[: len(setting.answers)]
    train(copy, answered, setting.answers, setting.recipe, seed=seed, machine=MACHINE)
    say(f"copy {seed}", setting.fidelity(setting.logits(copy)), time.monotonic() - started)
    return copy


def student_of(setting: Setting, copies: list[Classifier], seed: int) -> Classifier:
    """Distil a student from copies."""
    answered, recipe = len(setting.answers), setting.recipe
    others, shape = len(setting.images) - answered, setting.images.shape[1:]
    known = setting.answers if recipe.loss == "centred-l2" else setting.answers[:0]
    student, taught = setting.build(seed), distilling_recipe(recipe, answered, others, shape)
    stored = centred_log(complete(known))
    distil(student, copies, setting.images, stored, taught, seed=seed, machine=MACHINE)
    return student


def setting_of(options: argparse.Namespace) -> Setting:
    """Return what the command line names."""
    is_letters = options.setting == "letters"
    with np.load(letters() if is_letters else options.setting) as data:
        arrays = dict(data)
    shape = arrays["images"].shape[1:]
    recipe = recipe_named(default_recipe(options.response), shape)
    if not is_letters:
        recipe = replace(recipe, epochs=EPOCHS, batch=BATCH, rounds=())
        recipe = replace(recipe, augmentation=tuple(options.augmentation))
    answers = derive(arrays["answers"][: options.answers], "probabilities", options.response)
    named = arrays["test_answers"].argmax(1)
    return Setting(arrays["images"], answers, recipe, arrays["test_images"], named)


def letters() -> Path:
    """Ask the demo's black box about letters and digits; return the file of its answers."""
    file = BUILD / "letters.npz"
    if not file.exists():
        box = digit_classifier(load(open_source("digits:train")), BUILD / "black-box.safetensors")
        asked, test = choose(open_source("letters"), LETTERS), load(open_source("digits:test"))
        np.savez(
            file,
            images=asked.pixels,
            answers=box.answer(asked.pixels),
            test_images=test.pixels,
            test_answers=box.answer(test.pixels),
        )
    return file


def say(what: str, fidelity: float, seconds: float) -> None:
    """Print one figure."""
    print(
        json.dumps({"what": what, "fidelity": fidelity, "seconds": round(seconds, 1)}), flush=True
    )


if __name__ == "__main__":
    main()
