"""TensorBoard: one run per training, under FOLDER/RUN."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from papagaio.result import CellRecord, Result
from papagaio.tracking.following import Tracker, numbers_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["open_tracker"]


def open_tracker(where: str) -> Tracker:
    """TensorBoard's event files in a folder."""
    return _TensorBoard(Path(where))


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, run: str, result: Result) -> None:
        self._folder /= run
        if not _written(self._folder):
            settings = json.dumps(result.settings, indent=1).replace("\n", "\n    ")
            with _writer(self._folder) as writer:
                writer.add_text("settings", f"    {settings}")

    def trained(self, cell: CellRecord) -> None:
        folder = self._folder / cell.id
        if _written(folder):
            return
        with _writer(folder) as writer:
            for point in cell.curve:
                writer.add_scalar("loss", point.loss, point.epoch)
                writer.add_scalar("distillation_accuracy", point.distillation_accuracy, point.epoch)
            for name, number in numbers_of(cell.scores).items():
                writer.add_scalar(f"scores/{name}", number, cell.budget)

    def end(self, result: Result) -> None:
        """Every event file is closed as soon as it is written."""


def _written(folder: Path) -> bool:
    """Whether an earlier session has written there."""
    return any(folder.glob("events.*"))


def _writer(folder: Path) -> "SummaryWriter":
    from tensorboard import compat  # noqa: PLC0415  # an extra

    # TensorBoard would import TensorFlow, which ends a process that has torch in it.
    compat.notf = True
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra

    return SummaryWriter(str(folder))
