"""Cells: what decides a cell's name, which are run, and that their files hold the whole copy."""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.special import softmax

from papagaio import files, scores
from papagaio.auditing import frozen
from papagaio.auditing.cells import cell_job
from papagaio.auditing.finishing import TEST_LOGITS
from papagaio.auditing.frozen import Cell, CellContext, ScoringSet, TrainingSet
from papagaio.auditing.plan import AttackConfig, Training
from papagaio.errors import Diverged
from papagaio.executors.here import on_this_machine
from papagaio.jobs import run_jobs
from papagaio.networks.classifier import Classifier
from papagaio.networks.named import build_student
from papagaio.progress import Message, Progress, Step, no_progress
from papagaio.result import CellRecord
from papagaio.training.inference import predict
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import recipe_named
from papagaio.training.variants import Variants

RECIPE = Recipe("quick", rate=1e-3, batch=8, epochs=2)
CLASSES = 3

# Every field of a recipe, with another value than in RECIPE.
OTHER_VALUES: dict[str, object] = {
    "name": "slow",
    "loss": "centred-l2",
    "temperature": 2.0,
    "optimiser": "adamw",
    "rate": 2e-3,
    "decay": 0.1,
    "muon": 0.1,
    "schedule": "one-cycle",
    "batch": 9,
    "least_batches": 2,
    "epochs": 3,
    "least_steps": 50,
    "augmentation": ("flip",),
    "epochs_given": 4,
    "minutes": 5.0,
    "most_epochs": 1,
    "rounds": (({"augmentation": ("flip",)},),),
    "fade": 10,
    "smoothing": 0.1,
    "alpha": 0.1,
    "clip": 1.0,
    "variants": Variants(flip=0.5),
}


@dataclass(frozen=True)
class Lab:
    """The context of cells, and one cell of it."""

    context: CellContext
    cell: Cell

    def folder(self, cell: Cell) -> Path:
        return self.context.folder / self.context.id_of(cell)

    def run(
        self, *cells: Cell, workers: int = 1, progress: Progress = no_progress
    ) -> list[CellRecord]:
        jobs = [cell_job(self.context, cell) for cell in cells]
        outcomes = run_jobs(jobs, on_this_machine(workers), unit="trainings", progress=progress)
        return [outcome for _, outcome in outcomes if isinstance(outcome, CellRecord)]


def changed(cell: Cell, **changes: Any) -> Cell:  # noqa: ANN401  # any field's value
    """The cell with other fields, of itself, of its training or of its attack."""

    def of(record: object) -> dict[str, Any]:
        return {f.name: changes[f.name] for f in fields(record) if f.name in changes}  # type: ignore[arg-type]

    attack = replace(cell.training.attack, **of(cell.training.attack))
    training = replace(cell.training, attack=attack, **of(cell.training))
    return replace(cell, training=training, **of(cell))


def training_set(
    folder: Path, name: str, seed: int, count: int, shape: tuple[int, int, int] = (8, 8, 1)
) -> TrainingSet:
    random = np.random.default_rng(seed)
    images = random.integers(0, 200, (count, *shape), np.uint8)
    answers = np.asarray(softmax(random.normal(0, 3, (count, CLASSES)), axis=1), np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}-images.npy", folder / f"{name}-answers.npy"
    for path, array in zip(paths, (images, answers), strict=True):
        np.save(path, array)
    digest = hashlib.sha256(images.tobytes() + answers.tobytes()).hexdigest()
    return TrainingSet(*paths, "probabilities", digest)


def lab_in(folder: Path, shape: tuple[int, int, int] = (8, 8, 1)) -> Lab:
    answered = training_set(folder / "inputs", "test", 2, 30, shape)
    labels = folder / "inputs" / "test-labels.npy"
    np.save(labels, np.arange(30) % CLASSES)
    training = Training(
        kind="copy",
        student="small-cnn",
        initial="random",
        attack=AttackConfig("probabilities", RECIPE),
        budget=16,
        seed=0,
        images="transfer",
        answers="queried",
    )
    cell = Cell(training, training_set(folder / "inputs", "transfer", 1, 20, shape))
    test = ScoringSet(answered, labels)
    return Lab(CellContext(folder / "cells", test, Machine(), 10.0), cell)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_in(tmp_path)


def weights(folder: Path) -> bytes:
    return (folder / "student.safetensors").read_bytes()


# A cell's name.


