"""Claim C2: does VGG16's loss explode while its accuracy stays, and what removes that?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from papagaio.numbers import plural
from papagaio_thesis.records import Magnified, MagnifiedRecord, ThesisResult, TrialRecord
from papagaio_thesis.tables import experiment_trials, number
from papagaio_thesis.verdicts import Judgement, combined, undecided

__all__ = ["explosion"]

# A loss has exploded if it exceeds five times that of guessing among ten classes.
_EXPLODED = 5 * log(10)


@dataclass(frozen=True)
class _Look:
    """A student's figures after an epoch, on some of CIFAR-10's images."""

    epoch: int
    where: str
    loss: float
    accuracy: float
    worst_ten: float
    logit: float


def explosion(result: ThesisResult) -> Judgement:
    """C2: does a loss explode while accuracy stays, and which change prevents that?"""
    thesis = [*experiment_trials(result, 1), *experiment_trials(result, 2)]
    changed = [trial for trial in result.trials if trial.study == "explosion"]
    if not thesis:
        return undecided("No VGG16 was trained by the thesis's recipe.")
    every = (*thesis, *changed)
    shown = [trial for trial in every if _has_exploded(trial)] or [max(every, key=_largest_loss)]
    text = (
        f"{plural(len(every), 'training')}, measured on the first test images after every epoch "
        f"and on both parts at the marks. {'; '.join(map(_described, shown))}.{_reached(every)}"
    )
    exploded = [trial for trial in thesis if _has_exploded(trial)]
    if not exploded:
        text += (
            f" By the thesis's recipe and on images as they are, no loss exceeded {_EXPLODED:.1f}, "
            "five times that of guessing."
        )
        return undecided(text + _magnified(result.magnified))
    text += f" What prevents it: {_cures(exploded[0], changed)}.{_magnified(result.magnified)}"
    return Judgement(combined([_accuracy_stays(trial) for trial in exploded]), text)


def _cures(exploded: TrialRecord, changed: Sequence[TrialRecord]) -> str:
    # A change is compared with the training that differs in nothing else.
    tried = [
        trial
        for trial in changed
        if (trial.training_set, trial.seed) == (exploded.training_set, exploded.seed)
    ]
    cures = [trial.variant for trial in tried if not _has_exploded(trial)]
    none = "none of the changes tried" if tried else "unknown, as no change was tried on it"
    return ", ".join(cures) or none


def _looks(trial: TrialRecord) -> list[_Look]:
    probes = [
        _Look(
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
        _Look(m.epoch, f"the {m.part} part", m.loss, m.accuracy, m.worst_ten, m.largest_logit)
        for m in trial.measurements
    ]
    return probes + marks


def _worst(trial: TrialRecord) -> _Look:
    return max(_looks(trial), key=lambda look: look.loss)


def _largest_loss(trial: TrialRecord) -> float:
    return _worst(trial).loss


def _has_exploded(trial: TrialRecord) -> bool:
    # True for NaN as well.
    return not _largest_loss(trial) <= _EXPLODED


def _accuracy_stays(trial: TrialRecord) -> bool:
    """Whether accuracy at the largest loss is as usual in the second half of the training."""
    worst, half = _worst(trial), len(trial.curve) / 2
    peers = [look for look in _looks(trial) if look.where == worst.where and look.epoch > half]
    return bool(worst.accuracy > 0.9 * np.median([look.accuracy for look in peers]))


def _described(trial: TrialRecord) -> str:
    look, usual = _worst(trial), np.median([epoch.probe_loss for epoch in trial.curve])
    return (
        f"{trial.study}, {trial.variant}: the largest loss is {number(look.loss)} on {look.where} "
        f"after epoch {look.epoch} of {len(trial.curve)} (median {usual:.2f}); there the ten "
        f"worst images contribute {100 * look.worst_ten:.1f} % of it, the largest logit is "
        f"{number(look.logit)} and accuracy {look.accuracy:.2f}"
    )


def _reached(trials: Sequence[TrialRecord]) -> str:
    """The largest logits that gradient ascent reached, where that was measured."""
    texts = []
    for trial in (trial for trial in trials if trial.seed == 0):
        curve = [(n, epoch.reach) for n, epoch in enumerate(trial.curve, 1) if epoch.reach]
        if curve:
            values = ", ".join(
                f"{number(value)} after epoch {n}"
                for n, value in dict.fromkeys((curve[0], curve[len(curve) // 2], curve[-1]))
            )
            texts.append(f"{trial.study}, {trial.variant}: {values}")
    if not texts:
        return ""
    return f" The largest logit that gradient ascent on test images reached: {'; '.join(texts)}."


def _magnified(records: Sequence[MagnifiedRecord]) -> str:
    """Losses and accuracies on magnified images, as trained and with bounded activations."""
    if not records:
        return ""
    values = [
        f"{one.study}, {one.variant} ({one.body.rpartition('/')[2]}) {_figures(one.as_trained)}"
        + (
            f", with bounded activations {_figures(one.bounded)}"
            if _explodes(one.as_trained)
            else ""
        )
        for one in records
    ]
    factors = ", ".join(f"{look.factor:g}" for look in records[0].as_trained[::2])
    exploding = _names([one for one in records if _explodes(one.as_trained)])
    calm = _names([one for one in records if not _explodes(one.as_trained)])
    still_exploding = _names([one for one in records if _explodes(one.bounded)])
    return (
        f" Losses (accuracies) on test images magnified by {factors} (Keras's caffe inputs are 58 "
        f"times as large as its torch ones): {'; '.join(values)}. Losses above {_EXPLODED:.1f}: "
        f"{exploding}; none above: {calm}; above with bounded activations: {still_exploding}."
    )


def _names(records: Sequence[MagnifiedRecord]) -> str:
    return "; ".join(f"{one.study}, {one.variant}" for one in records) or "none"


def _figures(looks: Sequence[Magnified]) -> str:
    # Every second factor; `thesis.json` has all.
    return ", ".join(f"{number(look.loss)} ({look.accuracy:.2f})" for look in looks[::2])


def _explodes(looks: Sequence[Magnified]) -> bool:
    return not all(look.loss <= _EXPLODED for look in looks)
