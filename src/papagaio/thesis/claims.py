"""Claims C1 to C8: what the thesis says, and what the measured numbers say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from papagaio.scores import Score, mean_over_seeds
from papagaio.thesis.digits import ANGULAR, ROUND
from papagaio.thesis.plan import EXPERIMENTS
from papagaio.thesis.records import DigitRecord, ThesisResult, TrialRecord
from papagaio.thesis.tables import accuracy_of, experiment_trials, mean_accuracy, number

__all__ = ["Claim", "claims"]

Verdict = Literal["holds", "holds in part", "does not hold", "not decided here"]

# A loss is called exploded where it is so many times its usual (median) value.
_EXPLODED = 10


@dataclass(frozen=True)
class Claim:
    """What is claimed, whether it holds, and the numbers that decide it."""

    name: str
    says: str
    verdict: Verdict
    text: str


def claims(result: ThesisResult) -> list[Claim]:
    """All eight; of what was not run, that it is not decided here."""
    return [
        Claim("C1", "Out-of-scope distillation transfers knowledge.", *_transfer(result)),
        Claim("C2", "VGG16's loss explodes while its accuracy stays.", *_explosion(result)),
        Claim("C3", "Distilling for longer does no harm and helps.", *_longer(result)),
        Claim(
            "C4",
            "More transfer data is far better; distillation accuracy does not tell.",
            *_more_data(result),
        ),
        Claim("C5", "Distillation regularises: no gap between train and test.", *_gap(result)),
        Claim("C6", "The kind of transfer images decides what is learned.", *_taxonomy(result)),
        Claim("C7", "VGG16 is the better student: its architecture, or its size?", *_size(result)),
        Claim("C8", "Temperature must be left at 1.", *_temperature(result)),
    ]


_Judged = tuple[Verdict, str]


def _transfer(result: ThesisResult) -> _Judged:
    found = {n: mean_accuracy(experiment_trials(result, n)) for n in EXPERIMENTS}
    measured = {n: score for n, score in found.items() if score}
    if not measured:
        return "not decided here", "No experiment was run."
    words = "; ".join(f"experiment {n}: {_shown(score)}" for n, score in measured.items())
    above = all(score.low > 0.1 for score in measured.values())
    text = f"Accuracy on CIFAR-10's test part, where chance is 0.10: {words}."
    return ("holds" if above else "does not hold"), text


def _explosion(result: ThesisResult) -> _Judged:
    studied = [t for t in result.trials if t.body.startswith("torchvision/vgg16")]
    studied = [t for t in studied if t.part == "explosion" or t.part.startswith("experiment")]
    if not studied:
        return "not decided here", "No VGG16 was trained."
    words, exploded = [], {}
    for trial in studied:
        losses = np.array([epoch.probe_loss for epoch in trial.curve])
        worst = int(losses.argmax())
        at = trial.curve[worst]
        ratio = losses[worst] / np.median(losses)
        exploded[trial.part, trial.variant] = ratio > _EXPLODED
        words.append(
            f"{trial.part}, {trial.variant}: largest loss {number(at.probe_loss)} (median of the "
            f"epochs {np.median(losses):.2f}) after epoch {worst + 1}, where the ten worst images "
            f"carry {100 * at.probe_worst_ten:.0f} % of it, the largest logit is "
            f"{number(at.probe_logit)} and accuracy is {at.probe_accuracy:.2f}"
        )
    by_thesis = [v for (part, variant), v in exploded.items() if variant == "thesis"]
    text = "On the first test images, after every epoch. " + "; ".join(words) + "."
    if not any(by_thesis):
        return "not decided here", f"{text} No loss exploded under the thesis's recipe here."
    removed = [variant for (_, variant), one in exploded.items() if variant != "thesis" and not one]
    text += f" What removes it: {', '.join(removed) or 'nothing that was tried'}."
    return "holds", text


def _longer(result: ThesisResult) -> _Judged:
    trials = [t for t in result.trials if t.part == "longer"]
    if not trials:
        return "not decided here", "No longer training was run."
    (trial,) = trials
    epochs = (result.options.students.epochs, *result.options.studies.longer)
    tests = [trial.at("test", epoch) for epoch in epochs]
    scores = [accuracy_of(test) for test in tests]
    words = "; ".join(
        f"after {epoch} epochs: distillation accuracy {trial.curve[epoch - 1].agreement:.3f}, "
        f"accuracy {_shown(score)}, loss {number(test.loss)}"
        for epoch, test, score in zip(epochs, tests, scores, strict=True)
    )
    rises = all(b.value > a.value for a, b in pairwise(scores))
    apart = scores[-1].low > scores[0].high
    fell = scores[-1].high < scores[0].low
    text = f"Experiment 4 for longer, one seed: {words}."
    if fell:
        return "does not hold", f"{text} Accuracy falls."
    if rises and apart:
        return "holds", text
    return "not decided here", f"{text} The intervals overlap: no harm, and no help to be seen."


def _more_data(result: ThesisResult) -> _Judged:
    verdicts, words = [], []
    for large, small in ((1, 2), (3, 4)):
        a, b = experiment_trials(result, large), experiment_trials(result, small)
        many, few = mean_accuracy(a), mean_accuracy(b)
        if not many or not few:
            continue
        verdicts.append(many.low > few.high)
        words.append(
            f"{EXPERIMENTS[large][0]}: {_shown(many)} from {a[0].images:,} images and "
            f"{_shown(few)} from {b[0].images:,}, with distillation accuracies of "
            f"{_agreement(a):.2f} and {_agreement(b):.2f}"
        )
    if not words:
        return "not decided here", "No two sizes of transfer set were run with one architecture."
    text = "Accuracy on the test part. " + "; ".join(words) + "."
    return _judged(verdicts), text


def _gap(result: ThesisResult) -> _Judged:
    words, gaps = [], []
    if result.teacher:
        train, test = result.teacher.measured
        words.append(f"teacher {train.accuracy - test.accuracy:+.3f}")
    for n in EXPERIMENTS:
        trials = experiment_trials(result, n)
        if trials:
            gap = float(np.mean([t.at("train").accuracy - t.at("test").accuracy for t in trials]))
            gaps.append(gap)
            words.append(f"experiment {n} {gap:+.3f}")
    in_scope = [t for t in result.trials if t.part == "in-scope"]
    for trial in in_scope:
        gap = trial.at("train").accuracy - trial.at("test").accuracy
        words.append(f"{trial.body} in scope, by equation 1, {gap:+.3f}")
    if not gaps:
        return "not decided here", "No experiment was run."
    text = f"Accuracy on CIFAR-10's train part minus that on its test part: {'; '.join(words)}. "
    text += (
        "A student that never saw either part has no reason to know one better: its gap says that "
        "both parts are alike to it, and nothing of regularisation."
    )
    small = max(map(abs, gaps)) < 0.02
    return ("holds in part" if small else "does not hold"), text


def _taxonomy(result: ThesisResult) -> _Judged:
    words, verdicts = [], []
    if result.digits:
        crossed = crossing(result.digits)
        for recipe, (on_round, on_angular) in crossed.items():
            verdicts += [on_round.low > 0, on_angular.low > 0]
            words.append(
                f"Digits by {recipe}: round letters are better than angular ones by "
                f"{_signed(on_round)} on round digits; angular letters are better than round ones "
                f"by {_signed(on_angular)} on angular digits"
            )
    groups = [t for t in result.trials if t.part == "superclasses"]
    if groups:
        words.append(_of_groups(groups))
    if not words:
        return "not decided here", "Neither study was run."
    verdict: Verdict = _judged(verdicts) if verdicts else "not decided here"
    return verdict, ". ".join(words) + "."


def crossing(digits: Sequence[DigitRecord]) -> dict[str, tuple[Score, Score]]:
    """By recipe: how much better round letters teach round digits, and angular ones angular.

    Each is the mean difference of accuracies over seeds, with Student's 95 % interval.
    """
    found = {}
    for recipe in dict.fromkeys(record.recipe for record in digits):
        of = {
            (record.letters, record.seed): np.array(record.per_digit)
            for record in digits
            if record.recipe == recipe
        }
        seeds = sorted({seed for _, seed in of})
        lead = [of["round", seed] - of["angular", seed] for seed in seeds]
        on_round = [float(one[list(ROUND)].mean()) for one in lead]
        on_angular = [-float(one[list(ANGULAR)].mean()) for one in lead]
        found[recipe] = (_over_seeds(on_round), _over_seeds(on_angular))
    return found


def _of_groups(groups: Sequence[TrialRecord]) -> str:
    best = max(groups, key=lambda t: t.at("test").accuracy)
    words = "; ".join(
        f"{t.variant} {t.at('test').accuracy:.3f}" for t in sorted(groups, key=_accuracy)[::-1]
    )
    vehicles = next((t for t in groups if t.variant == "vehicles"), None)
    mammals = next((t for t in groups if t.variant == "mammals"), None)
    text = (
        f"CIFAR-100 by groups of superclasses, {best.images:,} images each, {best.body}, accuracy "
        f"on CIFAR-10's test part: {words}"
    )
    if vehicles and mammals:
        machines, animals = [0, 1, 8, 9], [2, 3, 4, 5, 6, 7]
        on = {t.variant: np.array(t.at("test").per_class, float) for t in (vehicles, mammals)}
        text += (
            f". On CIFAR-10's four vehicles: {on['vehicles'][machines].mean():.3f} from vehicles, "
            f"{on['mammals'][machines].mean():.3f} from mammals; on its six animals: "
            f"{on['vehicles'][animals].mean():.3f} from vehicles, "
            f"{on['mammals'][animals].mean():.3f} from mammals"
        )
    return text


def _size(result: ThesisResult) -> _Judged:
    large = [t for n in (1, 3) for t in experiment_trials(result, n)]
    same_start = [t for t in large if t.initial == "random"]
    same_start += [t for t in result.trials if t.part == "similar"]
    direct = [mean_accuracy(experiment_trials(result, n)) for n in (1, 3)]
    words = []
    verdict: Verdict = "not decided here"
    if direct[0] and direct[1]:
        starts = [experiment_trials(result, n)[0].initial for n in (1, 3)]
        words.append(
            f"Large set: VGG16 (from {starts[0]} weights) {_shown(direct[0])}, MobileNetV2 (from "
            f"{starts[1]} weights) {_shown(direct[1])}"
        )
    if same_start:
        rows = [
            f"{t.body} ({t.parameters / 1e6:.1f} million parameters) "
            f"{_shown(accuracy_of(t.at('test')))}"
            for t in sorted(same_start, key=_accuracy)[::-1]
        ]
        words.append(f"All from random weights, large set: {'; '.join(rows)}")
        own = [t for t in same_start if t.body.endswith("vgg16")]
        others = [t for t in same_start if not t.body.endswith("vgg16")]
        if own and others:
            mine = accuracy_of(own[0].at("test"))
            best = max((accuracy_of(t.at("test")) for t in others), key=lambda s: s.value)
            verdict = "holds" if mine.low > best.high else "not decided here"
            verdict = "does not hold" if best.low > mine.high else verdict
    if not words:
        return "not decided here", "The large set was not run."
    return verdict, ". ".join(words) + "."


def _temperature(result: ThesisResult) -> _Judged:
    if result.teacher is None:
        return "not decided here", "There was no teacher."
    errors = result.teacher.temperature_errors
    words = ", ".join(f"{error:.1e} at T = {t:g}" for t, error in errors.items())
    text = (
        "softmax(ln S / T) of the stored answers against the softmax of the teacher's own logits "
        f"at temperature T, largest difference of any probability on the test images: {words}. "
        "So stored probabilities give every temperature, at no query"
    )
    trials = experiment_trials(result, 4)[:1]
    trials += [t for t in result.trials if t.part == "temperature"]
    if len(trials) > 1:
        rows = "; ".join(
            f"{t.recipe if t.variant != 'thesis' else 'temperature 1'} "
            f"{_shown(accuracy_of(t.at('test')))}"
            for t in trials
        )
        text += f". Experiment 4 on the same answers, one seed: {rows}"
    return "does not hold", f"{text}."


def _judged(verdicts: Sequence[bool]) -> Verdict:
    if all(verdicts):
        return "holds"
    return "holds in part" if any(verdicts) else "does not hold"


def _agreement(trials: Sequence[TrialRecord]) -> float:
    return float(np.mean([t.curve[-1].agreement for t in trials]))


def _accuracy(trial: TrialRecord) -> float:
    return trial.at("test").accuracy


def _over_seeds(values: Sequence[float]) -> Score:
    return mean_over_seeds([Score(v, v, v, 1) for v in values])


def _shown(score: Score) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} ({score.low:+.3f} to {score.high:+.3f})"
