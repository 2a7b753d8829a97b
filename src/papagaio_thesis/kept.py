"""What a run keeps of an earlier one in the same folder."""

from collections.abc import Sequence
from pathlib import Path

from papagaio_thesis.options import Options, Scale
from papagaio_thesis.records import MagnifiedRecord, ThesisResult, TrialRecord, read_thesis

__all__ = ["joined", "name_of", "read_earlier"]


def read_earlier(path: Path, options: Options, scale: Scale) -> ThesisResult | None:
    """What an earlier run with the same options left, if there was one.

    Raises:
        BadSettings: `path` holds something else.
    """
    found = read_thesis(path) if path.exists() else None
    return found if found and (found.options, found.scale) == (options, scale) else None


def joined(earlier: ThesisResult | None, now: ThesisResult) -> ThesisResult:
    """A run's result, and what an earlier one found that it did not try again.

    Nothing of the earlier one stays if it learned from another teacher.
    """
    if earlier and earlier.teacher and now.teacher:
        earlier = earlier if earlier.teacher.identity == now.teacher.identity else None
    return now.model_copy(
        update={
            "teacher": now.teacher or (earlier and earlier.teacher),
            "trials": _trials(earlier.trials if earlier else [], now.trials),
            "diverged": _diverged(earlier.diverged if earlier else [], now),
            "magnified": _magnified(earlier.magnified if earlier else [], now.magnified),
        }
    )


def name_of(study: str, variant: str, body: str, seed: int) -> str:
    """What a trial is called where it diverged."""
    return f"{study}, {variant}, {body}, seed {seed}"


def _trials(earlier: Sequence[TrialRecord], now: Sequence[TrialRecord]) -> list[TrialRecord]:
    def key(record: TrialRecord) -> tuple[object, ...]:
        what = record.study, record.variant, record.body, record.initial, record.material
        return *what, record.seed

    def place(record: TrialRecord) -> tuple[object, ...]:
        return not record.study.startswith("experiment"), record.study, record.seed

    # Later ones replace earlier ones.
    every = {key(record): record for record in (*earlier, *now)}
    return sorted(every.values(), key=place)


def _diverged(earlier: Sequence[str], now: ThesisResult) -> list[str]:
    """What has no record because it diverged, now or when an earlier run tried it last."""
    tried = {name_of(one.study, one.variant, one.body, one.seed) for one in now.trials}
    tried |= {_name_in(words) for words in now.diverged}
    return [words for words in earlier if _name_in(words) not in tried] + now.diverged


def _name_in(diverged: str) -> str:
    return diverged.partition(": ")[0]


def _magnified(
    earlier: Sequence[MagnifiedRecord], now: Sequence[MagnifiedRecord]
) -> list[MagnifiedRecord]:
    every = {(one.study, one.variant): one for one in (*earlier, *now)}
    return [every[key] for key in sorted(every)]
