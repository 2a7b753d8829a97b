"""Runs as they are compared: results, and the classes that were named for each test image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio.errors import BadSettings
from papagaio.findings.copies import copies, trainings
from papagaio.result import Result, SummaryRow, read_result

__all__ = ["Run", "check_comparable", "named_by", "read_run"]

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """A run's folder and result, and of its N test images what the black box names.

    `named` (the black box's classes) and `labels` (the true ones) are int64 (N,), or None where the
    folder lacks them.
    """

    folder: Path
    result: Result
    named: Classes | None
    labels: Classes | None

    @property
    def budgets(self) -> set[int]:
        """The budgets of its copies."""
        return {row.budget for row in copies(self.result)}


def read_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        BadSettings: it has no result that can be read.
    """
    result = read_result(folder / "result.json")
    answers = _array(folder / "inputs" / "test-queried-answers.npy")
    labels = _array(folder / "inputs" / "test-labels.npy")
    images = result.test.images
    if answers is None or labels is None or not len(answers) == len(labels) == images:
        return Run(folder, result, None, None)
    return Run(folder, result, answers.argmax(1), labels.astype(np.int64))


def named_by(run: Run, row: SummaryRow) -> Classes | None:
    """What the trainings of a copy name, int64 (S, N); None where one has left no file of it."""
    cells = [
        _array(run.folder / "cells" / cell.id / "test-logits.npy")
        for cell in trainings(run.result, row)
    ]
    present = [one for one in cells if one is not None and len(one) == run.result.test.images]
    if not present or len(present) < len(cells):
        return None
    return np.stack([logits.argmax(1) for logits in present]).astype(np.int64)


def check_comparable(first: Run, second: Run) -> None:
    """Refuse runs whose figures are about different things.

    Raises:
        BadSettings: the classes or the test sets differ, or no budget is common; the message says
            how to mend it.
    """
    one, other = first.result, second.result
    where = f"{second.folder} cannot be compared with {first.folder}"
    box, its_box = one.black_box, other.black_box
    if box.classes != its_box.classes:
        raise BadSettings(
            f"{where}: it is about {its_box.classes} classes, the other about {box.classes}; name"
            " runs about the same classes"
        )
    if box.class_names and its_box.class_names and box.class_names != its_box.class_names:
        raise BadSettings(
            f"{where}: its classes have other names or another order; state the same order with"
            " --classes-from and audit it again"
        )
    if box.input != its_box.input:
        shapes = ["x".join(map(str, one)) for one in (its_box.input, box.input)]
        raise BadSettings(
            f"{where}: its black box takes images of {shapes[0]}, the other of {shapes[1]}, so that"
            " their test images differ; name a function (FILE.py:NAME) that resizes them"
        )
    if one.test.digest != other.test.digest or not _same_labels(first, second):
        raise BadSettings(
            f"{where}: its test set {other.test.name} ({other.test.images:,} images) has other"
            f" images or labels than {one.test.name} ({one.test.images:,}); audit it again with the"
            " same --test, --resize, --colour and --exif"
        )
    if not first.budgets & second.budgets:
        raise BadSettings(
            f"{where}: its copies have the budgets {_listed(second.budgets)}, the other's"
            f" {_listed(first.budgets)}; add a common one with --budgets and audit it again"
        )


def _same_labels(first: Run, second: Run) -> bool:
    """Whether the labels are the same, as far as both runs kept them."""
    if first.labels is None or second.labels is None:
        return True
    return np.array_equal(first.labels, second.labels)


def _listed(budgets: set[int]) -> str:
    return ", ".join(f"{budget:,}" for budget in sorted(budgets)) or "of none"


def _array(path: Path) -> NDArray[np.generic] | None:
    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        raise BadSettings(f"{path}: not an array of NumPy; run its audit again") from error
