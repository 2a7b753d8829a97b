"""Ensembles: which copies answer together, and that their answer is the mean of centred logits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from papagaio import scores
from papagaio.auditing.ensembles import ensemble_record, ensembles_of
from papagaio.auditing.finishing import TEST_LOGITS
from papagaio.auditing.frozen import Cell, CellContext, ScoringSet, TrainingSet
from papagaio.auditing.plan import AttackConfig, Training
from papagaio.scores import Figure
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe

LABELS = np.arange(30) % 3
RANDOM = np.random.default_rng(0)
ANSWERS = np.asarray(softmax(RANDOM.normal(0, 3, (30, 3)), 1), np.float32)


def cell(seed: int = 0, kind: str = "copy", budget: int = 16, student: str = "small-cnn") -> Cell:
    attack = AttackConfig("probabilities", Recipe("quick"))
    training = Training(kind, student, "random", attack, budget, seed, "transfer", "queried")
    return Cell(training, TrainingSet(Path("images"), Path("answers"), "probabilities", "digest"))


@pytest.fixture
def context(tmp_path: Path) -> CellContext:
    np.save(tmp_path / "answers.npy", ANSWERS)
    np.save(tmp_path / "labels.npy", LABELS)
    test = TrainingSet(tmp_path, tmp_path / "answers.npy", "probabilities", "digest")
    return CellContext(tmp_path, ScoringSet(test, tmp_path / "labels.npy"), Machine(), 10.0)


def test_copies_that_differ_only_in_their_seed_answer_together() -> None:
    ours, smaller = [cell(0), cell(1), cell(2)], [cell(3, budget=8), cell(4, budget=8)]
    alone = [cell(5, student="residual-cnn"), cell(6, "floor:noise"), cell(7, "floor:noise")]
    mixed = [ours[0], smaller[0], alone[0], ours[1], *alone[1:], smaller[1], ours[2]]
    assert ensembles_of(mixed) == [tuple(ours), tuple(smaller)]


def test_their_answer_is_the_mean_of_their_centred_logits(context: CellContext) -> None:
    copies = [cell(4), cell(9)]
    logits = RANDOM.normal(0, 2, (2, 30, 3)).astype(np.float32)
    for copy, own in zip(copies, logits, strict=True):
        folder = context.folder / context.id_of(copy)
        folder.mkdir()
        # A constant of an image says nothing, however large it is.
        np.save(folder / TEST_LOGITS, own + RANDOM.normal(0, 50, (30, 1)).astype(np.float32))
    record = ensemble_record(context, copies)
    expected = np.asarray(softmax(logits.mean(0), 1), np.float32)
    assert record.scores.fidelity == scores.fidelity(expected, ANSWERS)
    assert record.scores.kl is not None
    assert record.scores.kl.value == pytest.approx(
        scores.kl_divergence(expected, ANSWERS).value, rel=1e-4
    )
    assert record.per_class == scores.accuracy_per_class(expected, LABELS)
    assert (record.seeds, record.budget, record.recipe) == ([4, 9], 16, "quick")
    # One answer, and no seeds over which it could vary: the interval is that of its images.
    assert isinstance(record.scores.accuracy, Figure)
    assert record.scores.accuracy.n == len(LABELS)


def test_an_ensemble_is_a_divergence_only_from_full_answers(context: CellContext) -> None:
    answered = replace(context.test.answered, shown="label")
    partial = replace(context, test=replace(context.test, answered=answered))
    folder = partial.folder / partial.id_of(cell())
    folder.mkdir()
    np.save(folder / TEST_LOGITS, np.zeros((30, 3), np.float32))
    assert ensemble_record(partial, [cell(), cell()]).scores.kl is None
