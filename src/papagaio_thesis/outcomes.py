"""What a run has so far."""

from dataclasses import dataclass, field

from papagaio_thesis.reading import ReadingRecord
from papagaio_thesis.records import (
    DigitRecord,
    DivergedRecord,
    MagnifiedRecord,
    TeacherRecord,
    TrialRecord,
)

__all__ = ["Outcomes"]


@dataclass
class Outcomes:
    """What a run has so far: filled as it proceeds, because it may end at any moment.

    Attributes:
        digits: copies of the digit classifier.
        teacher: the teacher.
        planned: the number of trials, once they are planned.
        trials: finished trials.
        unfinished: interrupted trials, each up to its last mark.
        diverged: trainings that diverged.
        magnified: students measured on magnified images.
        readings: teachers trained by readings of the grid.
    """

    digits: list[DigitRecord]
    teacher: TeacherRecord | None = None
    planned: int | None = None
    trials: list[TrialRecord] = field(default_factory=list)
    unfinished: list[TrialRecord] = field(default_factory=list)
    diverged: list[DivergedRecord] = field(default_factory=list)
    magnified: list[MagnifiedRecord] = field(default_factory=list)
    readings: list[ReadingRecord] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show yet."""
        some = self.trials or self.unfinished or self.diverged or self.readings
        return self.planned != 0 and not some

    @property
    def is_complete(self) -> bool:
        """Whether everything that was requested is finished."""
        return len(self.trials) == self.planned and not self.diverged
