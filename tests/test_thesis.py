import csv
import io
import json
import signal
import subprocess
import time
import tomllib
from dataclasses import asdict, replace
from functools import reduce
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import COMMAND, Papagaio
from PIL import Image
from scipy.special import log_softmax, softmax
from test_report import HOSTILE, Page
from torch import nn

from papagaio.errors import BadSettings
from papagaio.networks.headed import Design, Head, build_headed
from papagaio.networks.named import build_student
from papagaio.progress import Progress, Step
from papagaio.scores import Figure
from papagaio.training.loop import Batch, Epoch, infer, optimisers_for, training_step
from papagaio.training.losses import targets_of
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio_thesis.claims import claims
from papagaio_thesis.claims_of_studies import crossing
from papagaio_thesis.digits import KINDS
from papagaio_thesis.inputs import Inputs, Weights, teacher_phases
from papagaio_thesis.options import Options, read_options
from papagaio_thesis.page import render, write_pages
from papagaio_thesis.plan import STUDIES, Planner
from papagaio_thesis.published import published
from papagaio_thesis.reach import reach
from papagaio_thesis.records import (
    DigitRecord,
    EpochRecord,
    TeacherRecord,
    ThesisResult,
    TrialRecord,
    read_thesis,
)
from papagaio_thesis.run import Reproduction
from papagaio_thesis.superclasses import GROUPS, rows_of
from papagaio_thesis.tables import mean_accuracy, tables, to_csv, to_markdown
from papagaio_thesis.trials import Ground, Material, Part, Trial, _look, measured, run_trial
from papagaio_thesis.verdicts import ahead, judged

TINY = """
[images]
large = 24
small = 16
owned = 20
evaluated = 12
probed = 8
[teacher]
weights = "random"
first_epochs = 1
second_epochs = 1
[students]
vgg16 = "random"
mobilenet_v2 = "random"
epochs = 4
marks = [1, 2, 3, 4]
[studies]
longer = [5]
superclass_images = 3
digit_seeds = 1
"""


# equations


def test_equation_1_adds_the_true_labels_with_weight_alpha() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 8, 8, 1), np.uint8)
    teacher = np.asarray(softmax(random.normal(0, 3, (6, 4)), axis=1), np.float32)
    truth = np.array([0, 1, 2, 3, 0, 1])
    recipe = Recipe("equation-1", temperature=4, alpha=0.3)
    student = build_student("small-cnn", "random", images, 4, seed=0)
    batch = Batch(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(targets_of("cross-entropy", 4, 0, teacher)),
        torch.from_numpy(truth),
    )
    optimisers = optimisers_for(student, recipe)
    loss, logits = training_step(student, optimisers, batch, recipe, Machine())
    exact = logits.numpy().astype(float)
    soft = -(softmax(np.log(teacher) / 4, axis=1) * log_softmax(exact / 4, axis=1)).sum(1)
    hard = -log_softmax(exact, axis=1)[np.arange(6), truth]
    assert loss.item() == pytest.approx((soft + 0.3 * hard).mean(), rel=1e-5)


