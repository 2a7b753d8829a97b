"""What a run keeps of an earlier one in the same folder."""

from collections.abc import Sequence
from pathlib import Path

from papagaio_thesis.experiments import Scale
from papagaio_thesis.options import StudyOptions
from papagaio_thesis.reading import ReadingRecord, nearest_first
from papagaio_thesis.records import (
    DivergedRecord,
    MagnifiedRecord,
    ThesisResult,
    TrialRecord,
    read_thesis,
)

__all__ = ["merged", "read_earlier"]


def read_earlier(path: Path, options: StudyOptions, scale: Scale) -> ThesisResult | None:
    """Return the result of an earlier run with the same options, if there is one.

    Raises:
        BadSettings: `path` holds something else.
    """
    earlier = read_thesis(path) if path.exists() else None
    if earlier and (earlier.options, earlier.scale) == (options, scale):
        return earlier
    return None


def merged(earlier: ThesisResult | None, new: ThesisResult) -> ThesisResult:
    """Return a run's result together with everything of an earlier one that it did not repeat.

    Nothing is kept of an earlier run with another teacher.
    """
    if earlier is None or _teachers_differ(earlier, new):
        earlier = new.model_copy(
            update={
                "teacher": None,
                "trials": [],
                "unfinished": [],
                "diverged": [],
                "magnified": [],
            }
        )
    return new.model_copy(
        update={
            "teacher": new.teacher or earlier.teacher,
            "trials": (trials := _trials(earlier.trials, new.trials)),
            "unfinished": _unfinished(earlier.unfinished, new.unfinished, trials),
            "diverged": _diverged(earlier.diverged, new),
            "magnified": _magnified(earlier.magnified, new.magnified),
            "readings": _readings(earlier.readings, new.readings),
        }
    )


def _teachers_differ(earlier: ThesisResult, new: ThesisResult) -> bool:
    if earlier.teacher is None or new.teacher is None:
        return False
    return earlier.teacher.identity != new.teacher.identity


def _trials(earlier: Sequence[TrialRecord], new: Sequence[TrialRecord]) -> list[TrialRecord]:
    def order(record: TrialRecord) -> tuple[object, ...]:
        return not record.study.startswith("experiment"), record.study, record.seed

    # Later ones replace earlier ones.
    return sorted({_training(record): record for record in (*earlier, *new)}.values(), key=order)


def _unfinished(
    earlier: Sequence[TrialRecord], new: Sequence[TrialRecord], finished: Sequence[TrialRecord]
) -> list[TrialRecord]:
    done = {_training(record) for record in finished}
    return [record for record in _trials(earlier, new) if _training(record) not in done]


def _training(record: TrialRecord) -> tuple[object, ...]:
    return *record.key, record.initial, record.training_set


def _diverged(earlier: Sequence[DivergedRecord], new: ThesisResult) -> list[DivergedRecord]:
    """Trainings that diverged when they were last run."""
    tried = {record.key for record in (*new.trials, *new.diverged)}
    tried |= {
        DivergedRecord.of_copy(copy.letters, copy.recipe, copy.seed, "").key for copy in new.digits
    }
    tried |= {DivergedRecord.of_reading(one.reading.name, "").key for one in new.readings}
    return [record for record in earlier if record.key not in tried] + new.diverged


def _magnified(
    earlier: Sequence[MagnifiedRecord], new: Sequence[MagnifiedRecord]
) -> list[MagnifiedRecord]:
    records = {(record.study, record.variant): record for record in (*earlier, *new)}
    return [records[key] for key in sorted(records)]


def _readings(
    earlier: Sequence[ReadingRecord], new: Sequence[ReadingRecord]
) -> list[ReadingRecord]:
    """Every reading once, the nearest to Table 1 first."""
    return nearest_first({one.reading.name: one for one in (*earlier, *new)}.values())
