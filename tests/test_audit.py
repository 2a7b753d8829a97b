"""The whole path, on a small model of one's own."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from papagaio.auditing.cells import train_copy
from papagaio.auditing.finishing import Trained
from papagaio.auditing.frozen import Cell, CellContext
from papagaio.auditing.opening import open_black_box_of, open_images, remarks
from papagaio.auditing.plan import AuditImages
from papagaio.auditing.run import audit as audit_opened
from papagaio.errors import BadImages, BadSettings, Diverged
from papagaio.executors.here import in_process
from papagaio.images.imageset import ImageSet, SourceNotes
from papagaio.jobs import Task
from papagaio.ledger import Ledger
from papagaio.options import validated
from papagaio.progress import Progress
from papagaio.result import Result, UnansweredRecord, json_schema, read_result
from papagaio.settings import Settings
from papagaio.training.recipe import Recipe
from papagaio.training.recipes import auto_recipe
from papagaio.verdict import verdict_of
from papagaio.vocabulary import Response

CLASSES = 4

BOX = """
import numpy as np

def answer(images):
    with open(LOG, "a") as log:
        log.write(f"{len(images)}\\n")
    matrix = np.random.default_rng(9).normal(0, 0.02, (64, 4))
    logits = (images.reshape(len(images), 64) - 127.5) @ matrix
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return (raised / raised.sum(1, keepdims=True)).astype("float32")
"""

TORCH_BOX = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
"""


def images(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)


def labels_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    matrix = np.random.default_rng(9).normal(0, 0.02, (64, 4))
    logits = (pixels.reshape(len(pixels), 64) - 127.5) @ matrix
    return np.asarray(logits.argmax(1), np.int64)


@pytest.fixture
def own_model(tmp_path: Path) -> dict[str, object]:
    """Settings of an audit of a linear black box, with its files beside them."""
    (tmp_path / "box.py").write_text(f"LOG = {str(tmp_path / 'log')!r}\n{BOX}")
    np.savez(tmp_path / "transfer.npz", images=images(60, 1))
    for name, seed in (("test", 2), ("own", 3)):
        pixels = images(40, seed)
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=labels_of(pixels))
    return {
        "black-box": f"{tmp_path / 'box.py'}:answer",
        "transfer": str(tmp_path / "transfer.npz"),
        "test": str(tmp_path / "test.npz"),
        "own-data": str(tmp_path / "own.npz"),
        "classes": CLASSES,
        "input": "8x8x1",
        "budget": 60,
        "budgets": [20],
        "responses": ["probabilities", "label"],
        "seeds": [0, 1],
        "epochs": 2,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "out": str(tmp_path / "run"),
    }


def settings(values: dict[str, object], **changes: object) -> Settings:
    named = {name.replace("_", "-"): value for name, value in (values | changes).items()}
    return validated(Settings, named)


def audit(given: Settings) -> Result:
    box = open_black_box_of(given)
    return audit_opened(box, open_images(given, box.contract), given)


def sent(values: dict[str, object]) -> int:
    log = Path(str(values["out"])).with_name("log")
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def without_times(result: Result) -> dict[str, object]:
    values = result.model_dump()
    for name in ("seconds", "started", "command"):
        del values[name]
    for row in values["cells"] + values["summary"]:
        del row["seconds"]
    return values


def test_an_audit_counts_every_query_and_its_count_is_the_ledgers(
    own_model: dict[str, object],
) -> None:
    result = audit(settings(own_model))
    queries = result.queries
    assert (queries.budget, queries.spent, queries.scoring, queries.controls) == (60, 60, 40, 100)
    # Two for each of three sets of at most a hundred images.
    assert (queries.canaries, queries.change) == (6, 0)
    assert queries.total == queries.ledger == sent(own_model) == 206
    with Ledger(Path(str(own_model["out"])) / "ledger.sqlite") as ledger:
        (totals,) = ledger.totals()
    assert (totals.answers, totals.canaries, totals.interrupted) == (200, 6, 0)