def test_what_is_measured_of_logits_is_what_scipy_finds() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (30, 4)).astype(np.float32)
    labels, named = np.arange(30) % 4, (np.arange(30) // 2) % 4
    losses = -log_softmax(logits.astype(float), axis=1)[np.arange(30), labels]
    found = measured(logits, labels, named, "test", 7)
    assert found.loss == pytest.approx(losses.mean())
    assert found.median_loss == pytest.approx(np.median(losses))
    assert found.worst_ten == pytest.approx(np.sort(losses)[-10:].sum() / losses.sum())
    assert found.largest_logit == pytest.approx(np.abs(logits).max())
    assert found.accuracy == pytest.approx((logits.argmax(1) == labels).mean())
    assert found.agreement == pytest.approx((logits.argmax(1) == named).mean())
    right = (logits.argmax(1) == labels)[labels == 2]
    assert found.per_class[2] == pytest.approx(right.mean())
    assert (found.epoch, found.part, found.images) == (7, "test", 30)


def test_one_image_can_carry_a_loss_of_millions() -> None:
    logits = np.zeros((100, 4), np.float32)
    logits[:, 0] = 5
    logits[7, 1] = 1e9
    found = measured(logits, np.zeros(100, np.int64), np.zeros(100, np.int64), "test", 1)
    assert found.loss == pytest.approx(1e7, rel=1e-3)
    assert found.accuracy == 0.99
    assert found.worst_ten > 0.999
    assert found.median_loss < 0.1


# the study file


def leaves(values: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [
        leaf
        for key, value in values.items()
        for leaf in (leaves(value, (*above, key)) if isinstance(value, dict) else [(*above, key)])
    ]


STUDY = tomllib.loads((resources("papagaio_thesis") / "study.toml").read_text(encoding="utf-8"))
OTHER: dict[type, Any] = {int: 3, float: 0.25, list: [7]}
OTHER_WORDS = {
    "students.marks": [7, 100],
    "images.normalisation": "tf",
    "head.pooling": "flatten",
    "teacher.weights": "random",
    "students.vgg16": "imagenet",
    "students.mobilenet_v2": "imagenet",
    "studies.similar": ["timm/resnet18"],
}
# These decide what is read and not what is trained: the tiny run at the end shows them.
READ = {
    *("images.large", "images.small", "images.owned", "images.evaluated", "teacher.weights"),
    *("studies.superclass_images", "studies.digit_seeds"),
}


def fake_inputs() -> Inputs:
    material = Material("large", Path("i"), Path("a"), Path("t"), 5000, "digest")
    teacher = TeacherRecord(
        name="t", stand_in=False, parameters=1, identity="i", measured=[], temperature_errors={}
    )
    small, own = replace(material, name="small"), replace(material, name="own")
    return Inputs(teacher, material, small, own, (), {"plants": replace(material, name="plants")})


def everything(options: Options) -> list[Any]:
    """All that the options decide."""
    planner = Planner(options, fake_inputs(), Weights(), lambda _: Machine(), (1, 2, 3, 4), seeds=1)
    ground = Ground(Path("trials"), (), options.images.probed)
    trials: list[Trial] = [t for n in (1, 2, 3, 4) for t in planner.experiment(n)]
    trials += [trial for study in STUDIES for trial in planner.study(study)]
    return [options.design, teacher_phases(options), [ground.id_of(trial) for trial in trials]]


@pytest.mark.parametrize("leaf", [leaf for leaf in leaves(STUDY) if ".".join(leaf) not in READ])
def test_every_option_of_the_study_file_reaches_the_run(
    tmp_path: Path, leaf: tuple[str, ...]
) -> None:
    name = ".".join(leaf)
    before = reduce(lambda table, key: table[key], leaf, STUDY)
    value = OTHER_WORDS.get(name, OTHER[type(before)] if name not in OTHER_WORDS else None)
    own = tmp_path / "own.toml"
    key = leaf[1]
    text = f"[{leaf[0]}]\n{key} = {json.dumps(value)}\n"
    if name == "students.epochs":
        text += f"marks = [1, {value}]\n"
    if name == "studies.longer":
        text = text.replace("7", "700")
    own.write_text(text)
    assert everything(read_options(own=own)) != everything(read_options())


def test_every_option_has_its_reason_or_its_place() -> None:
    text = (resources("papagaio_thesis") / "study.toml").read_text(encoding="utf-8")
    silent = [line for line in text.splitlines() if "Silent" in line and "=" in line]
    assert len(silent) == 12
    assert all(len(line.partition("#")[2]) > 20 for line in silent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[images]\nsides = 3\n", "images.sides"),
        ("[images]\nside = 0\n", "images.side"),
        ("[students]\nvgg16 = 'zero'\n", "students.vgg16"),
        ("[students]\nepochs = 5\n", "the last mark is 100, and must be 5"),
        ("[studies]\nlonger = [50]\n", "must rise from above 100 epochs"),
        ("[studies]\nlonger = [300, 200]\n", "must rise from above 100 epochs"),
        ("[images.side]\npixels = 3\n", "images.side"),
        ("images = [", "not a readable TOML"),
    ],
)
def test_a_bad_option_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(BadSettings, match=message):
        read_options(own=own)


# plan


def test_the_groups_are_made_of_whole_superclasses_and_hold_every_class_once() -> None:
    assert sorted(c for group in GROUPS.values() for c in group) == list(range(100))
    # Krizhevsky's superclass of each class, in the order of CIFAR-100's own files.
    words = (
        "4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1 10 12 14 16"
        " 9 11 5 5 19 8 8 15 13 14 17 18 10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10"
        " 0 1 16 12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"
    )
    superclasses = np.array(words.split(), int)
    found = {name: set(superclasses[list(group)]) for name, group in GROUPS.items()}
    # No superclass is in two groups.
    assert sorted(one for several in found.values() for one in several) == list(range(20))
    # Aquatic mammals and fish; both kinds of vehicles; people.
    assert found["fish and sea mammals"] == {0, 1}
    assert found["vehicles"] == {18, 19}
    assert found["people"] == {14}


@pytest.mark.parametrize(
    ("group", "of_each", "count", "counts"),
    [("people", 10, 23, {4, 5}), ("plants", 500, 800, {53, 54}), ("plants", 500, 750, {50})],
)
def test_a_group_has_every_class_as_often_as_the_others_or_once_less(
    group: str, of_each: int, count: int, counts: set[int]
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), of_each))
    rows = rows_of(GROUPS[group], labels, count)
    found = np.bincount(labels[rows], minlength=100)
    assert len(set(rows)) == found.sum() == count
    assert set(np.flatnonzero(found)) == set(GROUPS[group])
    assert set(found[found > 0]) == counts


@pytest.mark.parametrize(
    ("experiments", "material"), [((1, 2, 3, 4), "large"), ((2, 4), "small"), ((), "large")]
)
def test_an_explosion_is_looked_for_with_one_thing_changed_at_a_time(
    experiments: tuple[int, ...], material: str
) -> None:
    options, inputs = read_options(), fake_inputs()
    planner = Planner(options, inputs, Weights(), lambda _: Machine(), experiments, seeds=1)
    (thesis,) = planner.experiment(1 if material == "large" else 2)
    trials = {trial.variant: trial for trial in planner.study("explosion")}
    assert {trial.material.name for trial in trials.values()} == {material}

    def changed(variant: str) -> list[str]:
        after = asdict(replace(trials[variant], study=thesis.study, variant=thesis.variant))
        before, after = flat(asdict(thesis)), flat(after)
        return sorted(key for key in before if before[key] != after[key] and key != "recipe.name")

    assert changed("clipped") == ["recipe.clip"]
    assert changed("decayed") == ["recipe.decay", "recipe.optimiser"]
    assert changed("normalised") == ["design.body"]
    assert changed("caffe colours") == ["design.form"]


