"""The claims that the four experiments decide: C1, C3, C4 and C5."""

from collections.abc import Sequence

import numpy as np

from papagaio.thesis.plan import EXPERIMENTS
from papagaio.thesis.records import ThesisResult, TrialRecord
from papagaio.thesis.tables import accuracy_of, experiment_trials, mean_accuracy, number
from papagaio.thesis.verdicts import Judged, Verdict, judged, shown

__all__ = ["gap", "longer", "more_data", "transfer"]

_CHANCE = 0.1
# A gap that a percentage without decimals would not show.
_NO_GAP = 0.01


def transfer(result: ThesisResult) -> Judged:
    """C1: is every student better than chance?"""
    found = {n: mean_accuracy(experiment_trials(result, n)) for n in EXPERIMENTS}
    measured = {n: score for n, score in found.items() if score}
    if not measured:
        return "not decided here", "No experiment was run."
    words = "; ".join(f"experiment {n}: {shown(score)}" for n, score in measured.items())
    above = all(score.low > _CHANCE for score in measured.values())
    text = f"Accuracy on CIFAR-10's test part, where chance is {_CHANCE:.2f}: {words}."
    return ("holds" if above else "does not hold"), text


def longer(result: ThesisResult) -> Judged:
    """C3: does distillation accuracy, and with it accuracy, go on growing?"""
    trial = next((trial for trial in result.trials if trial.part == "longer"), None)
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
    first, last = scores[0], scores[-1]
    verdict: Verdict = "not decided here"
    if last.low > first.high:
        verdict = "holds"
    elif last.high < first.low:
        verdict = "does not hold"
    else:
        text += " The intervals of the accuracies overlap: no harm, and no help to be seen."
    return verdict, text


def more_data(result: ThesisResult) -> Judged:
    """C4: the large set against the small one, with the same architecture."""
    verdicts, words = [], []
    for large, small in ((1, 2), (3, 4)):
        a, b = experiment_trials(result, large), experiment_trials(result, small)
        many, few = mean_accuracy(a), mean_accuracy(b)
        if not many or not few:
            continue
        verdicts.append(many.low > few.high)
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
    by_experiment = {n: experiment_trials(result, n) for n in EXPERIMENTS}
    gaps = {
        f"experiment {n}": float(np.mean([_gap(trial) for trial in trials]))
        for n, trials in by_experiment.items()
        if trials
    }
    if not gaps or result.teacher is None:
        return "not decided here", "No experiment was run."
    train, test = result.teacher.measured
    every = {"teacher": train.accuracy - test.accuracy} | gaps
    every |= {f"{t.body} in scope": _gap(t) for t in result.trials if t.part == "in-scope"}
    words = ", ".join(f"{name} {value:+.3f}" for name, value in every.items())
    text = (
        f"Accuracy on CIFAR-10's train part minus that on its test part: {words}. A student that "
        "saw neither part has no reason to know one better, save what the teacher's own answers "
        "carry over: a small gap shows that both parts are alike to it, and no regularisation."
    )
    small = max(map(abs, gaps.values())) < _NO_GAP
    return ("holds in part" if small else "does not hold"), text


def _gap(trial: TrialRecord) -> float:
    return trial.at("train").accuracy - trial.at("test").accuracy


def _agreement(trials: Sequence[TrialRecord]) -> float:
    return float(np.mean([trial.curve[-1].agreement for trial in trials]))