def test_the_result_holds_every_cell_and_fits_its_published_schema(
    own_model: dict[str, object],
) -> None:
    result = audit(settings(own_model))
    kinds = [(c.kind, c.response, c.budget, c.seed) for c in result.cells]
    copies = [
        ("copy", response, budget, seed)
        for budget in (60, 20)
        for response in ("probabilities", "label")
        for seed in (0, 1)
    ]
    controls = [
        (kind, response, budget, seed)
        for kind, response, budget in (
            ("floor:shuffled", "probabilities", 60),
            ("floor:noise", "probabilities", 60),
            ("ceiling:labels", "label", 40),
            ("ceiling:own-data", "probabilities", 40),
        )
        for seed in (0, 1)
    ]
    assert kinds == copies + controls
    assert [row.seeds for row in result.summary] == [2] * 8
    together = [(one.response, one.budget, one.seeds) for one in result.ensembles]
    assert together == [(*copy[1:3], [0, 1]) for copy in copies[::2]]
    written = json.loads((Path(str(own_model["out"])) / "result.json").read_text())
    Draft202012Validator(json.loads(json_schema())).validate(written)
    assert written["schema"] == 2
    for cell in written["cells"]:
        for figure in filter(None, cell["scores"].values()):
            assert set(figure) == {"value", "low", "high", "n"}


def test_the_schema_in_the_documentation_is_the_packages() -> None:
    published = Path(__file__).parents[1] / "docs" / "result.schema.json"
    assert published.read_text(encoding="utf-8") == json_schema()


