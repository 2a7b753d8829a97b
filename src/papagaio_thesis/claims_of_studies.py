"""The claims that studies of their own decide: C2, C6, C7 and C8."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from papagaio.scores import Figure, over_seeds
from papagaio_thesis.digits import ANGULAR, ROUND
from papagaio_thesis.records import (
    DigitRecord,
    Magnified,
    MagnifiedRecord,
    ThesisResult,
    TrialRecord,
)
from papagaio_thesis.tables import accuracy_of, experiment_trials, number
from papagaio_thesis.verdicts import Judged, ahead, judged, shown, signed

__all__ = ["crossing", "explosion", "size", "taxonomy", "temperature"]

# A loss is called exploded where it is so many times what a guess among ten classes costs.
_EXPLODED = 5 * log(10)

# Float32 probabilities give others at any temperature within this.
_ROUNDING = 1e-4

_NONE = Figure(0, 0, 0, 0)

# CIFAR-10's own classes.
_VEHICLES, _ANIMALS = [0, 1, 8, 9], [2, 3, 4, 5, 6, 7]


@dataclass(frozen=True)
class _Seen:
    """What was seen of a student, after an epoch, on some of CIFAR-10's images."""

    epoch: int
    where: str
    loss: float
    accuracy: float
    worst_ten: float
    logit: float


def explosion(result: ThesisResult) -> Judged:
    """C2: does a loss explode while accuracy stays, and which change removes that?"""
    thesis = [*experiment_trials(result, 1), *experiment_trials(result, 2)]
    changed = [trial for trial in result.trials if trial.study == "explosion"]
    if not thesis:
        return "not decided here", "No VGG16 was trained by the thesis's recipe."
    every = (*thesis, *changed)
    exploded = [trial for trial in thesis if _exploded(trial)]
    told = [trial for trial in every if _exploded(trial)] or [max(every, key=_loss_of)]
    text = f"{len(every)} trainings, on the first test images after every epoch, and on both parts "
    text += f"at the marks. {'; '.join(_largest_loss(trial) for trial in told)}.{_reaches(every)}"
    if not exploded:
        text += f" No loss grew beyond {_EXPLODED:.1f}, five times what a guess costs, by the "
        text += "thesis's recipe here on the images as they are."
        return "not decided here", text + _magnified(result.magnified)
    # A change answers for the training that differs in it alone.
    first = exploded[0].material, exploded[0].seed
    tried = [trial for trial in changed if (trial.material, trial.seed) == first]
    cures = [trial.variant for trial in tried if not _exploded(trial)]
    none = "nothing that was tried" if tried else "not known, for nothing was tried on it"
    text += f" What removes it: {', '.join(cures) or none}.{_magnified(result.magnified)}"
    return judged([_accuracy_stays(trial) for trial in exploded]), text


def _looks(trial: TrialRecord) -> list[_Seen]:
    probes = [
        _Seen(
            n,
            "the first test images",
            epoch.probe_loss,
            epoch.probe_accuracy,
            epoch.probe_worst_ten,
            epoch.probe_logit,
        )
        for n, epoch in enumerate(trial.curve, 1)
    ]
    marks = [
        _Seen(m.epoch, f"the {m.part} part", m.loss, m.accuracy, m.worst_ten, m.largest_logit)
        for m in trial.measured
    ]
    return probes + marks


def _worst(trial: TrialRecord) -> _Seen:
    return max(_looks(trial), key=lambda look: look.loss)


def _loss_of(trial: TrialRecord) -> float:
    return _worst(trial).loss


def _exploded(trial: TrialRecord) -> bool:
    # So is one that is no number any more.
    return not _loss_of(trial) <= _EXPLODED


def _accuracy_stays(trial: TrialRecord) -> bool:
    """Whether accuracy, where the loss is largest, is what it usually is in the second half."""
    worst, half = _worst(trial), len(trial.curve) / 2
    peers = [look for look in _looks(trial) if look.where == worst.where and look.epoch > half]
    return bool(worst.accuracy > 0.9 * np.median([look.accuracy for look in peers]))


def _largest_loss(trial: TrialRecord) -> str:
    look, usual = _worst(trial), np.median([epoch.probe_loss for epoch in trial.curve])
    return (
        f"{trial.study}, {trial.variant}: the largest loss is {number(look.loss)} on {look.where} "
        f"after epoch {look.epoch} of {len(trial.curve)} (usually {usual:.2f}); there the ten "
        f"worst images carry {100 * look.worst_ten:.1f} % of it, the largest logit is "
        f"{number(look.logit)} and accuracy {look.accuracy:.2f}"
    )