def flat(tree: dict[str, Any], stem: str = "") -> dict[str, Any]:
    """Keys joined with dots."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{stem}{key}.") if isinstance(value, dict) else {stem + key: value}
    return found


def test_every_study_trains_what_its_claim_rests_on() -> None:
    planner = Planner(
        read_options(), fake_inputs(), Weights(), lambda _: Machine(), (2, 4), seeds=3
    )
    vgg16, mobilenet = "torchvision/vgg16", "torchvision/mobilenet_v2"
    experiments = {n: planner.experiment(n) for n in (1, 2, 3, 4)}
    assert {
        n: {(t.design.body, t.material.name, t.recipe.name) for t in trials}
        for n, trials in experiments.items()
    } == {
        1: {(vgg16, "large", "thesis")},
        2: {(vgg16, "small", "thesis")},
        3: {(mobilenet, "large", "thesis")},
        4: {(mobilenet, "small", "thesis")},
    }
    assert all([t.seed for t in trials] == [0, 1, 2] for trials in experiments.values())

    # Only beside the experiments that are wanted, and seed by seed.
    beyond = planner.study("beyond")
    assert [(t.study, t.variant, t.seed) for t in beyond] == [
        (f"experiment {n}", "recovered-logits", seed) for n in (2, 4) for seed in (0, 1, 2)
    ]
    assert {(t.recipe.loss, t.recipe.augmentation) for t in beyond} == {
        ("centred-l2", ("crop", "flip"))
    }
    assert [(t.design.body, t.material.name) for t in planner.study("in-scope")] == [
        (vgg16, "own"),
        (mobilenet, "own"),
    ]
    assert {(t.recipe.alpha, t.recipe.temperature) for t in planner.study("in-scope")} == {(0.1, 4)}
    (longer,) = planner.study("longer")
    assert (longer.design.body, longer.material.name) == (mobilenet, "small")
    assert (longer.recipe.epochs, longer.marks) == (400, (25, 50, 75, 100, 200, 400))
    assert [(t.variant, t.material.name) for t in planner.study("superclasses")] == [
        ("plants", "plants")
    ]
    similar = planner.study("similar")
    assert [t.design.body for t in similar] == [vgg16, mobilenet, "timm/resnet26", "timm/resnet10t"]
    assert {(t.initial, t.material.name, t.recipe.name) for t in similar} == {
        ("random", "large", "thesis")
    }
    warm = planner.study("temperature")
    # Temperature 1 is experiment 4 itself.
    assert [(t.recipe.loss, t.recipe.temperature) for t in warm] == [
        ("cross-entropy", 2),
        ("cross-entropy", 4),
        ("cross-entropy", 8),
        ("centred-l2", 1),
    ]
    assert {(t.design.body, t.material.name) for t in warm} == {(mobilenet, "small")}
    assert planner.study("taxonomy") == []


@pytest.mark.parametrize(
    ("students", "stand_in", "starts"),
    [
        (
            "",
            None,
            [
                ("vgg16", "imagenet", "small", "library"),
                ("mobilenet_v2", "imagenet", "small", "library"),
            ],
        ),
        # A stand-in is named where VGG16's weights are not to be had.
        ("", Path("stand-in"), [("mobilenet_v2", "imagenet", "small", "library")]),
        (
            "[students]\nvgg16 = 'imagenet'\nmobilenet_v2 = 'imagenet'\n",
            Path("stand-in"),
            [("vgg16", "random", "small", "random"), ("mobilenet_v2", "random", "small", "random")],
        ),
    ],
)
def test_the_other_start_is_tried_where_its_weights_are_to_be_had(
    tmp_path: Path, students: str, stand_in: Path | None, starts: list[tuple[str, ...]]
) -> None:
    (tmp_path / "own.toml").write_text(students)
    options, weights = read_options(own=tmp_path / "own.toml"), Weights(None, stand_in)
    # Whichever experiments are wanted.
    planner = Planner(options, fake_inputs(), weights, lambda _: Machine(), (1,), seeds=3)
    assert [
        (t.design.body.rpartition("/")[2], t.initial, t.material.name, t.weights)
        for t in planner.study("start")
    ] == starts


# reach


class Linear(nn.Module):
    """Two logits, the first by far the larger: weights times levels."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = (images * self.weights).sum((1, 2, 3))
        return torch.stack([first, 0 * first], 1)


def test_reach_is_a_linear_networks_largest_logit_of_any_image() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 4, 4)).astype(np.float32)
    images = rng.integers(0, 256, (5, 4, 4, 3), np.uint8)
    before = images.copy()
    network = Linear(torch.from_numpy(weights))
    found = reach(network, images, Machine())
    # Each logit grows in the direction that it has: one of the two ends of what bytes allow.
    ends = 255 * weights.clip(min=0).sum(), -255 * weights.clip(max=0).sum()
    logits = np.einsum("nhwc,chw->n", images.astype(np.float64), weights)
    expected = max(ends[0] if logit > 0 else ends[1] for logit in logits)
    assert found == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(images, before)
    assert network.weights.grad is None


def test_reach_begins_with_the_images_themselves() -> None:
    images = np.full((1, 4, 4, 3), 255, np.uint8)
    assert reach(Linear(torch.full((3, 4, 4), -1.0)), images, Machine()) == 255 * 48


def test_reach_is_the_same_whatever_the_machines_precision() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    student = build_student("small-cnn", "random", images, 4, seed=0)
    exact, coarse = Machine(), Machine(precision="bfloat16")
    # Of such a network the precision would show.
    assert not np.array_equal(infer(student, images, exact), infer(student, images, coarse))
    assert reach(student, images, exact) == reach(student, images, coarse)


# tables, figure, claims, from a stored result


def test_the_published_numbers_are_the_thesiss() -> None:
    values = published()
    assert len(values) == 44
    by = {(v.experiment, v.part, v.metric, v.epoch): v.value for v in values}
    assert by[0, "test", "accuracy", None] == 0.81
    assert by[1, "train", "loss", 100] == 1.08e8
    assert by[1, "test", "loss", 75] == 142e3
    assert by[2, "test", "loss", 100] == 21.17
    assert by[3, "test", "accuracy", 100] == 0.62
    assert by[4, "train", "accuracy", 100] == 0.34


