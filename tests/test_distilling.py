"""Distilled students: what they are shown, what is right for it, and how their jobs go on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from papagaio.auditing.cells import cell_job
from papagaio.auditing.distilled import DistilledCell, distilled_job
from papagaio.auditing.finishing import TEST_LOGITS
from papagaio.auditing.frozen import Cell, CellContext, ScoringSet, TrainingSet
from papagaio.auditing.opening import open_images
from papagaio.auditing.plan import AttackConfig, Training
from papagaio.auditing.unanswered import Unanswered, freeze_unanswered
from papagaio.blackboxes.contract import Contract
from papagaio.errors import BadSettings
from papagaio.images.imageset import ImageSet
from papagaio.networks.named import build_student
from papagaio.options import validated
from papagaio.progress import Message, Step, no_progress
from papagaio.responses import centred_log
from papagaio.settings import AuditOptions, Settings
from papagaio.training.distilling import EnsembleLessons, distil, distilling_recipe
from papagaio.training.inference import infer
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import Augmentation

MACHINE = Machine()
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (30, 8, 8, 1), np.uint8)
ANSWERS = np.asarray(softmax(RANDOM.normal(0, 3, (30, 3)), 1), np.float32)
QUICK = Recipe("quick", loss="centred-l2", rate=1e-3, batch=8, epochs=2)
SHAPE = (8, 8, 1)


def lessons(*augmentation: Augmentation, stored: int = 10) -> EnsembleLessons:
    copies = [build_student("small-cnn", "random", IMAGES, 3, seed=seed).eval() for seed in (0, 1)]
    known = torch.from_numpy(centred_log(ANSWERS[:stored]))
    recipe = replace(QUICK, augmentation=augmentation)
    return EnsembleLessons(torch.from_numpy(IMAGES), copies, recipe, MACHINE, known)


# What is shown, and what is right for it.


def test_an_unanswered_image_has_the_copies_mean_centred_logits() -> None:
    given = lessons()
    batch, named = given(torch.arange(10, 30), 1.0)
    logits = [infer(copy, IMAGES[10:], MACHINE) for copy in given.copies]
    expected = np.mean([one - one.mean(1, keepdims=True) for one in logits], 0)
    assert batch.targets.numpy() == pytest.approx(expected, abs=1e-5)
    assert named.tolist() == expected.argmax(1).tolist()


def test_an_unchanged_image_has_its_stored_answer() -> None:
    rows = torch.tensor([12, 3, 9])
    batch, _ = lessons()(rows, 1.0)
    assert batch.targets[1:].numpy() == pytest.approx(centred_log(ANSWERS)[[3, 9]])
    assert batch.targets[0].numpy() != pytest.approx(centred_log(ANSWERS)[12])


def test_the_copies_answer_the_view_that_is_shown() -> None:
    torch.manual_seed(0)
    given = lessons("flip")
    batch, _ = given(torch.arange(10), 1.0)
    shown = batch.images.permute(0, 2, 3, 1).numpy()
    same = (shown == IMAGES[:10]).all((1, 2, 3))
    assert 0 < same.sum() < 10
    assert batch.targets[same].numpy() == pytest.approx(centred_log(ANSWERS[:10])[same])
    # Asked in a batch of another size, which on some processors changes the last digit.
    answered = given.answers(batch.images[~same])
    assert batch.targets[~same].numpy() == pytest.approx(answered.numpy(), abs=1e-6)


def test_a_student_takes_twice_the_steps_of_a_copy_however_many_images_there_are() -> None:
    copy = Recipe("labels", loss="cross-entropy", batch=32, epochs=20, least_steps=600, fade=500)
    copy = replace(copy, augmentation=("affine",))
    for answered, unanswered in ((500, 3500), (100, 0), (4000, 100)):
        recipe, images = distilling_recipe(copy, answered, unanswered, SHAPE), answered + unanswered
        steps = recipe.epochs_for(images) * recipe.steps_per_epoch(images)
        assert steps == pytest.approx(2 * copy.epochs_for(answered) * -(-answered // 32), rel=0.05)
        assert (recipe.loss, recipe.augmentation) == ("centred-l2", ("affine",))
    assert distilling_recipe(QUICK, 10, 10_000, SHAPE).epochs == 1


def test_a_student_comes_close_to_what_the_copies_answer() -> None:
    copies = lessons().copies
    student = build_student("small-cnn", "random", IMAGES, 3, seed=9)
    recipe = replace(QUICK, optimiser="adamw", rate=6e-3, schedule="one-cycle", epochs=60)
    epochs = distil(
        student, copies, IMAGES, np.empty((0, 3), np.float32), recipe, seed=0, machine=MACHINE
    )
    assert epochs[-1].distillation_accuracy == 1
    assert epochs[-1].loss < 0.1 * epochs[0].loss


# Images that nobody asks about.


def test_test_images_are_left_out_of_what_students_see(tmp_path: Path) -> None:
    pixels = np.kron(RANDOM.integers(0, 256, (40, 8, 8, 1), np.uint8), np.ones((1, 4, 4, 1), "u1"))
    test = ImageSet.of(
        "test", np.concatenate([pixels[3:4], np.abs(pixels[25:26] - 1.0)]).astype("u1")
    )
    transfer, pool = ImageSet.of("transfer", pixels[:20]), ImageSet.of("pool", pixels[20:])
    said: list[Step | Message] = []
    found = freeze_unanswered(transfer, pool, test, tmp_path / "unanswered.npy", said.append)
    kept = np.delete(np.arange(40), [3, 25])
    assert np.array_equal(np.load(found.file), pixels[kept])
    assert found.near_duplicates == 2
    assert "left out 2 near-duplicates of test images" in str(said[-1])
    # What the whole budget asks about begins the file; a smaller budget leaves more unanswered.
    assert [found.first(budget) for budget in (20, 10, 3)] == [19, 9, 3]
    assert found.digest(20) != found.digest(10)


def settings(folder: Path, **changes: object) -> Settings:
    np.savez(folder / "transfer.npz", images=IMAGES)
    np.savez(folder / "test.npz", images=IMAGES[:4] // 2, labels=np.arange(4) % 3)
    values = {
        "black-box": "box.py:answer",
        "transfer": str(folder / "transfer.npz"),
        "test": str(folder / "test.npz"),
        "budget": 12,
        "seeds": [0, 1],
        "distil": True,
    }
    return validated(Settings, values | changes)


def test_the_pool_is_what_the_budget_leaves_of_the_transfer_set(tmp_path: Path) -> None:
    contract = Contract(8, 8, 1, 3)
    found = open_images(settings(tmp_path), contract)
    assert found.pool is not None
    both = np.concatenate([found.transfer.digests, found.pool.digests])
    assert len(found.transfer) == 12
    assert len(np.unique(both, axis=0)) == 30
    assert open_images(settings(tmp_path, budget=30), contract).pool is None
    assert open_images(settings(tmp_path, distil=False), contract).pool is None


def test_a_pool_may_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "pool.npz", images=IMAGES[[0, 0, 1, 2, 3, 4]] // 3)
    said: list[Step | Message] = []
    chosen = settings(tmp_path, pool=str(tmp_path / "pool.npz"))
    found = open_images(chosen, Contract(8, 8, 1, 3), said.append)
    assert found.pool is not None
    assert (found.pool.name, len(found.pool)) == ("pool", 5)
    assert Message("pool: replaced 1 repeated images") in said


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"pool p: .*add distil"):
        settings(tmp_path, pool="p", distil=False)
    with pytest.raises(BadSettings, match="distil True: needs copies of several seeds"):
        validated(AuditOptions, {"budget": 5, "distil": True})


# Their jobs.


@pytest.fixture
def lab(tmp_path: Path) -> tuple[CellContext, DistilledCell]:
    """Two finished copies, and the student to be distilled from them."""
    for name, array in (("images", IMAGES), ("answers", ANSWERS), ("labels", np.arange(30) % 3)):
        np.save(tmp_path / f"{name}.npy", array)
    data = TrainingSet(tmp_path / "images.npy", tmp_path / "answers.npy", "probabilities", "digest")
    context = CellContext(
        tmp_path / "cells", ScoringSet(data, tmp_path / "labels.npy"), MACHINE, 0.0
    )
    attack = AttackConfig("probabilities", QUICK)
    copies = tuple(
        Cell(Training("copy", "small-cnn", "random", attack, 16, seed, "transfer", "queried"), data)
        for seed in (4, 5)
    )
    for copy in copies:
        cell_job(context, copy).run(no_progress)
    transfer, pool, test = (
        ImageSet.of("set", part) for part in (IMAGES[:20], IMAGES[20:28], IMAGES[28:])
    )
    unanswered = freeze_unanswered(transfer, pool, test, tmp_path / "unanswered.npy", no_progress)
    return context, DistilledCell(copies, unanswered)


class Killed(Exception):
    pass


def test_a_student_is_trained_once_and_goes_on_where_it_was_killed(
    lab: tuple[CellContext, DistilledCell],
) -> None:
    context, cell = lab
    job = distilled_job(context, cell)
    assert job.finished() is None

    def stop(step: Step | Message) -> None:
        if isinstance(step, Step) and step.unit == "epochs" and step.done == 2:
            raise Killed

    with pytest.raises(Killed):
        job.run(stop)
    folder = context.folder / job.id
    assert {path.name for path in folder.iterdir()} == {"checkpoint"}
    epochs: list[int] = []

    def note(step: Step | Message) -> None:
        if isinstance(step, Step) and step.unit == "epochs":
            epochs.append(step.done)

    record = job.run(note)
    assert epochs[0] == 2
    assert job.finished() == record
    assert (record.kind, record.recipe, record.budget, record.seed) == ("distilled", "quick", 16, 4)
    # Each copy took 4 steps. 16 images with an answer and 12 without are 4 batches of 8.
    assert (record.epochs, record.steps) == (2, 8)
    left = (folder / "student.safetensors").read_bytes(), (folder / TEST_LOGITS).read_bytes()
    for path in folder.iterdir():
        path.unlink()
    job.run(no_progress)
    assert left == (
        (folder / "student.safetensors").read_bytes(),
        (folder / TEST_LOGITS).read_bytes(),
    )


def test_a_student_is_cut_to_the_minutes_of_its_copies(
    lab: tuple[CellContext, DistilledCell],
) -> None:
    context, cell = lab
    path = context.folder / context.id_of(cell.copies[0]) / "recipe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minutes": 1e-6}))
    record = distilled_job(context, cell).run(no_progress)
    assert (record.epochs, record.recipe_epochs, record.undertrained) == (1, 2, True)


def test_a_students_name_differs_with_its_copies_and_with_what_it_is_shown(
    lab: tuple[CellContext, DistilledCell],
) -> None:
    context, cell = lab
    shown: Unanswered = cell.unanswered
    others = [
        replace(cell, copies=cell.copies[:1]),
        replace(cell, copies=(cell.copies[0], replace(cell.copies[1], initial_digest="other"))),
        replace(cell, unanswered=replace(shown, digests=shown.digests[:-1])),
        replace(cell, unanswered=replace(shown, file=Path("elsewhere"))),
    ]
    names = [context.id_of(one) for one in others]
    assert len({context.id_of(cell), *names[:3]}) == 4
    assert names[3] == context.id_of(cell)
