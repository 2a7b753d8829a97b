"""The claims that further studies decide: C6, C7 and C8. For C2 see `explosion`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from papagaio.scores import Figure, over_seeds
from papagaio_thesis.digits import ANGULAR, ROUND
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.records import DigitRecord, ThesisResult, TrialRecord
from papagaio_thesis.tables import accuracy_of, experiment_trials
from papagaio_thesis.verdicts import Judgement, combined, is_above, shown, signed, undecided

__all__ = ["Leads", "leads", "size", "taxonomy", "temperature"]

# Probabilities in float32 give the answer at any other temperature within this.
_ROUNDING = 1e-4

_ZERO = Figure(0, 0, 0, 0)

# CIFAR-10's own classes.
_VEHICLES, _ANIMALS = [0, 1, 8, 9], [2, 3, 4, 5, 6, 7]


@dataclass(frozen=True)
class Leads:
    """How far matching letters are ahead in accuracy: means and intervals over seeds.

    Attributes:
        on_round: the lead of round letters over angular ones, on round digits.
        on_angular: the lead of angular letters over round ones, on angular digits.
    """

    on_round: Figure
    on_angular: Figure


def taxonomy(result: ThesisResult) -> Judgement:
    """C6: do kinds of letters teach kinds of digits, and kinds of classes CIFAR-10's classes?"""
    by_recipe = leads(result.digits)
    texts = [
        f"Digits by {recipe}: round letters are ahead of angular ones by {signed(lead.on_round)} "
        f"on round digits, angular letters are ahead of round ones by {signed(lead.on_angular)} "
        "on angular digits"
        for recipe, lead in by_recipe.items()
    ]
    comparisons = [
        is_above(figure, _ZERO)
        for lead in by_recipe.values()
        for figure in (lead.on_round, lead.on_angular)
    ]
    groups = [trial for trial in result.trials if trial.study == "superclasses"]
    texts += [_of_groups(groups)] if groups else []
    if not texts:
        return undecided("Neither study was run.")
    verdict = combined(comparisons) if comparisons else "not decided here"
    return Judgement(verdict, ". ".join(texts) + ".")


def leads(digits: Sequence[DigitRecord]) -> dict[str, Leads]:
    """Return the leads of matching letters by recipe; one seed has no interval and is left out."""
    by_recipe = {}
    for recipe in dict.fromkeys(record.recipe for record in digits):
        of = {(r.letters, r.seed): np.array(r.per_digit) for r in digits if r.recipe == recipe}
        # A copy that diverged has no record.
        seeds = [seed for kind, seed in of if kind == "round" and ("angular", seed) in of]
        if len(seeds) < 2:
            continue
        lead = np.array([of["round", seed] - of["angular", seed] for seed in seeds])
        on_round, on_angular = lead[:, ROUND].mean(1), -lead[:, ANGULAR].mean(1)
        by_recipe[recipe] = Leads(over_seeds(on_round.tolist()), over_seeds(on_angular.tolist()))
    return by_recipe


def _of_groups(groups: Sequence[TrialRecord]) -> str:
    values = "; ".join(f"{t.variant} {t.at('test').accuracy:.3f}" for t in _best_first(groups))
    text = (
        f"CIFAR-100 by groups of superclasses, {groups[0].images:,} images each, {groups[0].body} "
        f"from {groups[0].initial} weights, accuracy on CIFAR-10's test part: {values}"
    )
    by_group = {t.variant: np.array(t.at("test").per_class, float) for t in groups}
    if not {"vehicles", "mammals"} <= by_group.keys():
        return text
    for name, classes in (("four vehicles", _VEHICLES), ("six animals", _ANIMALS)):
        text += (
            f". On CIFAR-10's {name}: {by_group['vehicles'][classes].mean():.3f} from vehicles, "
            f"{by_group['mammals'][classes].mean():.3f} from mammals"
        )
    return text


def size(result: ThesisResult) -> Judgement:
    """C7: VGG16 against MobileNetV2 and others, all from random weights."""
    trials = [trial for trial in result.trials if trial.study == "similar"]
    accuracies = {trial.body: accuracy_of(trial.at("test")) for trial in trials}
    vgg16, mobilenet = (accuracies.get(BODIES[name]) for name in ("VGG16", "MobileNetV2"))
    if vgg16 is None or mobilenet is None:
        return undecided("Students of several architectures were not run.")
    values = "; ".join(
        f"{t.body} ({t.parameters / 1e6:.1f} million parameters) {shown(accuracies[t.body])}"
        for t in _best_first(trials)
    )
    better = [body for body, accuracy in accuracies.items() if is_above(accuracy, vgg16)]
    text = (
        f"All from random weights, large set, one seed: {values}. The verdict compares VGG16 with "
        "MobileNetV2. Better than VGG16 (intervals do not overlap), which neither its "
        f"architecture nor its size explains: {', '.join(better) or 'none'}."
    )
    return Judgement(combined([is_above(vgg16, mobilenet)]), text)


def temperature(result: ThesisResult) -> Judgement:
    """C8: do stored probabilities give every temperature, and which temperature is best?"""
    if result.teacher is None:
        return undecided("There was no teacher.")
    errors = result.teacher.temperature_errors
    values = ", ".join(f"{error:.1e} at T = {t:g}" for t, error in errors.items())
    text = (
        "softmax(ln S / T) of the stored answers S compared with the softmax of the teacher's own "
        "logits at temperature T, largest difference of any probability on the test images: "
        f"{values}. So stored probabilities give every temperature, without a query"
    )
    others = [trial for trial in result.trials if trial.study == "temperature"]
    if others:
        accuracies = "; ".join(
            f"{t.recipe if t in others else 'temperature 1'} {shown(accuracy_of(t.at('test')))}"
            for t in (*experiment_trials(result, 4)[:1], *others)
        )
        text += f". Experiment 4 on the same answers, one seed: {accuracies}"
    is_exact = max(errors.values()) < _ROUNDING
    return Judgement("does not hold" if is_exact else "not decided here", f"{text}.")


def _best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return sorted(trials, key=lambda trial: -trial.at("test").accuracy)