def test_equal_cells_have_the_same_name(lab: Lab) -> None:
    again = changed(lab.cell, recipe=replace(RECIPE), data=replace(lab.cell.data))
    assert lab.context.id_of(again) == replace(lab.context).id_of(lab.cell)


def test_a_name_can_be_read_and_is_a_folders(lab: Lab) -> None:
    names = [lab.context.id_of(changed(lab.cell, kind=kind)) for kind in ("copy", "floor:noise")]
    assert names[0].startswith("copy_quick_probabilities_16_0_")
    assert names[1].startswith("floor-noise_quick_probabilities_16_0_")
    assert all(set("/:\\ ").isdisjoint(name) for name in names)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "floor:shuffled"},
        {"student": "residual-cnn"},
        {"initial": "library"},
        {"initial_digest": "digest of a file"},
        {"images": "own"},
        {"answers": "shuffled"},
        {"response": "rounded-3"},
        {"budget": 15},
        {"seed": 1},
    ],
)
def test_another_cell_has_another_name(lab: Lab, change: dict[str, Any]) -> None:
    assert lab.context.id_of(changed(lab.cell, **change)) != lab.context.id_of(lab.cell)


def test_every_field_of_a_recipe_is_part_of_the_name(lab: Lab) -> None:
    assert set(OTHER_VALUES) == {field.name for field in fields(Recipe)}
    changes: list[dict[str, Any]] = [{name: value} for name, value in OTHER_VALUES.items()]
    recipes = [RECIPE, *(replace(RECIPE, **change) for change in changes)]
    names = {lab.context.id_of(changed(lab.cell, recipe=recipe)) for recipe in recipes}
    assert len(names) == len(OTHER_VALUES) + 1


def test_other_data_another_test_and_another_machine_are_another_name(lab: Lab) -> None:
    data = [lab.cell.data, replace(lab.cell.data, digest="other")]
    answered = lab.context.test.answered
    tests = [
        replace(lab.context.test, answered=one) for one in (answered, replace(answered, digest="o"))
    ]
    machines = [Machine(), Machine(precision="bfloat16"), Machine(threads=2), Machine("cuda")]
    names = {
        replace(lab.context, test=test, machine=machine).id_of(changed(lab.cell, data=learned))
        for learned in data
        for test in tests
        for machine in machines
    }
    assert len(names) == 16


def test_where_files_lie_and_how_often_it_is_kept_are_no_part_of_the_name(lab: Lab) -> None:
    answered = replace(lab.context.test.answered, images=Path("test.npy"))
    elsewhere = replace(
        lab.context,
        folder=Path("elsewhere"),
        checkpoint_seconds=0,
        test=ScoringSet(answered, Path("labels.npy")),
    )
    moved = changed(lab.cell, data=replace(lab.cell.data, images=Path("images.npy")))
    assert elsewhere.id_of(moved) == lab.context.id_of(lab.cell)


def test_another_version_of_the_package_trains_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.context.id_of(lab.cell)
    monkeypatch.setattr(frozen, "__version__", "99")
    assert lab.context.id_of(lab.cell) != before


# Running them.


def test_a_cells_job_has_its_name_its_length_and_its_record(lab: Lab) -> None:
    job = cell_job(lab.context, lab.cell)
    assert job.id == lab.context.id_of(lab.cell)
    assert job.cost == 2 * 2 * 8  # epochs, steps per epoch, images per step
    assert job.finished() is None
    (record,) = lab.run(lab.cell)
    assert job.finished() == record


def test_a_finished_cell_is_not_trained_again(lab: Lab) -> None:
    (first,) = lab.run(lab.cell)
    (lab.folder(lab.cell) / "student.safetensors").write_bytes(b"left alone")
    images = lab.cell.data.images
    assert isinstance(images, Path)
    images.unlink()
    assert lab.run(lab.cell) == [first]
    assert weights(lab.folder(lab.cell)) == b"left alone"


@pytest.mark.parametrize("missing", [("scores.json",), ("scores.json", "curve.csv")])
def test_a_cell_without_scores_is_trained_again(lab: Lab, missing: tuple[str, ...]) -> None:
    (first,) = lab.run(lab.cell)
    folder = lab.folder(lab.cell)
    kept = weights(folder)
    for name in missing:
        (folder / name).unlink()
    (folder / "student.safetensors").write_bytes(b"cut short")
    (folder / ".student.safetensors.99.part").write_bytes(b"left by a kill")
    (second,) = lab.run(lab.cell)
    assert second.model_copy(update={"seconds": first.seconds}) == first
    assert weights(folder) == kept
    assert list(folder.glob("*.part")) == []


