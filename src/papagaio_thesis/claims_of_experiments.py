"""The claims that the four experiments decide: C1, C3, C4 and C5."""

from collections.abc import Sequence

import numpy as np

from papagaio.scores import Figure
from papagaio_thesis.experiments import EXPERIMENTS
from papagaio_thesis.records import Measurement, ThesisResult, TrialRecord
from papagaio_thesis.tables import accuracy_of, experiment_trials, mean_accuracy, number
from papagaio_thesis.verdicts import Judgement, combined, is_above, shown, signed, undecided

__all__ = ["gap", "longer", "more_data", "transfer"]

_CHANCE = Figure(0.1, 0.1, 0.1, 0)


def transfer(result: ThesisResult) -> Judgement:
    """C1: is every student better than chance?"""
    means = {n: mean_accuracy(experiment_trials(result, n)) for n in EXPERIMENTS}
    measured = {n: mean for n, mean in means.items() if mean}
    if not measured:
        return undecided("No experiment was run.")
    values = "; ".join(f"experiment {n}: {shown(mean)}" for n, mean in measured.items())
    text = f"Accuracy on CIFAR-10's test part, where chance is {_CHANCE.value:.2f}: {values}."
    return Judgement(combined([is_above(mean, _CHANCE) for mean in measured.values()]), text)


def longer(result: ThesisResult) -> Judgement:
    """C3: do distillation accuracy and accuracy continue to rise?"""
    trial = next((trial for trial in result.trials if trial.study == "longer"), None)
    if trial is None:
        return undecided("No longer training was run.")
    tests = [
        trial.at("test", epoch)
        for epoch in (result.options.students.epochs, *result.options.studies.longer)
    ]
    values = "; ".join(
        f"after {test.epoch} epochs: distillation accuracy "
        f"{trial.curve[test.epoch - 1].distillation_accuracy:.3f}, "
        f"accuracy {shown(accuracy_of(test))}, loss {number(test.loss)}"
        for test in tests
    )
    text = f"Experiment 4 with more epochs, from {trial.initial} weights, one seed: {values}."
    has_helped = is_above(accuracy_of(tests[-1]), accuracy_of(tests[0]))
    if has_helped is None:
        text += " The intervals of the accuracies overlap: neither harm nor help is visible."
    return Judgement(combined([has_helped]), text)


def more_data(result: ThesisResult) -> Judgement:
    """C4: is the large set better than the small one, with the same architecture?"""
    comparisons, values = [], []
    for large, small in ((1, 2), (3, 4)):
        many, few = experiment_trials(result, large), experiment_trials(result, small)
        accuracy_many, accuracy_few = mean_accuracy(many), mean_accuracy(few)
        if not accuracy_many or not accuracy_few:
            continue
        comparisons.append(is_above(accuracy_many, accuracy_few))
        values.append(
            f"{EXPERIMENTS[large].architecture}: {shown(accuracy_many)} from "
            f"{many[0].images:,} images and {shown(accuracy_few)} from {few[0].images:,}, with "
            f"distillation accuracies of {_distillation_accuracy(many):.2f} and "
            f"{_distillation_accuracy(few):.2f}"
        )
    if not values:
        return undecided("No architecture was trained on both transfer sets.")
    return Judgement(combined(comparisons), f"Accuracy on the test part. {'; '.join(values)}.")


def gap(result: ThesisResult) -> Judgement:
    """C5: is the gap between both parts of CIFAR-10 smaller than the teacher's?"""
    gaps = {
        f"experiment {n}": _gap(trials[0].at("train"), trials[0].at("test"))
        for n in EXPERIMENTS
        if (trials := experiment_trials(result, n))
    }
    if not gaps or result.teacher is None:
        return undecided("No experiment was run.")
    teacher = _gap(*result.teacher.measurements)
    in_scope = {
        f"{trial.body} in scope": _gap(trial.at("train"), trial.at("test"))
        for trial in result.trials
        if trial.study == "in-scope"
    }
    every = {"teacher": teacher} | gaps | in_scope
    values = "; ".join(f"{name} {signed(each)}" for name, each in every.items())
    text = (
        "Accuracy on CIFAR-10's train part minus accuracy on its test part, first seed, with the "
        f"interval over images: {values}. A student that saw neither part has no reason to do "
        "better on one of them: a small gap shows that both are alike to it, not that "
        "distillation regularises."
    )
    if all(each.high < teacher.low for each in gaps.values()):
        return Judgement("holds in part", text)
    is_larger = any(each.low > teacher.high for each in gaps.values())
    return Judgement("does not hold" if is_larger else "not decided here", text)


def _gap(train: Measurement, test: Measurement) -> Figure:
    """The difference of two accuracies on different images."""
    a, b = accuracy_of(train), accuracy_of(test)
    half_width = float(np.hypot(a.high - a.low, b.high - b.low)) / 2
    value = a.value - b.value
    return Figure(value, value - half_width, value + half_width, a.n + b.n)


def _distillation_accuracy(trials: Sequence[TrialRecord]) -> float:
    return float(np.mean([trial.curve[-1].distillation_accuracy for trial in trials]))
