"""The trials of the reproduction: the four experiments, and the studies behind the claims."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio_thesis.experiments import BODIES, EXPERIMENTS, Study
from papagaio_thesis.initial import initial_weights
from papagaio_thesis.inputs import TrialInputs
from papagaio_thesis.options import Initial, StudyOptions
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.trials import TrainingSet, Trial

__all__ = ["Planner"]


@dataclass(frozen=True)
class Planner:
    """Makes trials.

    Attributes:
        settings: which experiments and seeds are requested, and where initial weights are.
        options: the options of the study.
        inputs: the training sets.
        machine_of: gives the machine on which an architecture's body is trained.
    """

    settings: ReproduceSettings
    options: StudyOptions
    inputs: TrialInputs
    machine_of: Callable[[str], Machine]

    def trials(self) -> list[Trial]:
        """Return all requested trials; studies may share trainings."""
        experiments = [self.experiment(number) for number in self.settings.experiments]
        studies = [self.study(study) for study in self.settings.studies]
        return [trial for trials in (*experiments, *studies) for trial in trials]

    def experiment(self, number: int) -> list[Trial]:
        """Return one of the four experiments, trained by the thesis's recipe."""
        return [self._of_experiment(number, seed=seed) for seed in range(self.settings.seeds)]

    def study(self, study: Study) -> list[Trial]:
        """Return the trials of a study.

        `taxonomy`, `magnified` and `readings` train no students here: see `digits`, `magnified`
        and `readings`.
        """
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
            "readings": list,
        }[study]()

    def _beyond(self) -> list[Trial]:
        """Each requested experiment by a stronger recipe: recovered logits and augmentation."""
        recipe = self._recovered_logits()
        return [
            replace(trial, variant="recovered-logits", recipe=recipe)
            for number in sorted(self.settings.experiments)
            for trial in self.experiment(number)
        ]

    def _in_scope(self) -> list[Trial]:
        """Equation 1 on the teacher's own data, to compare out-of-scope copies with."""
        equation = self.options.in_scope
        recipe = replace(
            self._thesis(),
            name="equation-1",
            temperature=equation.temperature,
            alpha=equation.alpha,
        )
        return [self._trial("in-scope", name, self.inputs.own, recipe=recipe) for name in BODIES]

    def _start(self) -> list[Trial]:
        """Experiments 2 and 4 from the other initial weights: the thesis does not say which."""
        trials = []
        for number in (2, 4):
            name = EXPERIMENTS[number].architecture
            is_imagenet = self.options.students.initial(name) == "imagenet"
            if name == "VGG16" and not is_imagenet and self.settings.stand_in:
                continue  # A stand-in is used where VGG16's ImageNet weights are not available.
            other: Initial = "random" if is_imagenet else "imagenet"
            trials.append(self._trial("start", name, self._transfer_set(number), initial=other))
        return trials

    def _explosion(self) -> list[Trial]:
        """Experiment 1 (or 2, if 1 is not requested) with one change at a time.

        A VGG16 with normalisation starts from random weights in any case: it is another network.
        """
        only_second = {1, 2} & set(self.settings.experiments) == {2}
        one = replace(self._of_experiment(2 if only_second else 1), study="explosion")
        fresh = self._trial("explosion", "VGG16", one.training_set, initial="random")
        clipped = replace(one.recipe, name="thesis, gradients clipped", clip=1.0)
        decayed = replace(one.recipe, name="thesis, AdamW", optimiser="adamw", decay=0.05)
        normalised = replace(one.architecture, body="torchvision/vgg16_bn")
        # Inputs in the form caffe are 58 times as large as in torch, so biases matter less.
        is_caffe = one.architecture.normalisation == "caffe"
        recoloured = replace(one.architecture, normalisation="torch" if is_caffe else "caffe")
        return [
            replace(one, variant="clipped", recipe=clipped),
            replace(one, variant="decayed", recipe=decayed),
            replace(fresh, variant="normalised", architecture=normalised),
            replace(one, variant=f"{recoloured.normalisation} colours", architecture=recoloured),
        ]

    def _longer(self) -> list[Trial]:
        """Experiment 4 with more epochs; the rate is constant, so one training has all lengths."""
        longer = self.options.studies.longer
        trial = self._of_experiment(4)
        return [
            replace(
                trial,
                study="longer",
                recipe=replace(trial.recipe, epochs=max(longer)),
                marks=(*self.options.students.marks, *longer),
            )
        ]

    def _superclasses(self) -> list[Trial]:
        """One group of CIFAR-100's superclasses at a time, with the same number of images."""
        return [
            self._trial("superclasses", "MobileNetV2", training_set, variant=group)
            for group, training_set in self.inputs.groups.items()
        ]

    def _similar(self) -> list[Trial]:
        """Experiment 3 with other architectures, all from random weights."""
        return [
            self._trial("similar", name, self.inputs.large, variant=name, initial="random")
            for name in (*BODIES, *self.options.studies.similar)
        ]

    def _temperature(self) -> list[Trial]:
        """Experiment 4 at other temperatures and by recovered logits, on the same answers."""
        thesis = self._thesis()
        recipes = [
            replace(thesis, name=f"temperature {temperature:g}", temperature=temperature)
            for temperature in self.options.studies.temperatures
            if temperature != 1
        ]
        recipes.append(replace(thesis, name="centred logits", loss="centred-l2"))
        trial = replace(self._of_experiment(4), study="temperature")
        return [replace(trial, variant=recipe.name, recipe=recipe) for recipe in recipes]

    def _recovered_logits(self) -> Recipe:
        """The product's recipe with the thesis's epochs, for networks that are not the product's.

        It has no Muon, which needs a normalisation after every convolution, and a lower rate. The
        augmentation is fixed: the teacher was trained with mirrored images.
        """
        return replace(
            recipe_named("recovered-logits", (32, 32, 3)),
            muon=0.0,
            rate=5e-4,
            batch=64,
            least_batches=0,
            epochs=self.options.students.epochs,
            augmentation=("crop", "flip"),
            rounds=(),
        )

    def _thesis(self) -> Recipe:
        students = self.options.students
        return Recipe("thesis", rate=students.rate, batch=students.batch, epochs=students.epochs)

    def _transfer_set(self, number: int) -> TrainingSet:
        is_large = EXPERIMENTS[number].transfer_set == "large"
        return self.inputs.large if is_large else self.inputs.small

    def _of_experiment(self, number: int, seed: int = 0) -> Trial:
        name, training_set = EXPERIMENTS[number].architecture, self._transfer_set(number)
        return replace(self._trial(f"experiment {number}", name, training_set), seed=seed)

    def _trial(
        self,
        study: str,
        name: str,
        training_set: TrainingSet,
        *,
        variant: str = "thesis",
        recipe: Recipe | None = None,
        initial: Initial | None = None,
    ) -> Trial:
        """A trial with seed 0; by default with the thesis's recipe and initial weights."""
        body = BODIES.get(name, name)
        start = initial or self.options.students.initial(name)
        return Trial(
            study=study,
            variant=variant,
            architecture=self.options.architecture(body),
            initial=start,
            weights=initial_weights(body, start, self.settings.weights_dir),
            recipe=recipe or self._thesis(),
            training_set=training_set,
            seed=0,
            marks=self.options.students.marks,
            machine=self.machine_of(body),
        )