def _reaches(trials: Sequence[TrialRecord]) -> str:
    """The largest logits that test images could be brought to, where that was measured."""
    found = []
    for trial in (trial for trial in trials if trial.seed == 0):
        curve = [(n, epoch.reach) for n, epoch in enumerate(trial.curve, 1) if epoch.reach]
        if curve:
            shown = ", ".join(
                f"{number(value)} after epoch {n}"
                for n, value in dict.fromkeys((curve[0], curve[len(curve) // 2], curve[-1]))
            )
            found.append(f"{trial.study}, {trial.variant}: {shown}")
    if not found:
        return ""
    return f" The largest logit that a test image could be brought to: {'; '.join(found)}."


def _magnified(records: Sequence[MagnifiedRecord]) -> str:
    """What magnified images do to loss and accuracy, and what cut activations do to that."""
    if not records:
        return ""
    words = [
        f"{one.study}, {one.variant} ({one.body.rpartition('/')[2]}) {_figures(one.whole)}"
        + (f", with activations cut {_figures(one.cut)}" if _explodes(one.whole) else "")
        for one in records
    ]
    factors = ", ".join(f"{look.factor:g}" for look in records[0].whole[::2])
    explode = _names([one for one in records if _explodes(one.whole)])
    calm = _names([one for one in records if not _explodes(one.whole)])
    still = _names([one for one in records if _explodes(one.cut)])
    return (
        f" Test images {factors} times as large (58 is what Keras's caffe colours are to its torch "
        f"ones) have these losses (accuracies): {'; '.join(words)}. So losses go beyond "
        f"{_EXPLODED:.1f} for {explode}, and not for {calm}; with activations cut, for {still}."
    )


def _names(records: Sequence[MagnifiedRecord]) -> str:
    return "; ".join(f"{one.study}, {one.variant}" for one in records) or "none"


def _figures(looks: Sequence[Magnified]) -> str:
    # Every second: all of them stand in `thesis.json`.
    return ", ".join(f"{number(look.loss)} ({look.accuracy:.2f})" for look in looks[::2])


def _explodes(looks: Sequence[Magnified]) -> bool:
    return not all(look.loss <= _EXPLODED for look in looks)


def taxonomy(result: ThesisResult) -> Judged:
    """C6: digits from kinds of letters, and CIFAR-10 from kinds of CIFAR-100's classes."""
    crossed = crossing(result.digits)
    words = [
        f"Digits by {recipe}: round letters are better than angular ones by {signed(on_round)} on "
        f"round digits, angular letters are better than round ones by {signed(on_angular)} on "
        "angular digits"
        for recipe, (on_round, on_angular) in crossed.items()
    ]
    leads = [ahead(lead, _NONE) for leads in crossed.values() for lead in leads]
    groups = [trial for trial in result.trials if trial.study == "superclasses"]
    words += [_of_groups(groups)] if groups else []
    if not words:
        return "not decided here", "Neither study was run."
    return (judged(leads) if leads else "not decided here"), ". ".join(words) + "."


def crossing(digits: Sequence[DigitRecord]) -> dict[str, tuple[Figure, Figure]]:
    """By recipe: how much better round letters teach round digits, and angular ones angular.

    Each is the mean difference of accuracies over seeds, with Classifier's 95 % interval.
    """
    found = {}
    for recipe in dict.fromkeys(record.recipe for record in digits):
        of = {(r.letters, r.seed): np.array(r.per_digit) for r in digits if r.recipe == recipe}
        seeds = sorted({seed for _, seed in of})
        if len(seeds) < 2:
            continue  # One seed has no interval.
        lead = np.array([of["round", seed] - of["angular", seed] for seed in seeds])
        on_round, on_angular = lead[:, ROUND].mean(1), -lead[:, ANGULAR].mean(1)
        found[recipe] = over_seeds(on_round.tolist()), over_seeds(on_angular.tolist())
    return found


def _of_groups(groups: Sequence[TrialRecord]) -> str:
    words = "; ".join(f"{t.variant} {t.at('test').accuracy:.3f}" for t in _best_first(groups))
    text = (
        f"CIFAR-100 by groups of superclasses, {groups[0].images:,} images each, {groups[0].body} "
        f"from {groups[0].initial} weights, accuracy on CIFAR-10's test part: {words}"
    )
    on = {t.variant: np.array(t.at("test").per_class, float) for t in groups}
    if not {"vehicles", "mammals"} <= on.keys():
        return text
    for name, classes in (("four vehicles", _VEHICLES), ("six animals", _ANIMALS)):
        text += (
            f". On CIFAR-10's {name}: {on['vehicles'][classes].mean():.3f} from vehicles, "
            f"{on['mammals'][classes].mean():.3f} from mammals"
        )
    return text


def size(result: ThesisResult) -> Judged:
    """C7: VGG16 against MobileNetV2 and others of its size, all from random weights."""
    trials = [trial for trial in result.trials if trial.study == "similar"]
    of = {trial.body: accuracy_of(trial.at("test")) for trial in trials}
    own, rival = of.get("torchvision/vgg16"), of.get("torchvision/mobilenet_v2")
    if own is None or rival is None:
        return "not decided here", "Students of several architectures were not run."
    rows = "; ".join(
        f"{t.body} ({t.parameters / 1e6:.1f} million parameters) {shown(accuracy_of(t.at('test')))}"
        for t in _best_first(trials)
    )
    better = [body for body, score in of.items() if ahead(score, own)]
    text = f"All from random weights, large set, one seed: {rows}. The verdict is VGG16's against "
    text += "MobileNetV2. Better than VGG16, intervals apart, which its architecture and size do "
    text += f"not explain: {', '.join(better) or 'none'}."
    return judged([ahead(own, rival)]), text


def temperature(result: ThesisResult) -> Judged:
    """C8: stored probabilities give every temperature; and what temperatures are worth."""
    if result.teacher is None:
        return "not decided here", "There was no teacher."
    errors = result.teacher.temperature_errors
    words = ", ".join(f"{error:.1e} at T = {t:g}" for t, error in errors.items())
    text = (
        "softmax(ln S / T) of the stored answers against the softmax of the teacher's own logits "
        f"at temperature T, largest difference of any probability on the test images: {words}. "
        "So stored probabilities give every temperature, at no query"
    )
    others = [trial for trial in result.trials if trial.study == "temperature"]
    trials = [*experiment_trials(result, 4)[:1], *others]
    if others:
        rows = "; ".join(
            f"{t.recipe if t in others else 'temperature 1'} {shown(accuracy_of(t.at('test')))}"
            for t in trials
        )
        text += f". Experiment 4 on the same answers, one seed: {rows}"
    exact = max(errors.values()) < _ROUNDING
    return ("does not hold" if exact else "not decided here"), f"{text}."


def _best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return sorted(trials, key=lambda trial: -trial.at("test").accuracy)