def test_tables_put_printed_and_measured_numbers_side_by_side(stored: ThesisResult) -> None:
    table = next(t for t in tables(stored) if t.number == 5)
    row = next(r for r in table.rows if (r.thesis.part, r.thesis.metric) == ("test", "accuracy"))
    (trial,) = [t for t in stored.trials if (t.study, t.variant) == ("experiment 4", "thesis")]
    assert row.measured is not None
    assert row.measured.value == trial.at("test").accuracy
    assert row.measured.low < row.measured.value < row.measured.high
    assert row.difference == pytest.approx(row.measured.value - 0.34)


def test_a_csv_holds_each_number_in_its_own_column(stored: ThesisResult) -> None:
    table = next(t for t in tables(stored) if t.number == 5)
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [(line["part"], line["metric"]) for line in lines] == [
        (part, metric) for part in ("train", "test") for metric in ("accuracy", "loss")
    ]
    for row, line in zip(table.rows, lines, strict=True):
        assert row.measured is not None
        assert row.beyond is not None
        assert row.in_scope is not None
        assert line["where"] == "Table 5"
        assert (line["thesis_epoch"], line["epoch"]) == ("100", "2")
        assert int(line["n"]) == row.measured.n
        assert {name: float(line[name]) for name in ("thesis", "measured", "difference")} == {
            "thesis": row.thesis.value,
            "measured": row.measured.value,
            "difference": row.measured.value - row.thesis.value,
        }
        assert float(line["recovered_logits"]) == row.beyond.value
        assert float(line["in_scope"]) == row.in_scope.value
        # One seed of a loss has no interval.
        ends = [row.measured.low, row.measured.high] if line["metric"] == "accuracy" else ["", ""]
        assert [line["low"], line["high"]] == [str(end) for end in ends]


def test_what_comes_from_outside_is_escaped(stored: ThesisResult) -> None:
    assert stored.teacher is not None
    outside = {"variant": HOSTILE, "body": HOSTILE, "initial": HOSTILE, "recipe": HOSTILE}
    hostile = stored.model_copy(
        update={
            "command": HOSTILE,
            "diverged": [HOSTILE],
            "machine": stored.machine.model_copy(update={"cpu": HOSTILE}),
            "teacher": stored.teacher.model_copy(update={"name": HOSTILE}),
            "trials": [
                t.model_copy(update=outside) if t.study in ("superclasses", "explosion") else t
                for t in stored.trials
            ],
            "digits": [d.model_copy(update={"recipe": HOSTILE}) for d in stored.digits],
        }
    )
    text = render(hostile, "thesis.html.j2")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    page = Page(text)
    assert page.open == []
    assert "onerror" not in page.attributes
    assert all(link.startswith(("data:", "#")) for link in page.links)


def test_every_table_says_what_is_small_and_who_stands_in(stored: ThesisResult) -> None:
    for table in tables(stored):
        assert "SMALL SCALE" in table.note
        assert "STAND-IN" in table.note
        assert table.note in to_markdown(table)
    page = render(stored, "thesis.html.j2")
    assert page.count("SMALL SCALE") == 5
    assert page.count("STAND-IN") == 5


def test_a_teacher_that_was_taught_for_less_is_small_scale_too(
    tmp_path: Path, stored: ThesisResult
) -> None:
    assert stored.teacher is not None
    (tmp_path / "own.toml").write_text("[teacher]\nsecond_epochs = 2")
    own = stored.teacher.model_copy(update={"stand_in": False})
    changes = {"options": read_options(own=tmp_path / "own.toml"), "teacher": own}
    note = tables(stored.model_copy(update=changes))[0].note
    assert "the teacher from 50,000 images in 10 and 2 epochs" in note
    full = stored.model_copy(update={"options": read_options()})
    assert "SMALL SCALE" not in tables(full)[0].note


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([True, True], "holds"),
        ([True, None], "holds in part"),
        ([True, False], "holds in part"),
        ([False, None], "does not hold"),
        ([None, None], "not decided here"),
    ],
)
def test_what_cannot_be_told_neither_shows_nor_refutes(
    verdicts: list[bool | None], expected: str
) -> None:
    assert judged(verdicts) == expected
    assert judged(verdicts[::-1]) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.6, 0.7, True), (0.5, 0.7, None), (0.4, 0.6, None), (0.1, 0.5, None), (0.1, 0.3, False)],
)
def test_one_is_ahead_of_another_where_intervals_part(
    low: float, high: float, *, expected: bool | None
) -> None:
    other = Figure(0.45, 0.4, 0.5, 100)
    assert ahead(Figure((low + high) / 2, low, high, 100), other) is expected


def test_what_was_not_run_says_so(stored: ThesisResult) -> None:
    nothing = stored.model_copy(update={"trials": [], "digits": [], "teacher": None})
    assert all(r.measured is None for table in tables(nothing) for r in table.rows)
    assert "not run" in to_markdown(tables(nothing)[1])
    assert {claim.verdict for claim in claims(nothing)} == {"not decided here"}
    assert "No training has ended yet" in render(nothing, "thesis.html.j2")


