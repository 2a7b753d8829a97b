"""What an audit measured, as a test asks for it."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from papagaio.auditing.opening import open_black_box_of, open_images
from papagaio.auditing.run import audit
from papagaio.errors import BadSettings
from papagaio.findings.copies import copies, rivals
from papagaio.gating.outcomes import budgets_of, doubt_about, responses_of
from papagaio.gating.rules import unmeasured
from papagaio.options import read_toml, validated
from papagaio.progress import no_progress
from papagaio.result import Result, read_result
from papagaio.scores import Figure
from papagaio.settings import Settings
from papagaio.verdict import Verdict, verdict_of

__all__ = ["Audited", "audited", "read_audited"]


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
        """The highest fidelity of a copy.

        Args:
            budget: the number of answers that it learned from.
            response: only copies that this response allows, such as `label`; None for all.

        Returns:
            the figure, with the ends of its 95 % interval as `low` and `high`.

        Raises:
            BadSettings: no such copy was measured; the message names the nearest budget.
        """
        return self._highest("fidelity", budget, response)

    def accuracy_at(self, budget: int, response: str | None = None) -> Figure:
        """The highest accuracy of a copy, as for `fidelity_at`."""
        return self._highest("accuracy", budget, response)

    def relative_accuracy_at(self, budget: int, response: str | None = None) -> Figure:
        """The highest accuracy of a copy, divided by the black box's; as for `fidelity_at`."""
        return self._highest("relative_accuracy", budget, response)

    def _highest(self, score: str, budget: int, response: str | None) -> Figure:
        result = self.result
        if why := unmeasured(budget, response, budgets_of(result), responses_of(result)):
            raise BadSettings(why)
        every = [row for row in copies(result) if row.budget == budget]
        rows = every if response is None else rivals(result, response, budget)
        figures = [figure for row in rows if (figure := getattr(row, score)) is not None]
        if not figures:
            raise BadSettings(f"{score} was not measured of a copy from {budget} answers")
        return max(figures, key=lambda figure: figure.value)


def read_audited(folder: Path) -> Audited:
    """The audit in the folder of a run.

    Raises:
        BadSettings: there is none, it is incomplete, or its black box does not work.
    """
    return _decided(read_result(folder / "result.json"), folder)


def audited(file: Path) -> Audited:
    """Run an audit from a TOML file, as `papagaio audit --config` does, or resume it.

    No answer is paid for twice.

    Raises:
        PapagaioError: as for `auditing.run.audit`; or as for `read_audited`.
    """
    settings = validated(Settings, read_toml(file), lambda name: f"{file}: {name}")
    with closing(open_black_box_of(settings)) as box:
        images = open_images(settings, box.contract, no_progress)
        return _decided(audit(box, images, settings), settings.out)


def _decided(result: Result, folder: Path) -> Audited:
    if doubt := doubt_about(result):
        raise BadSettings(f"{folder}: {doubt}; nothing can be asserted about it")
    return Audited(result)