def test_a_cell_leaves_its_recipe_curve_student_logits_and_scores(lab: Lab) -> None:
    context = replace(lab.context, checkpoint_seconds=0)
    record = cell_job(context, lab.cell).run(no_progress)
    folder = lab.folder(lab.cell)
    names = {path.name for path in folder.iterdir()}
    assert names == {"recipe.json", "curve.csv", "student.safetensors", TEST_LOGITS, "scores.json"}
    written = json.loads((folder / "recipe.json").read_text())
    assert written == json.loads(json.dumps(asdict(RECIPE)))
    with (folder / "curve.csv").open(newline="") as file:
        curve = [(int(r["epoch"]), float(r["loss"])) for r in csv.DictReader(file)]
    assert curve == [(point.epoch, point.loss) for point in record.curve]
    assert CellRecord.model_validate_json((folder / "scores.json").read_bytes()) == record
    assert (record.epochs, record.steps, record.budget) == (2, 4, 16)


def test_progress_is_told_cell_by_cell_and_epoch_by_epoch(lab: Lab) -> None:
    cells = [changed(lab.cell, seed=seed) for seed in range(3)]
    lab.run(cells[1])
    steps: list[Step | Message] = []
    records = lab.run(*cells, progress=steps.append)
    told = [replace(step, note="") for step in steps if isinstance(step, Step)]
    epochs = [Step("quick", 1, 2, "epochs"), Step("quick", 2, 2, "epochs")]
    counts = [Step("training", done, 3, "trainings") for done in (1, 2, 3)]
    scoring = [step for step in told if step.unit == "images"]
    assert [step for step in told if step not in scoring] == [
        counts[0], *epochs, counts[1], *epochs, counts[2]
    ]  # fmt: skip
    fidelity = records[-1].scores.fidelity
    assert fidelity is not None
    last = steps[-1]
    assert isinstance(last, Step)
    assert last.note == f"copy_quick_probabilities_16_2: fidelity {fidelity.value:.3f}"


def test_only_the_budgets_images_are_learned_from(lab: Lab) -> None:
    lab.run(lab.cell)
    before = weights(lab.folder(lab.cell))
    for path in (lab.cell.data.images, lab.cell.data.answers):
        assert isinstance(path, Path)
        array = np.load(path)
        array[16:] = array[:4]
        np.save(path, array)
    (lab.folder(lab.cell) / "scores.json").unlink()
    lab.run(lab.cell)
    assert weights(lab.folder(lab.cell)) == before


def test_a_training_that_diverges_leaves_no_scores_and_the_cells_before_it(lab: Lab) -> None:
    wild = changed(lab.cell, recipe=replace(RECIPE, name="wild", rate=1e30))
    with pytest.raises(Diverged, match=r"finite in epoch \d+, step \d+"):
        cell_job(lab.context, wild).run(no_progress)
    (record,) = lab.run(wild, lab.cell)
    assert record.recipe == "quick"
    assert (lab.folder(lab.cell) / "scores.json").exists()
    assert not lab.folder(wild).exists()


@pytest.mark.parametrize(
    ("recipe", "undertrained"),
    [
        # By itself, the recipe has more epochs.
        (replace(recipe_named("recovered-logits", (8, 8, 1)), epochs_given=1), True),
        # Its minutes have room for one epoch.
        (replace(RECIPE, rate=1e-2, epochs=200, minutes=1e-6), True),
        # This one has as many epochs as it says, but learns nothing.
        (replace(RECIPE, rate=1e-9), True),
        (replace(RECIPE, rate=1e-2, epochs=200), False),
    ],
)
def test_a_copy_that_was_cut_short_or_has_not_learned_its_answers_is_undertrained(
    lab: Lab, recipe: Recipe, *, undertrained: bool
) -> None:
    (record,) = lab.run(changed(lab.cell, recipe=recipe))
    assert record.undertrained is undertrained


def test_a_copy_is_cut_to_its_minutes_and_keeps_its_length_when_resumed(lab: Lab) -> None:
    cell = changed(lab.cell, recipe=replace(RECIPE, epochs=7, minutes=1e-6))
    (record,) = lab.run(cell)
    assert (record.epochs, record.recipe_epochs, record.steps) == (1, 7, 2)
    folder = lab.folder(cell)
    (folder / "scores.json").unlink()
    # 1e-6 minutes are three epochs of 16 images.
    (folder / "pace").write_text(repr(1e-6 * 60 / (3.5 * 16)))
    (record,) = lab.run(cell)
    assert (record.epochs, record.recipe_epochs) == (3, 7)