def test_several_seeds_give_a_mean_with_the_spread_of_seeds(stored: ThesisResult) -> None:
    trials = [t for t in stored.trials if (t.study, t.variant) == ("experiment 4", "thesis")]
    low, high = trials[0], trials[0].model_copy(deep=True)
    for one, accuracy in ((low, 0.4), (high, 0.5)):
        looks = [m.model_copy(update={"accuracy": accuracy}) for m in one.measured]
        trials.append(one.model_copy(update={"measured": looks}))
    mean = mean_accuracy(trials[1:])
    assert isinstance(mean, Figure)
    assert mean.value == pytest.approx(0.45)
    # Student's t with one degree of freedom: the seeds alone reach 0.05 x 12.7.
    assert mean.high - mean.value > 0.6


def test_the_pages_are_written_and_well_formed(tmp_path: Path, stored: ThesisResult) -> None:
    write_pages(stored, tmp_path)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"table-{n}.csv" for n in range(1, 6)
    }
    for figure in (tmp_path / "figures").iterdir():
        root = ET.parse(figure).getroot()  # noqa: S314  # our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert read_thesis(tmp_path / "thesis.json") == stored
    page = (tmp_path / "thesis.html").read_text()
    assert page.count("<table") == 6
    for number in range(1, 9):
        assert f'id="C{number}"' in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_round_letters_teach_round_digits_where_they_do() -> None:
    def record(letters: str, seed: int, on_round: float, on_angular: float) -> DigitRecord:
        per_digit = [on_angular if d in (1, 4, 7) else on_round for d in range(10)]
        return DigitRecord(
            letters=letters,
            recipe="r",
            images=5,
            seed=seed,
            accuracy=0.5,
            per_digit=per_digit,
        )

    digits = [
        record(letters, seed, *by)
        for seed, shift in enumerate((0.0, 0.01, 0.02))
        for letters, by in (("round", (0.9 + shift, 0.5)), ("angular", (0.7, 0.8 + shift)))
    ]
    on_round, on_angular = crossing(digits)["r"]
    assert on_round.value == pytest.approx(0.21)
    assert on_angular.value == pytest.approx(0.31)
    assert on_round.low > 0.15
    assert set(KINDS) == {"round", "angular", "all"}


def verdict(result: ThesisResult, name: str) -> tuple[str, str]:
    (claim,) = [claim for claim in claims(result) if claim.name == name]
    return claim.verdict, claim.text


def changed(trial: TrialRecord, **changes: object) -> TrialRecord:
    """A trial with other figures in all that was measured of it."""
    looks = [m.model_copy(update={"images": 10_000, **changes}) for m in trial.measured]
    return trial.model_copy(update={"measured": looks})


def experiment(stored: ThesisResult, number: int, accuracy: float, **more: object) -> TrialRecord:
    (trial,) = [
        t for t in stored.trials if (t.study, t.variant) == (f"experiment {number}", "thesis")
    ]
    return changed(trial, accuracy=accuracy).model_copy(update=more)


def found(stored: ThesisResult, *trials: TrialRecord) -> ThesisResult:
    return stored.model_copy(update={"trials": list(trials)})


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [((0.5, 0.3), "holds"), ((0.5, 0.1), "holds in part"), ((0.1, 0.09), "does not hold")],
)
def test_c1_asks_every_student_to_be_better_than_chance(
    stored: ThesisResult, accuracies: tuple[float, float], expected: str
) -> None:
    trials = [experiment(stored, n, a) for n, a in zip((1, 4), accuracies, strict=True)]
    assert verdict(found(stored, *trials), "C1")[0] == expected


def exploding(trial: TrialRecord, accuracy: float, loss: float = 1e6) -> TrialRecord:
    """Nine calm epochs, and one with a loss of a million."""
    calm = trial.curve[0].model_copy(update={"probe_accuracy": 0.5, "probe_loss": 1.0})
    last = calm.model_copy(update={"probe_loss": loss, "probe_accuracy": accuracy})
    return trial.model_copy(update={"curve": [*[calm] * 9, last]})