def test_a_student_is_distilled_from_each_ensemble_without_a_query(
    own_model: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(own_model, responses=["label"], controls=[], budget=40, distil=True)
    result = audit(given)
    assert [(c.kind, c.budget, c.seed) for c in result.cells] == [
        ("copy", 40, 0),
        ("copy", 40, 1),
        ("copy", 20, 0),
        ("copy", 20, 1),
        ("distilled", 40, 0),
        ("distilled", 20, 0),
    ]
    assert (result.trainings, result.complete, result.queries.total) == (6, True, sent(own_model))
    assert result.unanswered == UnansweredRecord(images=20, near_duplicates=0)
    # All 60 images, in batches of 32: the smaller budget leaves 20 more of them unanswered.
    assert {c.steps // c.epochs for c in result.cells if c.kind == "distilled"} == {2}
    assert [(row.kind, row.seeds) for row in result.summary[2:]] == [("distilled", 1)] * 2
    assert result.queries.spent == 40
    monkeypatch.setattr("papagaio.auditing.distilled.distil", pytest.fail)
    assert without_times(audit(given)) == without_times(result)


def test_run_again_it_asks_and_trains_nothing_and_says_the_same(
    own_model: dict[str, object],
) -> None:
    first = audit(settings(own_model))
    asked = sent(own_model)
    again = audit(settings(own_model))
    assert sent(own_model) == asked
    assert [c.seconds for c in again.cells] == [c.seconds for c in first.cells]
    assert without_times(again) == without_times(first)


def test_a_larger_budget_pays_only_the_difference(own_model: dict[str, object]) -> None:
    audit(settings(own_model, budget=30, controls=[]))
    asked = sent(own_model)
    audit(settings(own_model, budget=60, controls=[]))
    assert sent(own_model) - asked == 30 + 2  # canaries


def test_a_larger_budget_leaves_the_copies_of_smaller_ones(own_model: dict[str, object]) -> None:
    first = audit(settings(own_model, budget=30, controls=[]))
    later = audit(settings(own_model, budget=60, budgets=[30], controls=[]))
    earlier = {cell.id: cell for cell in first.cells if cell.budget == 30}
    assert len(earlier) == 4
    # Seconds are measured, so equal records are the same trainings.
    assert {cell.id: cell for cell in later.cells if cell.budget == 30} == earlier


def test_a_test_set_without_some_class_folders_is_refused(
    own_model: dict[str, object], tmp_path: Path
) -> None:
    for name in ("apple", "bread", "cheese"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "mine" / name / "1.png")
    with pytest.raises(BadImages, match="has 3 class folders, and the black box 4 classes"):
        audit(settings(own_model, test=str(tmp_path / "mine")))
    assert sent(own_model) == 0


def test_a_ledger_can_be_shared_by_runs(own_model: dict[str, object], tmp_path: Path) -> None:
    shared = {"ledger": str(tmp_path / "shared.sqlite"), "controls": []}
    audit(settings(own_model, **shared))
    asked = sent(own_model)
    audit(settings(own_model, **shared, out=str(tmp_path / "other")))
    assert sent(own_model) == asked


def test_the_test_set_reaches_scoring_only(own_model: dict[str, object], tmp_path: Path) -> None:
    quick = {"budgets": [], "responses": ["probabilities"], "seeds": [0]}
    first = audit(settings(own_model, **quick, unchecked=True))
    pixels = images(40, 2)
    np.savez(tmp_path / "planted.npz", images=pixels, labels=(labels_of(pixels) + 1) % CLASSES)
    planted = audit(
        settings(
            own_model,
            **quick,
            test=str(tmp_path / "planted.npz"),
            unchecked=True,
            out=str(tmp_path / "other"),
        )
    )
    assert planted.black_box.accuracy.value == 0
    for one, two in zip(first.cells, planted.cells, strict=True):
        weights = [
            (Path(str(out)) / "cells" / cell.id / "student.safetensors").read_bytes()
            for out, cell in ((own_model["out"], one), (tmp_path / "other", two))
        ]
        assert weights[0] == weights[1]


def test_a_students_file_holds_what_the_scores_were_taken_on(
    own_model: dict[str, object],
) -> None:
    result = audit(settings(own_model, controls=[], budgets=[], responses=["label"]))
    cell = Path(str(own_model["out"])) / "cells" / result.cells[0].id
    assert {p.name for p in cell.iterdir()} == {
        "recipe.json",
        "curve.csv",
        "student.safetensors",
        "test-logits.npy",
        "scores.json",
    }
    assert len((cell / "curve.csv").read_text().splitlines()) == 1 + result.cells[0].epochs


def test_a_torch_module_with_its_weights_is_a_black_box(
    own_model: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "torch_box.py").write_text(TORCH_BOX)
    matrix = np.ascontiguousarray(np.random.default_rng(9).normal(0, 0.02, (64, 4)).T * 255)
    weights = tmp_path / "weights.safetensors"
    save_file(
        {"1.weight": matrix.astype(np.float32), "1.bias": (-matrix.sum(1) / 2).astype(np.float32)},
        weights,
    )
    values = own_model | {
        "black-box": f"{tmp_path / 'torch_box.py'}:build",
        "weights": str(weights),
        "controls": [],
    }
    result = audit(settings(values))
    assert result.black_box.accuracy.value == 1
    assert result.black_box.identity.startswith("weights-sha256:")


def test_the_price_is_that_of_the_copies_own_queries(own_model: dict[str, object]) -> None:
    quick = {"controls": [], "budgets": [], "responses": ["label"], "seeds": [0]}
    priced = {"price-per-1000": 2.5, "authorised-by": "me, 1"}
    result = audit(settings(own_model, **quick, **priced))
    assert result.queries.price == pytest.approx(60 * 2.5 / 1000)
    assert result.authorised_by == "me, 1"
    assert read_result(Path(str(own_model["out"])) / "result.json") == result


def test_sets_without_own_data_have_no_ceilings(own_model: dict[str, object]) -> None:
    values = {k: v for k, v in own_model.items() if k != "own-data"}
    result = audit(settings(values, budgets=[], responses=["label"], seeds=[0]))
    assert [c.kind for c in result.cells] == ["copy", "floor:shuffled", "floor:noise"]
    assert AuditImages(*[ImageSet.of("x", images(1, 0))] * 2).own is None


def test_a_planted_near_duplicate_is_reported(own_model: dict[str, object], tmp_path: Path) -> None:
    stolen = np.concatenate([images(59, 1), images(40, 2)[:1]])
    np.savez(tmp_path / "transfer.npz", images=stolen)
    quick = {"controls": [], "budgets": [], "responses": ["label"], "seeds": [0]}
    assert audit(settings(own_model, **quick)).test.near_duplicates == 1


def test_what_reading_the_images_showed_is_said() -> None:
    notes = SourceNotes(90, {".heic": 2, ".txt": 1}, "name", ("a.jpg",), repeated=3, rotated=4)
    plain = ImageSet.of("photos", images(2, 0), np.array([0, 1]), ("cat", "dog"))
    assert remarks(plain) == []
    assert remarks(replace(plain, notes=notes)) == [
        "photos: classes ordered by name: cat, dog",
        "photos: skipped files that are not images: 2 .heic, 1 .txt",
        "photos: replaced 1 broken images: a.jpg",
        "photos: replaced 3 repeated images",
        "photos: 4 images carry an EXIF rotation (see the option exif)",
    ]


def test_a_label_only_black_box_is_audited_from_its_labels(
    own_model: dict[str, object], tmp_path: Path
) -> None:
    label_box = BOX.replace(
        "return (raised / raised.sum(1, keepdims=True)).astype",
        "return np.eye(4)[raised.argmax(1)].astype",
    )
    (tmp_path / "box.py").write_text(f"LOG = {str(tmp_path / 'log')!r}\n{label_box}")
    values = {k: v for k, v in own_model.items() if k != "responses"}
    result = audit(settings(values, shows="label", budgets=[], seeds=[0], controls=["noise"]))
    assert result.black_box.response == "label"
    assert {(cell.response, cell.recipe) for cell in result.cells} == {("label", "auto")}
    assert {cell.scores.kl for cell in result.cells} == {None}
    # Declared to show probabilities, it would be taken at its word: one-hot rows sum to 1.
    with pytest.raises(BadSettings, match="responses probabilities: cannot be derived"):
        audit(settings(values, shows="label", responses=["probabilities"]))


def test_a_training_that_diverges_is_recorded_and_the_others_are_there(
    own_model: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wild(response: Response, *args: Any) -> Recipe:  # noqa: ANN401  # as `auto_recipe`
        recipe = auto_recipe(response, *args)
        return replace(recipe, rate=1e30) if response == "label" else recipe

    monkeypatch.setattr("papagaio.auditing.plan.auto_recipe", wild)
    result = audit(settings(own_model, budgets=[], seeds=[0], controls=[]))
    assert [cell.response for cell in result.cells] == ["probabilities"]
    assert [one.id.split("_")[2] for one in result.diverged] == ["label"]
    assert (result.complete, result.trainings) == (False, 2)


def test_a_student_whose_copies_diverged_has_ended_too(
    own_model: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(context: CellContext, cell: Cell, folder: Path, progress: Progress) -> Trained:
        if cell.training.seed == 1:
            raise Diverged("the loss is nan")
        return train_copy(context, cell, folder, progress)

    monkeypatch.setattr("papagaio.auditing.cells.train_copy", train)
    quick = {"budget": 20, "budgets": [], "controls": [], "responses": ["label"]}
    result = audit(settings(own_model, **quick, distil=True))
    assert [cell.seed for cell in result.cells] == [0]
    copy, student = result.diverged
    assert (copy.id.split("_")[0], student.id.split("_")[0]) == ("copy", "distilled")
    assert student.reason.startswith("fewer than two of its copies have scores")
    assert (result.complete, result.trainings) == (False, 3)
    assert "not ended" not in verdict_of(result).reason


@pytest.mark.parametrize(
    ("executor", "through"), [("slurm", ["copy", "distilled"]), ("ray", ["copy"])]
)
def test_students_learn_where_the_files_of_their_copies_are(
    own_model: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    through: list[str],
) -> None:
    seen: list[str] = []

    def cluster(tasks: Sequence[Task], progress: Progress) -> Iterator[tuple[str, Any]]:
        seen.extend(task.id.split("_")[0] for task in tasks)
        return in_process(tasks, progress)

    monkeypatch.setattr("papagaio.auditing.run.executor_for", lambda *_, **__: cluster)
    quick = {"budget": 20, "budgets": [], "controls": [], "responses": ["label"]}
    audit(settings(own_model, **quick, distil=True, executor=executor))
    assert [*dict.fromkeys(seen)] == through


def test_a_selection_is_made_once_and_kept_in_the_result(
    own_model: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def choosy(*args: Any) -> Recipe:  # noqa: ANN401  # as `auto_recipe`
        return replace(auto_recipe(*args), rounds=(({"augmentation": ("flip",)},),))

    monkeypatch.setattr("papagaio.auditing.plan.auto_recipe", choosy)
    np.savez(str(own_model["transfer"]), images=images(120, 1))
    quick = {"budget": 120, "budgets": [], "seeds": [0], "controls": []}
    given = settings(own_model, **quick, responses=["probabilities"])
    (cell,) = audit(given).cells
    assert cell.selection is not None
    # The matrix of the black box is no mirror image of itself.
    assert (cell.augmentation, cell.selection.chosen) == ([], [])
    assert [one.augmentation for one in cell.selection.candidates] == [[], ["flip"]]
    assert cell.selection.held_out == 60
    folder = given.out / "cells" / cell.id
    assert json.loads((folder / "recipe.json").read_text())["augmentation"] == []
    # Interrupted after the choice, it is not chosen again.
    (folder / "scores.json").unlink()
    monkeypatch.setattr("papagaio.training.selection.train", pytest.fail)
    assert audit(given).cells[0].selection == cell.selection