@pytest.mark.parametrize(("epochs", "points"), [(1, 1), (99, 99), (100, 100), (137, 100)])
def test_a_curve_is_thinned_to_a_hundred_points_with_both_ends(
    lab: Lab, epochs: int, points: int
) -> None:
    recipe = replace(RECIPE, epochs=epochs, batch=16)
    (record,) = lab.run(changed(lab.cell, recipe=recipe))
    at = [point.epoch for point in record.curve]
    assert (len(at), at[0], at[-1], record.epochs) == (points, 1, epochs, epochs)
    assert np.diff(at).max(initial=1) <= max(1, 2 * epochs // 100)
    assert at == sorted(set(at))
    lines = (lab.folder(changed(lab.cell, recipe=recipe)) / "curve.csv").read_text().splitlines()
    assert len(lines) == 1 + epochs


# The whole copy in one file.


def scored_again(lab: Lab, cell: Cell, student: Classifier) -> NDArray[np.float32]:
    images = files.read_array(lab.context.test.answered.images)
    return predict(student, images, lab.context.machine, cell.training.attack.recipe.augmentation)


COPIES = {
    "grey": ((8, 8, 1), RECIPE),
    "grey, in units of its logits": (
        (8, 8, 1),
        replace(RECIPE, loss="centred-l2", augmentation=("flip",)),
    ),
    "colour": ((8, 8, 3), RECIPE),
}


@pytest.mark.parametrize(("shape", "recipe"), COPIES.values(), ids=COPIES)
def test_a_students_file_answers_as_its_scores_were_taken(
    tmp_path: Path, shape: tuple[int, int, int], recipe: Recipe
) -> None:
    lab = lab_in(tmp_path, shape)
    cell = changed(lab.cell, recipe=recipe)
    (record,) = lab.run(cell)
    student = build_student("small-cnn", "random", np.zeros((1, *shape), np.uint8), 3, seed=9)
    student.load_state_dict(load_file(lab.folder(cell) / "student.safetensors"))
    found = scored_again(lab, cell, student)
    labels = files.read_array(lab.context.test.labels)
    measured = scores.score_student(
        found, files.read_array(lab.context.test.answered.answers), labels
    )
    for name, score in measured.items():
        assert getattr(record.scores, name) == score


@pytest.mark.parametrize(("shape", "recipe"), COPIES.values(), ids=COPIES)
def test_a_student_that_starts_from_a_copys_file_answers_as_the_copy(
    tmp_path: Path, shape: tuple[int, int, int], recipe: Recipe
) -> None:
    lab = lab_in(tmp_path, shape)
    cell = changed(lab.cell, recipe=recipe)
    (record,) = lab.run(cell)
    file = lab.folder(cell) / "student.safetensors"
    images = files.read_array(cell.data.images)[: cell.training.budget]
    student = build_student("small-cnn", str(file), images, CLASSES, seed=9)
    found = scores.kl_divergence(
        scored_again(lab, cell, student), files.read_array(lab.context.test.answered.answers)
    )
    assert record.scores.kl is not None
    assert found.value == pytest.approx(record.scores.kl.value, rel=1e-5)


def test_neither_labels_nor_answers_of_the_test_set_change_the_choice(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    rounds = (({"augmentation": ("flip",)},),)
    data = training_set(tmp_path / "inputs", "more", 5, 120)
    cell = changed(lab.cell, recipe=replace(RECIPE, rounds=rounds), data=data, budget=120)
    answered = training_set(tmp_path / "planted", "test", 7, 30)
    labels = tmp_path / "planted-labels.npy"
    np.save(labels, (np.arange(30) + 1) % CLASSES)
    planted = Lab(replace(lab.context, test=ScoringSet(answered, labels)), cell)
    one, two = lab.run(cell) + planted.run(cell)
    assert one.selection is not None
    assert two.selection is not None
    assert one.selection.chosen == two.selection.chosen
    losses = [[c.loss for c in made.candidates] for made in (one.selection, two.selection)]
    assert losses[0] == losses[1]
    assert one.scores != two.scores
    assert weights(lab.folder(cell)) == weights(planted.folder(cell))
