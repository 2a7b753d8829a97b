"""Which trials the reproduction is made of: the four experiments, and a study behind each claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio_thesis.inputs import BODIES, Inputs, Weights
from papagaio_thesis.options import Options
from papagaio_thesis.trials import Material, Trial

__all__ = ["EXPERIMENTS", "STUDIES", "Planner", "Study", "title_of"]

# Number: architecture and transfer set (section 5).
EXPERIMENTS = {
    1: ("VGG16", "large"),
    2: ("VGG16", "small"),
    3: ("MobileNetV2", "large"),
    4: ("MobileNetV2", "small"),
}


def title_of(experiment: int) -> str:
    """What an experiment is called, by its number."""
    name, material = EXPERIMENTS[experiment]
    return f"experiment {experiment}: {name}, {material} set"


Study = Literal[
    "beyond",
    "in-scope",
    "start",
    "explosion",
    "magnified",
    "longer",
    "superclasses",
    "similar",
    "temperature",
    "taxonomy",
]
STUDIES: tuple[Study, ...] = get_args(Study)


@dataclass(frozen=True)
class Planner:
    """What every trial is made from.

    Attributes:
        options: the study file.
        inputs: materials and parts.
        weights: where ImageNet weights lie.
        machine_of: where an architecture trains.
        experiments: which of them are wanted.
        seeds: so many trials of each experiment, with seeds from 0.
    """

    options: Options
    inputs: Inputs
    weights: Weights
    machine_of: Callable[[str], Machine]
    experiments: Sequence[int]
    seeds: int

    def experiment(self, number: int) -> list[Trial]:
        """One of the four experiments, by the thesis's recipe."""
        name, material = EXPERIMENTS[number]
        return [
            self._trial(f"experiment {number}", name, material=self._material(material), seed=seed)
            for seed in range(self.seeds)
        ]

    def study(self, study: Study) -> list[Trial]:
        """The trials of one study; `taxonomy` and `magnified` have none, see modules so called."""
        return {
            "beyond": self._beyond,
            "in-scope": self._in_scope,
            "start": self._start,
            "explosion": self._explosion,
            "longer": self._longer,
            "superclasses": self._superclasses,
            "similar": self._similar,
            "temperature": self._temperature,
            "taxonomy": list,
            "magnified": list,
        }[study]()

    def _beyond(self) -> list[Trial]:
        """Each experiment by what the answers allow: recovered logits, and augmentation."""
        return [
            self._trial(
                f"experiment {number}",
                name,
                variant="recovered-logits",
                material=self._material(material),
                recipe=self._recovered_logits(),
                seed=seed,
            )
            for number, (name, material) in EXPERIMENTS.items()
            if number in self.experiments
            for seed in range(self.seeds)
        ]

    def _in_scope(self) -> list[Trial]:
        """Equation 1 on the teacher's own data: what out-of-scope copies are measured against."""
        given = self.options.in_scope
        recipe = replace(
            self._thesis(), name="equation-1", temperature=given.temperature, alpha=given.alpha
        )
        return [
            self._trial("in-scope", name, material=self.inputs.own, recipe=recipe)
            for name in BODIES
        ]

    def _start(self) -> list[Trial]:
        """Experiments 2 and 4 from the other weights at the start: a silent point."""
        trials = []
        for number in (2, 4):
            name, material = EXPERIMENTS[number]
            other = "random" if self._initial(name) == "imagenet" else "imagenet"
            if name == "VGG16" and other == "imagenet" and self.weights.stand_in:
                continue  # A stand-in is named where there are no such weights.
            trials.append(
                self._trial("start", name, material=self._material(material), initial=other)
            )
        return trials

    def _explosion(self) -> list[Trial]:
        """Experiment 1, or 2 where only that is wanted, with one thing changed at a time.

        A normalised VGG16 starts at random, wherever the other starts: it is another network.
        """
        wanted = {1, 2} & set(self.experiments)
        material = self.inputs.small if wanted == {2} else self.inputs.large
        one = self._trial("explosion", "VGG16", material=material)
        fresh = self._trial("explosion", "VGG16", material=material, initial="random")
        clipped = replace(one.recipe, name="thesis, gradients clipped", clip=1.0)
        decayed = replace(one.recipe, name="thesis, AdamW", optimiser="adamw", decay=0.05)
        caffe = replace(one.design, normalisation="caffe")
        with_norm = replace(one.design, body="torchvision/vgg16_bn")
        return [
            replace(one, variant="clipped", recipe=clipped),
            replace(one, variant="decayed", recipe=decayed),
            replace(fresh, variant="normalised", design=with_norm),
            # Inputs 58 times as large, for which biases count less.
            replace(one, variant="caffe colours", design=caffe),
        ]

    def _longer(self) -> list[Trial]:
        """Experiment 4 for longer; its rate is constant, so one training passes every length."""
        longer = self.options.studies.longer
        # A constant rate knows nothing of its end: the first epochs are experiment 4's own.
        recipe = replace(self._thesis(), epochs=max(longer))
        trial = self._trial("longer", "MobileNetV2", material=self.inputs.small, recipe=recipe)
        return [replace(trial, marks=(*self.options.students.marks, *longer))]

    def _superclasses(self) -> list[Trial]:
        """One group of CIFAR-100's superclasses at a time, as many images of each."""
        return [
            self._trial("superclasses", "MobileNetV2", variant=group, material=material)
            for group, material in self.inputs.groups.items()
        ]

    def _similar(self) -> list[Trial]:
        """Experiment 3 with other architectures, all from random weights."""
        names = (*BODIES, *self.options.studies.similar)
        return [self._trial("similar", name, variant=name, initial="random") for name in names]

    def _temperature(self) -> list[Trial]:
        """Experiment 4 at other temperatures and by recovered logits, on the same answers."""
        thesis = self._thesis()
        recipes = [
            replace(thesis, name=f"temperature {temperature:g}", temperature=temperature)
            for temperature in self.options.studies.temperatures
            if temperature != 1
        ]
        recipes.append(replace(thesis, name="centred logits", loss="centred-l2"))
        return [
            self._trial(
                "temperature",
                "MobileNetV2",
                variant=recipe.name,
                material=self.inputs.small,
                recipe=recipe,
            )
            for recipe in recipes
        ]

    def _recovered_logits(self) -> Recipe:
        """The product's recipe, for networks that are not its own: as many epochs as the thesis's.

        Without Muon, which needs normalisation behind every convolution, and at a lower rate.
        """
        recipe = recipe_named("recovered-logits", (32, 32, 3))
        epochs = self.options.students.epochs
        recipe = replace(recipe, muon=0.0, rate=5e-4, batch=64, epochs=epochs)
        # The teacher was trained with mirrored images.
        return replace(recipe, augmentation=("crop", "flip"))

    def _thesis(self) -> Recipe:
        given = self.options.students
        return Recipe("thesis", rate=given.rate, batch=given.batch, epochs=given.epochs)

    def _initial(self, name: str) -> str:
        students = self.options.students
        return {"VGG16": students.vgg16, "MobileNetV2": students.mobilenet_v2}[name]

    def _material(self, name: str) -> Material:
        return self.inputs.large if name == "large" else self.inputs.small

    def _trial(
        self,
        study: str,
        name: str,
        *,
        variant: str = "thesis",
        material: Material | None = None,
        recipe: Recipe | None = None,
        initial: str | None = None,
        seed: int = 0,
    ) -> Trial:
        """A trial; unless said otherwise, on the large set and by the thesis's recipe."""
        options = self.options
        body = BODIES.get(name, name)
        start = initial or self._initial(name)
        return Trial(
            study=study,
            variant=variant,
            design=replace(options.design, body=body),
            initial=start,
            weights=self.weights.of(body, start),
            recipe=recipe or self._thesis(),
            material=material or self.inputs.large,
            seed=seed,
            marks=options.students.marks,
            machine=self.machine_of(body),
        )
