"""What an audit measured, as a test asks for it."""

from dataclasses import dataclass
from pathlib import Path

from papagaio.errors import BadSettings
from papagaio.findings.copies import rivals
from papagaio.gating.outcomes import budgets_of, doubt_about, responses_of
from papagaio.gating.rules import unmeasured
from papagaio.result import Result, read_result
from papagaio.scores import Figure
from papagaio.verdict import Verdict, verdict_of

__all__ = ["Audited", "decided", "read_audited"]


@dataclass(frozen=True)
class Audited:
    """A complete audit.

    Attributes:
        result: what `result.json` holds.
    """

    result: Result

    @property
    def verdict(self) -> Verdict:
        """The verdict; its `level` is `low`, `moderate`, `high`, `critical` or `not decided`."""
        return verdict_of(self.result)

    def fidelity_at(self, budget: int, response: str | None = None) -> Figure:
        """The fidelity of the copy whose interval ends highest.

        Where its `high` is below a limit, that of every copy is. Another copy may have a higher
        `value`, with a narrower interval.

        Args:
            budget: the number of answers that it learned from.
            response: only copies that this response allows, such as `label`; None for all.

        Returns:
            the figure, with the ends of its 95 % interval as `low` and `high`.

        Raises:
            BadSettings: no such copy was measured; the message names the nearest budget.
        """
        return self._ending_highest("fidelity", budget, response)

    def accuracy_at(self, budget: int, response: str | None = None) -> Figure:
        """The accuracy of the copy whose interval ends highest, as for `fidelity_at`."""
        return self._ending_highest("accuracy", budget, response)

    def relative_accuracy_at(self, budget: int, response: str | None = None) -> Figure:
        """The accuracy divided by the black box's, as for `fidelity_at`."""
        return self._ending_highest("relative_accuracy", budget, response)

    def _ending_highest(self, score: str, budget: int, response: str | None) -> Figure:
        result = self.result
        if why := unmeasured(budget, response, budgets_of(result), responses_of(result)):
            raise BadSettings(why)
        rows = rivals(result, response, budget)
        every_figure: list[Figure | None] = [getattr(row, score) for row in rows]
        figures = [figure for figure in every_figure if figure]
        if not figures:
            raise BadSettings(f"{score} was not measured of a copy from {budget} answers")
        return max(figures, key=lambda figure: figure.high)


def read_audited(folder: Path) -> Audited:
    """The audit in the folder of a run.

    Raises:
        BadSettings: there is none, it is incomplete, or its black box does not work.
    """
    return decided(read_result(folder / "result.json"), folder)


def decided(result: Result, folder: Path) -> Audited:
    """A result about which something can be asserted.

    Raises:
        BadSettings: it is incomplete, or its black box does not work.
    """
    if doubt := doubt_about(result):
        raise BadSettings(f"{folder}: {doubt}; nothing can be asserted about it")
    return Audited(result)
