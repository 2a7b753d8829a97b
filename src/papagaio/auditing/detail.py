"""The strongest copy on the test set, image by image."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.auditing.finishing import TEST_LOGITS
from papagaio.auditing.frozen import ScoringSet
from papagaio.findings.copies import trainings
from papagaio.findings.strongest import strongest_copy
from papagaio.images.png import thumbnail
from papagaio.result import ConfidenceBin, CopyDetail, NamedPair, Result, TestPicture
from papagaio.training.inference import softmax

__all__ = ["copy_detail"]

_PAIRS = 400
_BINS = 10
_PICTURES = 8

Classes = NDArray[np.integer]
Confidence = NDArray[np.float32]


def copy_detail(result: Result, folder: Path, test: ScoringSet) -> CopyDetail | None:
    """What the strongest copy names, beside the black box.

    Args:
        result: with its summary.
        folder: that of the cells.
        test: the test set.

    Returns:
        None where there is no such copy, or its folder does not say what it answered.
    """
    row = strongest_copy(result)
    cell = min(trainings(result, row), key=lambda one: one.seed, default=None) if row else None
    if cell is None or not (folder / cell.id / TEST_LOGITS).exists():
        return None
    shares = softmax(np.load(folder / cell.id / TEST_LOGITS))
    copied, confidence = shares.argmax(1), shares.max(1)
    named = files.read_array(test.answered.answers).argmax(1)
    labels = files.read_array(test.labels)
    agreeing = _surest_of_each(np.flatnonzero(copied == named), named, confidence)
    differing = np.flatnonzero(copied != named)
    differing = differing[np.argsort(-confidence[differing], kind="stable")]
    images = files.read_array(test.answered.images)
    names = [one.name for one in result.named]

    def pictures(rows: Iterable[np.integer]) -> list[TestPicture]:
        return [
            TestPicture(
                png=thumbnail(np.asarray(images[row])),
                black_box=names[named[row]],
                copied=names[copied[row]],
                truth=names[labels[row]],
            )
            for row in rows
        ]

    return CopyDetail(
        cell=cell.id,
        pairs=_pairs(named, copied),
        calibration=_calibration(confidence, copied == labels),
        differing=pictures(differing[:_PICTURES]),
        agreeing=pictures(agreeing[:_PICTURES]),
    )


def _pairs(named: Classes, copied: Classes) -> list[NamedPair]:
    pairs, counts = np.unique(np.stack([named, copied], 1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PAIRS]
    return [
        NamedPair(black_box=int(pairs[i, 0]), copied=int(pairs[i, 1]), images=int(counts[i]))
        for i in order
    ]


def _calibration(confidence: Confidence, right: NDArray[np.bool_]) -> list[ConfidenceBin]:
    bin_of = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return [
        ConfidenceBin(
            confidence=float(confidence[bin_of == one].mean()),
            right=float(right[bin_of == one].mean()),
            images=int((bin_of == one).sum()),
        )
        for one in np.unique(bin_of)
    ]


def _surest_of_each(rows: Classes, named: Classes, confidence: Confidence) -> Classes:
    """Rows by confidence, the surest of each class before any second one."""
    order = rows[np.argsort(-confidence[rows], kind="stable")]
    _, first = np.unique(named[order], return_index=True)
    return np.concatenate([order[np.sort(first)], np.delete(order, first)])
