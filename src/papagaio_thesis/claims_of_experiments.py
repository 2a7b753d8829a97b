"""The claims that the four experiments decide: C1, C3, C4 and C5."""

from collections.abc import Sequence

import numpy as np

from papagaio.scores import Figure
from papagaio_thesis.plan import EXPERIMENTS
from papagaio_thesis.records import Measured, ThesisResult, TrialRecord
from papagaio_thesis.tables import accuracy_of, experiment_trials, mean_accuracy, number
from papagaio_thesis.verdicts import Judged, ahead, judged, shown, signed

__all__ = ["gap", "longer", "more_data", "transfer"]

_CHANCE = Figure(0.1, 0.1, 0.1, 0)


def transfer(result: ThesisResult) -> Judged:
    """C1: is every student better than chance?"""
    found = {n: mean_accuracy(experiment_trials(result, n)) for n in EXPERIMENTS}
    measured = {n: score for n, score in found.items() if score}
    if not measured:
        return "not decided here", "No experiment was run."
    words = "; ".join(f"experiment {n}: {shown(score)}" for n, score in measured.items())
    text = f"Accuracy on CIFAR-10's test part, where chance is {_CHANCE.value:.2f}: {words}."
    return judged([ahead(score, _CHANCE) for score in measured.values()]), text


def longer(result: ThesisResult) -> Judged:
    """C3: does distillation accuracy, and with it accuracy, go on growing?"""
    trial = next((trial for trial in result.trials if trial.study == "longer"), None)
    if trial is None:
        return "not decided here", "No longer training was run."
    tests = {
        epoch: trial.at("test", epoch)
        for epoch in (result.options.students.epochs, *result.options.studies.longer)
    }
    scores = [accuracy_of(test) for test in tests.values()]
    words = "; ".join(
        f"after {epoch} epochs: distillation accuracy {trial.curve[epoch - 1].agreement:.3f}, "
        f"accuracy {shown(accuracy_of(test))}, loss {number(test.loss)}"
        for epoch, test in tests.items()
    )
    text = f"Experiment 4 for longer, from {trial.initial} weights, one seed: {words}."
    helped = ahead(scores[-1], scores[0])
    if helped is None:
        text += " The intervals of the accuracies overlap: no harm, and no help to be seen."
    return judged([helped]), text


def more_data(result: ThesisResult) -> Judged:
    """C4: the large set against the small one, with the same architecture."""
    verdicts, words = [], []
    for large, small in ((1, 2), (3, 4)):
        a, b = experiment_trials(result, large), experiment_trials(result, small)
        many, few = mean_accuracy(a), mean_accuracy(b)
        if not many or not few:
            continue
        verdicts.append(ahead(many, few))
        words.append(
            f"{EXPERIMENTS[large][0]}: {shown(many)} from {a[0].images:,} images and {shown(few)} "
            f"from {b[0].images:,}, with distillation accuracies of {_agreement(a):.2f} and "
            f"{_agreement(b):.2f}"
        )
    if not words:
        return "not decided here", "No two sizes of transfer set were run with one architecture."
    return judged(verdicts), f"Accuracy on the test part. {'; '.join(words)}."


def gap(result: ThesisResult) -> Judged:
    """C5: is the gap between both parts of CIFAR-10 smaller than the teacher's?"""
    gaps = {
        f"experiment {n}": _gap(trials[0].at("train"), trials[0].at("test"))
        for n in EXPERIMENTS
        if (trials := experiment_trials(result, n))
    }
    if not gaps or result.teacher is None:
        return "not decided here", "No experiment was run."
    teacher = _gap(*result.teacher.measured)
    in_scope = {
        f"{t.body} in scope": _gap(t.at("train"), t.at("test"))
        for t in result.trials
        if t.study == "in-scope"
    }
    every = {"teacher": teacher} | gaps | in_scope
    words = "; ".join(f"{name} {signed(score)}" for name, score in every.items())
    text = (
        "Accuracy on CIFAR-10's train part minus that on its test part, first seed, with the "
        f"interval over images: {words}. A student that saw neither part has no reason to know "
        "one better: a small gap shows that both are alike to it, and no regularisation."
    )
    if not all(score.high < teacher.low for score in gaps.values()):
        larger = any(score.low > teacher.high for score in gaps.values())
        return ("does not hold" if larger else "not decided here"), text
    return "holds in part", text


def _gap(train: Measured, test: Measured) -> Figure:
    """One accuracy minus another, of two sets of images."""
    a, b = accuracy_of(train), accuracy_of(test)
    reach = float(np.hypot(a.high - a.low, b.high - b.low)) / 2
    value = a.value - b.value
    return Figure(value, value - reach, value + reach, a.n + b.n)


def _agreement(trials: Sequence[TrialRecord]) -> float:
    return float(np.mean([trial.curve[-1].agreement for trial in trials]))