def test_c2_finds_an_exploded_loss_and_what_removes_it(stored: ThesisResult) -> None:
    first = experiment(stored, 1, 0.5)
    cured = exploding(first, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = found(stored, exploding(first, 0.5), cured)
    says, text = verdict(result, "C2")
    assert says == "holds"
    assert "What removes it: calm." in text
    assert "after epoch 10 of 10" in text
    assert verdict(found(stored, exploding(first, 0.2), cured), "C2")[0] == "does not hold"
    # Where none exploded, the one that came nearest is told.
    calm = [exploding(first, 0.5, 2.0), exploding(experiment(stored, 2, 0.5), 0.5, 3.0)]
    says, text = verdict(found(stored, *calm), "C2")
    assert says == "not decided here"
    assert "2 trainings" in text
    assert text.count("the largest loss is") == 1
    assert "experiment 2, thesis: the largest loss is 3.00" in text


def test_c2_takes_no_cure_for_another_experiment_and_no_other_architecture(
    stored: ThesisResult,
) -> None:
    first, second = experiment(stored, 1, 0.5), experiment(stored, 2, 0.5)
    cured = exploding(first, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = found(stored, exploding(first, 0.5, 1.0), exploding(second, 0.5), cured)
    assert "What removes it: not known, for nothing was tried on it." in verdict(result, "C2")[1]
    worse = exploding(second, 0.5).model_copy(update={"study": "explosion", "variant": "wild"})
    result = found(stored, exploding(second, 0.5), worse)
    assert "What removes it: nothing that was tried." in verdict(result, "C2")[1]
    mobile = found(stored, exploding(experiment(stored, 4, 0.5), 0.5))
    assert verdict(mobile, "C2")[0] == "not decided here"


@pytest.mark.parametrize(("loss", "expected"), [(1.08e8, "holds"), (2.1, "not decided here")])
def test_c2_sees_what_a_whole_part_shows_and_the_first_images_do_not(
    stored: ThesisResult, loss: float, expected: str
) -> None:
    trial = experiment(stored, 1, 0.5)
    looks = [
        m.model_copy(update={"accuracy": 0.5, "loss": loss if m.part == "train" else 0.9})
        for m in trial.measured
    ]
    says, text = verdict(found(stored, trial.model_copy(update={"measured": looks})), "C2")
    assert says == expected
    assert ("the largest loss is 1.08e+08 on the train part" in text) is (expected == "holds")


def test_c2_takes_the_cure_that_was_tried_on_what_exploded(stored: ThesisResult) -> None:
    second = experiment(stored, 2, 0.5)
    cured = exploding(second, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = found(stored, exploding(second, 0.5), cured)
    assert "What removes it: calm." in verdict(result, "C2")[1]


def test_c2_says_how_far_logits_could_be_brought_where_that_was_measured(
    stored: ThesisResult,
) -> None:
    trial = experiment(stored, 2, 0.5)
    assert "could be brought" not in verdict(found(stored, trial), "C2")[1]
    curve = [trial.curve[0].model_copy(update={"reach": value}) for value in (16.0, 80.0, 127.4)]
    _, text = verdict(found(stored, trial.model_copy(update={"curve": curve})), "C2")
    reached = "16.00 after epoch 1, 80.00 after epoch 2, 127.40 after epoch 3."
    assert f"could be brought to: experiment 2, thesis: {reached}" in text


@pytest.mark.parametrize(
    ("last", "expected"),
    [(0.5, "holds"), (0.3, "does not hold"), (0.405, "not decided here")],
)
def test_c3_compares_the_ends_of_one_long_training(
    stored: ThesisResult, last: float, expected: str
) -> None:
    (trial,) = [t for t in stored.trials if t.study == "longer"]
    epochs = stored.options.students.epochs
    looks = [
        m.model_copy(update={"images": 10_000, "accuracy": 0.4 if m.epoch <= epochs else last})
        for m in trial.measured
    ]
    result = found(stored, trial.model_copy(update={"measured": looks}))
    assert verdict(result, "C3")[0] == expected


def test_c4_wants_more_data_to_be_better_with_both_architectures(stored: ThesisResult) -> None:
    def of(*accuracies: float) -> str:
        trials = [experiment(stored, n, a) for n, a in enumerate(accuracies, 1)]
        return verdict(found(stored, *trials), "C4")[0]

    assert of(0.6, 0.5, 0.4, 0.3) == "holds"
    assert of(0.6, 0.5, 0.3, 0.3) == "holds in part"
    # What cannot be told apart refutes nothing.
    assert of(0.5, 0.5, 0.3, 0.3) == "not decided here"
    assert of(0.5, 0.5, 0.3, 0.4) == "does not hold"
    assert of(0.5, 0.6, 0.3, 0.4) == "does not hold"
    assert of(0.5) == "not decided here"


@pytest.mark.parametrize(
    ("train", "expected"),
    [(0.501, "holds in part"), (0.56, "not decided here"), (0.7, "does not hold")],
)
def test_c5_holds_a_gap_against_the_teachers(
    stored: ThesisResult, train: float, expected: str
) -> None:
    assert stored.teacher is not None
    gaps = [
        m.model_copy(update={"images": 10_000, "accuracy": {"train": 0.91, "test": 0.85}[m.part]})
        for m in stored.teacher.measured
    ]
    trial = experiment(stored, 4, 0.5)
    looks = [
        m.model_copy(update={"accuracy": train}) if m.part == "train" else m for m in trial.measured
    ]
    result = found(stored, trial.model_copy(update={"measured": looks})).model_copy(
        update={"teacher": stored.teacher.model_copy(update={"measured": gaps})}
    )
    assert verdict(result, "C5")[0] == expected


@pytest.mark.parametrize(
    ("vgg16", "mobilenet", "other", "expected"),
    [
        (0.5, 0.4, 0.3, "holds"),
        (0.5, 0.4, 0.6, "holds"),
        (0.4, 0.5, 0.3, "does not hold"),
        (0.4, 0.4, 0.3, "not decided here"),
    ],
)
def test_c7_is_vgg16_against_mobilenet(
    stored: ThesisResult, vgg16: float, mobilenet: float, other: float, expected: str
) -> None:
    bodies = ("torchvision/vgg16", "torchvision/mobilenet_v2", "timm/other")
    trials = [
        experiment(stored, 1, accuracy, study="similar", body=body)
        for body, accuracy in zip(bodies, (vgg16, mobilenet, other), strict=True)
    ]
    says, text = verdict(found(stored, *trials), "C7")
    assert says == expected
    assert ("not explain: timm/other" in text) is (other > vgg16)


def test_c8_depends_on_what_rounding_leaves_of_an_answer(stored: ThesisResult) -> None:
    assert stored.teacher is not None
    assert verdict(stored, "C8")[0] == "does not hold"
    lossy = stored.teacher.model_copy(update={"temperature_errors": {4.0: 0.2}})
    assert verdict(stored.model_copy(update={"teacher": lossy}), "C8")[0] == "not decided here"


def test_one_seed_decides_nothing_about_letters(stored: ThesisResult) -> None:
    digits = [
        DigitRecord(
            letters=letters,
            recipe="r",
            images=5,
            seed=0,
            accuracy=0.5,
            per_digit=[0.9 if letters == "round" else 0.1] * 10,
        )
        for letters in ("round", "angular")
    ]
    assert crossing(digits) == {}
    only = found(stored).model_copy(update={"digits": digits})
    assert verdict(only, "C6")[0] == "not decided here"


# trials


def trial_of(folder: Path) -> tuple[Ground, Trial]:
    """A trial on noise, and where it is measured."""
    random = np.random.default_rng(0)
    images, answers, truth, named = (
        folder / f"{name}.npy" for name in ("images", "answers", "truth", "named")
    )
    np.save(images, random.integers(0, 256, (24, 32, 32, 3), np.uint8))
    np.save(answers, random.dirichlet(np.ones(10), 24).astype(np.float32))
    np.save(truth, np.arange(24) % 10)
    np.save(named, np.arange(24) % 7)
    trial = Trial(
        study="experiment 4",
        variant="thesis",
        design=Design("timm/resnet10t", Head(widths=(8,))),
        initial="random",
        weights="random",
        recipe=Recipe("thesis", epochs=5),
        material=Material("small", images, answers, truth, 24, "digest"),
        seed=0,
        marks=(2, 5),
        machine=Machine(),
    )
    parts = tuple(Part(name, images, truth, named, 20) for name in ("train", "test"))
    return Ground(folder / "trials", parts, 10, checkpoint_seconds=0), trial


class Interrupted(Exception):
    """Somebody pulls the plug."""


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_trial_taken_up_again_is_as_if_it_had_not_stopped(tmp_path: Path, epoch: int) -> None:
    def stop(step: Step) -> None:
        if step.done == epoch + 1:
            raise Interrupted

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = run_trial(*trial_of(tmp_path / "whole"))
    ground, trial = trial_of(tmp_path / "stopped")
    with pytest.raises(Interrupted):
        run_trial(ground, trial, stop)
    done: list[int] = []
    taken_up = run_trial(ground, trial, lambda step: done.append(step.done))
    assert done[0] == epoch + 1
    assert taken_up.model_copy(update={"seconds": 0}) == whole.model_copy(update={"seconds": 0})
    assert [(m.epoch, m.part) for m in whole.measured] == [
        (2, "train"),
        (2, "test"),
        (5, "train"),
        (5, "test"),
    ]
    assert {m.images for m in whole.measured} == {20}


def test_two_parts_share_a_training_and_other_settings_do_not(tmp_path: Path) -> None:
    ground, trial = trial_of(tmp_path)
    name = ground.id_of(trial)
    assert ground.id_of(replace(trial, study="similar", variant="x")) == name
    assert ground.id_of(replace(trial, machine=Machine(threads=2))) == name
    assert ground.id_of(replace(trial, seed=1)) != name
    assert ground.id_of(replace(trial, machine=Machine(precision="bfloat16"))) != name
    assert replace(ground, probed=9).id_of(trial) != name
    weights = tmp_path / "weights"
    ids = set()
    for content in (b"a", b"b"):
        weights.with_suffix(f".{content.decode()}").write_bytes(content)
        path = str(weights.with_suffix(f".{content.decode()}"))
        ids.add(ground.id_of(replace(trial, weights=path)))
    assert len(ids) == 2
    record = run_trial(ground, trial)
    again = replace(trial, study="similar", variant="x")
    other = again.of(run_trial(ground, again))
    assert (other.study, other.variant) == ("similar", "x")
    assert other.model_copy(update={"study": record.study, "variant": record.variant}) == record


def test_after_every_epoch_the_first_test_images_are_looked_at(tmp_path: Path) -> None:
    ground, trial = trial_of(tmp_path)
    others = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), np.uint8)
    np.save(tmp_path / "others.npy", others)
    train_part, test_part = ground.parts
    test_part = replace(test_part, images=tmp_path / "others.npy", size=16)
    ground = replace(ground, parts=(train_part, test_part))
    trial = replace(trial, recipe=replace(trial.recipe, augmentation=("flip",)))
    student = build_headed(trial.design, "random", (32, 32, 3), 10, seed=0)
    first, second = (
        _look(student, ground, trial, Epoch(number, 0.5, 0.25), seconds=1.5) for number in (1, 2)
    )
    assert first.seconds == 1.5
    # It answers as it learned: with the mean over an image and its mirror image.
    views = [infer(student, seen, Machine()) for seen in (others[:10], others[:10, :, ::-1])]
    probed = measured(
        np.mean(views, axis=0), np.arange(24) % 10, np.arange(24) % 7, part="test", epoch=1
    )
    expected = EpochRecord(
        loss=0.5,
        agreement=0.25,
        probe_accuracy=probed.accuracy,
        probe_loss=probed.loss,
        probe_worst_ten=probed.worst_ten,
        probe_logit=probed.largest_logit,
        reach=reach(student, others[:8], Machine()),
    )
    assert first.epoch.model_dump() == pytest.approx(expected.model_dump(), rel=1e-4)
    # Whole parts are looked at after the marked epochs alone.
    assert first.measured == []
    assert [(m.part, m.images, m.epoch) for m in second.measured] == [
        ("train", 20, 2),
        ("test", 16, 2),
    ]
    assert second.measured[0].loss != second.measured[1].loss


def test_figures_that_are_no_numbers_are_kept(tmp_path: Path, stored: ThesisResult) -> None:
    trial = exploding(experiment(stored, 1, 0.5), 0.1, float("inf"))
    write_pages(found(stored, trial), tmp_path)
    (kept,) = read_thesis(tmp_path / "thesis.json").trials
    assert kept.curve[-1].probe_loss == float("inf")


# the real command


@pytest.fixture(scope="module")
def cifars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both data sets in their own layout, with 30 images a part."""
    folder = tmp_path_factory.mktemp("cifars")
    random = np.random.default_rng(0)
    for name, label, classes in (("cifar10", "label", 10), ("cifar100", "fine_label", 100)):
        for part in ("train", "test"):
            pictures = []
            for _ in range(30):
                buffer = io.BytesIO()
                pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(buffer, "PNG")
                pictures.append({"bytes": buffer.getvalue(), "path": None})
            labels = (np.arange(30) % classes).tolist()
            (folder / name).mkdir(exist_ok=True)
            table = pa.table({"img": pictures, label: labels})
            names = {label: {"names": [f"class {i}" for i in range(classes)]}}
            text = json.dumps({"info": {"features": names}})
            table = table.replace_schema_metadata({"huggingface": text})
            pq.write_table(table, folder / name / f"{part}-00000-of-00001.parquet")
    return folder


def options_of(folder: Path, cifars: Path, out: str) -> list[object]:
    (folder / "tiny.toml").write_text(TINY)
    return [
        *("reproduce", "thesis", "--scale", "small", "--options", folder / "tiny.toml"),
        *("--data-dir", cifars, "--device", "cpu", "--precision", "float32", "--threads", 1),
        *("--experiment", "4", "--out", folder / out),
    ]


def test_the_thesis_is_reproduced_in_small_and_taken_up_again_after_kills(
    tmp_path: Path, cifars: Path, papagaio_process: Papagaio
) -> None:
    done = papagaio_process(*options_of(tmp_path, cifars, "whole"))
    assert done.code == 0, done.stderr
    whole = read_thesis(tmp_path / "whole" / "thesis.json")
    assert whole.complete
    (trial,) = whole.trials
    # The options that decide what is read.
    assert trial.images == 16
    assert {m.images for m in trial.measured} == {12}
    assert [(m.epoch, m.part) for m in trial.measured] == [
        (epoch, part) for epoch in (1, 2, 3, 4) for part in ("train", "test")
    ]
    assert whole.teacher is not None
    assert whole.teacher.parameters == 14_781_642
    assert not whole.teacher.stand_in
    assert len(np.load(tmp_path / "whole" / "inputs" / "large-images.npy")) == 24
    assert len(np.load(tmp_path / "whole" / "inputs" / "own-images.npy")) == 20
    assert len(np.load(tmp_path / "whole" / "inputs" / "all-images.npy")) == 3

    command: list[str] = [str(COMMAND), *map(str, options_of(tmp_path, cifars, "killed"))]
    for wanted in ("teacher/phase-1-*.safetensors", "trials/*/epochs"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list((tmp_path / "killed").glob(wanted)) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = papagaio_process(*options_of(tmp_path, cifars, "killed"))
    assert done.code == 0, done.stderr
    killed = read_thesis(tmp_path / "killed" / "thesis.json")
    assert [t.model_copy(update={"seconds": 0}) for t in killed.trials] == [
        t.model_copy(update={"seconds": 0}) for t in whole.trials
    ]
    assert killed.teacher == whole.teacher

    # What is asked for and there already is not trained again.
    again = papagaio_process(*options_of(tmp_path, cifars, "whole"))
    assert "epochs" not in again.stderr
    assert read_thesis(tmp_path / "whole" / "thesis.json").trials == whole.trials


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--experiment", "4"], {"experiments": (4,), "studies": ()}),
        (["--experiment", "1,2,3,4"], {"studies": ()}),
        (
            ["--experiment", "2, 4,2", "--study", "longer"],
            {"experiments": (2, 4), "studies": ("longer",)},
        ),
        # Studies come in their own order.
        (
            ["--experiments", "none", "--studies", "taxonomy,beyond"],
            {"experiments": (), "studies": ("beyond", "taxonomy")},
        ),
        (["--study", "none"], {"studies": ()}),
        (
            [
                *("--scale", "small", "--seeds", "3", "--options", "o.toml", "--weights-dir", "w"),
                *("--stand-in", "s", "--data-dir", "d", "--device", "cpu", "--threads", "5"),
                *("--precision", "bfloat16", "--workers", "2"),
            ],
            {
                "scale": "small",
                "seeds": 3,
                "options": Path("o.toml"),
                "weights": Weights(Path("w"), Path("s")),
                "data_dir": Path("d"),
                "device": "cpu",
                "precision": "bfloat16",
                "threads": 5,
                "workers": 2,
            },
        ),
    ],
)
def test_what_is_named_on_the_command_line_is_what_is_reproduced(
    tmp_path: Path,
    stored: ThesisResult,
    papagaio: Papagaio,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    changes: dict[str, Any],
) -> None:
    asked: list[Reproduction] = []

    def reproduce(wanted: Reproduction, _: Progress) -> ThesisResult:
        asked.append(wanted)
        return stored

    monkeypatch.setattr("papagaio_thesis.run.reproduce", reproduce)
    assert papagaio("reproduce", "thesis", "--out", tmp_path, *words).code == 0
    assert asked == [Reproduction(tmp_path, **changes)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment", "5"], "there are 1, 2, 3 and 4"),
        (["--study", "astrology"], "there are beyond, in-scope"),
        (["--scale", "huge"], "Invalid value for '--scale'"),
        (["--data-dir", "nowhere"], "check --data-dir"),
        (
            ["--weights-dir", "nowhere", "--experiment", "4"],
            "vgg16_imagenet.safetensors: not there",
        ),
    ],
)
def test_bad_words_are_one_clear_line(
    tmp_path: Path, cifars: Path, papagaio: Papagaio, words: list[str], message: str
) -> None:
    given = [] if "--data-dir" in words else ["--data-dir", cifars]
    ended = papagaio(
        *("reproduce", "thesis", "--precision", "float32", "--studies", "none"),
        *("--out", tmp_path / "run", *given, *words),
    )
    assert ended.code == 2
    assert message in ended.stderr.splitlines()[-1]
