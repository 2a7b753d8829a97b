import csv
import io
import json
import shutil
import signal
import subprocess
import time
import tomllib
from dataclasses import asdict, dataclass, replace
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
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.networks.named import build_student
from papagaio.progress import Message, Progress, Step, no_progress
from papagaio.responses import Answers
from papagaio.scores import Figure
from papagaio.training.inference import infer
from papagaio.training.loop import Epoch
from papagaio.training.losses import targets_of
from papagaio.training.machine import Machine
from papagaio.training.optimisers import optimisers_for
from papagaio.training.recipe import Recipe
from papagaio.training.step import Batch, training_step
from papagaio_thesis.claims import claims
from papagaio_thesis.claims_of_studies import leads
from papagaio_thesis.digits import KINDS
from papagaio_thesis.inputs import TrialInputs
from papagaio_thesis.measuring import EvaluationSet, measurement
from papagaio_thesis.options import StudyOptions, read_options
from papagaio_thesis.page import render, write_pages
from papagaio_thesis.plan import Planner
from papagaio_thesis.published import published
from papagaio_thesis.reach import reach
from papagaio_thesis.readings import readings_of
from papagaio_thesis.records import (
    DigitRecord,
    DivergedRecord,
    EpochRecord,
    ThesisResult,
    TrialRecord,
    read_thesis,
)
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.superclasses import GROUPS, rows_of
from papagaio_thesis.tables import mean_accuracy, tables, to_csv, to_markdown
from papagaio_thesis.teacher import teacher_phases
from papagaio_thesis.trials import (
    TrainingSet,
    Trial,
    TrialContext,
    _epoch_figures,
    trial_job,
    unfinished,
)
from papagaio_thesis.verdicts import combined, is_above

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
    labels = np.array([0, 1, 2, 3, 0, 1])
    recipe = Recipe("equation-1", temperature=4, alpha=0.3)
    student = build_student("small-cnn", "random", images, 4, seed=0)
    batch = Batch(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(targets_of("cross-entropy", 4, 0, Answers.of(teacher))),
        torch.from_numpy(labels),
    )
    optimisers = optimisers_for(student, recipe)
    loss, logits = training_step(student, optimisers, batch, recipe, Machine())
    exact = logits.numpy().astype(float)
    soft = -(softmax(np.log(teacher) / 4, axis=1) * log_softmax(exact / 4, axis=1)).sum(1)
    hard = -log_softmax(exact, axis=1)[np.arange(6), labels]
    assert loss.item() == pytest.approx((soft + 0.3 * hard).mean(), rel=1e-5)


def test_the_figures_of_logits_are_those_of_scipy() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (30, 4)).astype(np.float32)
    labels, teacher_labels = np.arange(30) % 4, (np.arange(30) // 2) % 4
    losses = -log_softmax(logits.astype(float), axis=1)[np.arange(30), labels]
    figures = measurement(logits, labels, teacher_labels, "test", 7)
    assert figures.loss == pytest.approx(losses.mean())
    assert figures.median_loss == pytest.approx(np.median(losses))
    assert figures.worst_ten == pytest.approx(np.sort(losses)[-10:].sum() / losses.sum())
    assert figures.largest_logit == pytest.approx(np.abs(logits).max())
    assert figures.accuracy == pytest.approx((logits.argmax(1) == labels).mean())
    assert figures.fidelity == pytest.approx((logits.argmax(1) == teacher_labels).mean())
    right = (logits.argmax(1) == labels)[labels == 2]
    assert figures.per_class[2] == pytest.approx(right.mean())
    assert (figures.epoch, figures.part, figures.images) == (7, "test", 30)


def test_one_image_can_carry_a_loss_of_millions() -> None:
    logits = np.zeros((100, 4), np.float32)
    logits[:, 0] = 5
    logits[7, 1] = 1e9
    zeros = np.zeros(100, np.int64)
    figures = measurement(logits, zeros, zeros, "test", 1)
    assert figures.loss == pytest.approx(1e7, rel=1e-3)
    assert figures.accuracy == 0.99
    assert figures.worst_ten > 0.999
    assert figures.median_loss < 0.1


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
    "studies.readings.side": [32],
    "studies.readings.pooling": ["mean"],
    "studies.readings.widths": [[128]],
    "studies.readings.dropout": [0.25],
    "studies.readings.normalisation": ["tf"],
    "studies.readings.unfrozen": [3],
    "studies.readings.brightness": [[]],
}
# These decide what is read and not what is trained: the tiny run at the end shows them.
READ = {
    *("images.large", "images.small", "images.owned", "images.evaluated", "teacher.weights"),
    *("studies.superclass_images", "studies.digit_seeds"),
}


def fake_inputs() -> TrialInputs:
    large = TrainingSet("large", Path("i"), Path("a"), Path("l"), 5000, "digest")
    small, own = replace(large, name="small"), replace(large, name="own")
    plants = replace(large, name="plants")
    train, test = evaluation_sets(Path("i"), Path("l"), 20)
    return TrialInputs(large, small, own, {"plants": plants}, train, test)


def evaluation_sets(images: Path, labels: Path, size: int) -> tuple[EvaluationSet, EvaluationSet]:
    return (
        EvaluationSet("train", images, labels, labels, size),
        EvaluationSet("test", images, labels, labels, size),
    )


def planner_of(options: StudyOptions, **settings: Any) -> Planner:  # noqa: ANN401
    given = ReproduceSettings(**settings)
    return Planner(given, options, fake_inputs(), lambda _: Machine())


def everything(options: StudyOptions) -> list[Any]:
    """All that the options decide."""
    context = TrialContext(
        Path("trials"), *evaluation_sets(Path("i"), Path("l"), 20), options.images.probed
    )
    trials = planner_of(options).trials()
    ids = [context.id_of(trial) for trial in trials]
    return [options.architecture(), teacher_phases(options), ids, readings_of(options)]


@pytest.mark.parametrize("leaf", [leaf for leaf in leaves(STUDY) if ".".join(leaf) not in READ])
def test_every_option_of_the_study_file_reaches_the_run(
    tmp_path: Path, leaf: tuple[str, ...]
) -> None:
    name = ".".join(leaf)
    before = reduce(lambda table, key: table[key], leaf, STUDY)
    value = OTHER_WORDS.get(name, OTHER[type(before)] if name not in OTHER_WORDS else None)
    own = tmp_path / "own.toml"
    text = f"[{'.'.join(leaf[:-1])}]\n{leaf[-1]} = {json.dumps(value)}\n"
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
        ("[students]\nepochs = 5\n", "the last mark is 100, but must be 5"),
        ("[studies]\nlonger = [50]\n", "must increase from above 100"),
        ("[studies]\nlonger = [300, 200]\n", "must increase from above 100"),
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
    groups = {name: set(superclasses[list(classes)]) for name, classes in GROUPS.items()}
    # No superclass is in two groups.
    assert sorted(one for group in groups.values() for one in group) == list(range(20))
    # Aquatic mammals and fish; both kinds of vehicles; people.
    assert groups["fish and sea mammals"] == {0, 1}
    assert groups["vehicles"] == {18, 19}
    assert groups["people"] == {14}


@pytest.mark.parametrize(
    ("group", "of_each", "count", "counts"),
    [("people", 10, 23, {4, 5}), ("plants", 500, 800, {53, 54}), ("plants", 500, 750, {50})],
)
def test_a_group_has_every_class_as_often_as_the_others_or_once_less(
    group: str, of_each: int, count: int, counts: set[int]
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), of_each))
    rows = rows_of(GROUPS[group], labels, count)
    per_class = np.bincount(labels[rows], minlength=100)
    assert len(set(rows)) == per_class.sum() == count
    assert set(np.flatnonzero(per_class)) == set(GROUPS[group])
    assert set(per_class[per_class > 0]) == counts


@pytest.mark.parametrize(
    ("experiments", "training_set", "form", "other"),
    [
        ((1, 2, 3, 4), "large", "torch", "caffe"),
        ((2, 4), "small", "torch", "caffe"),
        ((), "large", "caffe", "torch"),
    ],
)
def test_an_explosion_is_looked_for_with_one_thing_changed_at_a_time(
    experiments: tuple[int, ...], training_set: str, form: str, other: str
) -> None:
    planner = planner_of(read_options(keras=form == "caffe"), experiments=experiments)
    (thesis,) = planner.experiment(1 if training_set == "large" else 2)
    trials = {trial.variant: trial for trial in planner.study("explosion")}
    assert {trial.training_set.name for trial in trials.values()} == {training_set}

    def changed(variant: str) -> list[str]:
        after = asdict(replace(trials[variant], study=thesis.study, variant=thesis.variant))
        before, after = flat(asdict(thesis)), flat(after)
        return sorted(key for key in before if before[key] != after[key] and key != "recipe.name")

    assert changed("clipped") == ["recipe.clip"]
    assert changed("decayed") == ["recipe.decay", "recipe.optimiser"]
    assert changed("normalised") == ["architecture.body"]
    assert changed(f"{other} colours") == ["architecture.normalisation"]


def flat(tree: dict[str, Any], stem: str = "") -> dict[str, Any]:
    """Keys joined with dots."""
    flattened: dict[str, Any] = {}
    for key, value in tree.items():
        is_tree = isinstance(value, dict)
        flattened |= flat(value, f"{stem}{key}.") if is_tree else {stem + key: value}
    return flattened


def test_every_study_trains_what_its_claim_rests_on() -> None:
    planner = planner_of(read_options(), experiments=(2, 4), seeds=3)
    vgg16, mobilenet = "torchvision/vgg16", "torchvision/mobilenet_v2"
    experiments = {n: planner.experiment(n) for n in (1, 2, 3, 4)}
    assert {
        n: {(t.architecture.body, t.training_set.name, t.recipe.name) for t in trials}
        for n, trials in experiments.items()
    } == {
        1: {(vgg16, "large", "thesis")},
        2: {(vgg16, "small", "thesis")},
        3: {(mobilenet, "large", "thesis")},
        4: {(mobilenet, "small", "thesis")},
    }
    assert all([t.seed for t in trials] == [0, 1, 2] for trials in experiments.values())

    # Only of the requested experiments, and seed by seed.
    beyond = planner.study("beyond")
    assert [(t.study, t.variant, t.seed) for t in beyond] == [
        (f"experiment {n}", "recovered-logits", seed) for n in (2, 4) for seed in (0, 1, 2)
    ]
    assert {(t.recipe.loss, t.recipe.augmentation) for t in beyond} == {
        ("centred-l2", ("crop", "flip"))
    }
    assert [(t.architecture.body, t.training_set.name) for t in planner.study("in-scope")] == [
        (vgg16, "own"),
        (mobilenet, "own"),
    ]
    assert {(t.recipe.alpha, t.recipe.temperature) for t in planner.study("in-scope")} == {(0.1, 4)}
    (longer,) = planner.study("longer")
    assert (longer.architecture.body, longer.training_set.name) == (mobilenet, "small")
    assert (longer.recipe.epochs, longer.marks) == (400, (25, 50, 75, 100, 200, 400))
    assert [(t.variant, t.training_set.name) for t in planner.study("superclasses")] == [
        ("plants", "plants")
    ]
    similar = planner.study("similar")
    assert [t.architecture.body for t in similar] == [
        vgg16,
        mobilenet,
        "timm/resnet26",
        "timm/resnet10t",
    ]
    assert {(t.initial, t.training_set.name, t.recipe.name) for t in similar} == {
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
    assert {(t.architecture.body, t.training_set.name) for t in warm} == {(mobilenet, "small")}
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
        # A stand-in is used where VGG16's weights are not available.
        ("", Path("stand-in"), [("mobilenet_v2", "imagenet", "small", "library")]),
        (
            "[students]\nvgg16 = 'imagenet'\nmobilenet_v2 = 'imagenet'\n",
            Path("stand-in"),
            [("vgg16", "random", "small", "random"), ("mobilenet_v2", "random", "small", "random")],
        ),
    ],
)
def test_the_other_initial_weights_are_tried_where_they_are_available(
    tmp_path: Path, students: str, stand_in: Path | None, starts: list[tuple[str, ...]]
) -> None:
    (tmp_path / "own.toml").write_text(students)
    options = read_options(own=tmp_path / "own.toml")
    # Whichever experiments are requested.
    planner = planner_of(options, experiments=(1,), seeds=3, stand_in=stand_in)
    assert [
        (t.architecture.body.rpartition("/")[2], t.initial, t.training_set.name, t.weights)
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
    reached = reach(network, images, Machine())
    # Each logit grows in the direction that it has: one of the two ends of what bytes allow.
    ends = 255 * weights.clip(min=0).sum(), -255 * weights.clip(max=0).sum()
    logits = np.einsum("nhwc,chw->n", images.astype(np.float64), weights)
    expected = max(ends[0] if logit > 0 else ends[1] for logit in logits)
    assert reached == pytest.approx(expected, rel=1e-5)
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


def test_tables_show_the_marks_of_an_unfinished_training_and_claims_do_not(
    stored: ThesisResult,
) -> None:
    four = [t for t in stored.trials if (t.study, t.variant) == ("experiment 4", "thesis")]
    (trial,) = four
    epochs = [m.model_copy(update={"epoch": 1}) for m in trial.measurements]
    begun = trial.model_copy(update={"curve": trial.curve[:1], "measurements": epochs})
    others = [t for t in stored.trials if t not in four]
    result = stored.model_copy(update={"trials": others, "unfinished": [begun]})
    table = tables(result)[-1]
    assert "UNFINISHED: measured up to epoch 1 of 2." in table.note
    measured = {(row.epoch, row.thesis.part): row.measured for row in table.rows}
    assert measured[2, "test"] is None
    assert "experiment 4" not in claims(result)[0].text
    for template in ("thesis.html.j2", "thesis.md.j2"):
        assert "measured up to epoch 1 of 2" in render(result, template)
    # A finished seed takes its place.
    both = stored.model_copy(update={"unfinished": [begun]})
    assert tables(both)[-1] == tables(stored)[-1]


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
            "diverged": [
                DivergedRecord(study=HOSTILE, variant=HOSTILE, body="b", seed=0, reason=HOSTILE)
            ],
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


def test_a_table_names_the_weights_that_teacher_and_student_started_from(
    stored: ThesisResult,
) -> None:
    assert stored.teacher is not None
    teacher = stored.teacher.model_copy(update={"stand_in": False, "start": "vgg16.h5 (SHA-256 1)"})
    trials = [trial.model_copy(update={"start": "mobile.h5"}) for trial in stored.trials]
    result = stored.model_copy(update={"teacher": teacher, "trials": trials})
    first, *_, last = tables(result)
    assert "Teacher from vgg16.h5 (SHA-256 1), colours in the form torch." in first.note
    assert "Student from mobile.h5; seeds" in last.note
    assert "Student from imagenet weights; seeds" in tables(stored)[-1].note


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
    assert combined(verdicts) == expected
    assert combined(verdicts[::-1]) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.6, 0.7, True), (0.5, 0.7, None), (0.4, 0.6, None), (0.1, 0.5, None), (0.1, 0.3, False)],
)
def test_one_figure_is_above_another_where_their_intervals_do_not_overlap(
    low: float, high: float, *, expected: bool | None
) -> None:
    other = Figure(0.45, 0.4, 0.5, 100)
    assert is_above(Figure((low + high) / 2, low, high, 100), other) is expected


def test_what_was_not_run_says_so(stored: ThesisResult) -> None:
    nothing = stored.model_copy(update={"trials": [], "digits": [], "teacher": None})
    assert all(r.measured is None for table in tables(nothing) for r in table.rows)
    assert "not run" in to_markdown(tables(nothing)[1])
    assert {claim.verdict for claim in claims(nothing)} == {"not decided here"}
    assert "No training is finished yet" in render(nothing, "thesis.html.j2")


def test_several_seeds_give_a_mean_with_the_spread_of_seeds(stored: ThesisResult) -> None:
    trials = [t for t in stored.trials if (t.study, t.variant) == ("experiment 4", "thesis")]
    low, high = trials[0], trials[0].model_copy(deep=True)
    for one, accuracy in ((low, 0.4), (high, 0.5)):
        looks = [m.model_copy(update={"accuracy": accuracy}) for m in one.measurements]
        trials.append(one.model_copy(update={"measurements": looks}))
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
    lead = leads(digits)["r"]
    assert lead.on_round.value == pytest.approx(0.21)
    assert lead.on_angular.value == pytest.approx(0.31)
    assert lead.on_round.low > 0.15
    assert set(KINDS) == {"round", "angular", "all"}


def verdict(result: ThesisResult, name: str) -> tuple[str, str]:
    (claim,) = [claim for claim in claims(result) if claim.name == name]
    return claim.verdict, claim.text


def changed(trial: TrialRecord, **changes: object) -> TrialRecord:
    """A trial with other figures in all that was measured of it."""
    looks = [m.model_copy(update={"images": 10_000, **changes}) for m in trial.measurements]
    return trial.model_copy(update={"measurements": looks})


def experiment(stored: ThesisResult, number: int, accuracy: float, **more: object) -> TrialRecord:
    (trial,) = [
        t for t in stored.trials if (t.study, t.variant) == (f"experiment {number}", "thesis")
    ]
    return changed(trial, accuracy=accuracy).model_copy(update=more)


def with_trials(stored: ThesisResult, *trials: TrialRecord) -> ThesisResult:
    return stored.model_copy(update={"trials": list(trials)})


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [((0.5, 0.3), "holds"), ((0.5, 0.1), "holds in part"), ((0.1, 0.09), "does not hold")],
)
def test_c1_asks_every_student_to_be_better_than_chance(
    stored: ThesisResult, accuracies: tuple[float, float], expected: str
) -> None:
    trials = [experiment(stored, n, a) for n, a in zip((1, 4), accuracies, strict=True)]
    assert verdict(with_trials(stored, *trials), "C1")[0] == expected


def exploding(trial: TrialRecord, accuracy: float, loss: float = 1e6) -> TrialRecord:
    """Nine calm epochs, and one with a loss of a million."""
    calm = trial.curve[0].model_copy(update={"probe_accuracy": 0.5, "probe_loss": 1.0})
    last = calm.model_copy(update={"probe_loss": loss, "probe_accuracy": accuracy})
    return trial.model_copy(update={"curve": [*[calm] * 9, last]})


def test_c2_finds_an_exploded_loss_and_what_removes_it(stored: ThesisResult) -> None:
    first = experiment(stored, 1, 0.5)
    cured = exploding(first, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = with_trials(stored, exploding(first, 0.5), cured)
    says, text = verdict(result, "C2")
    assert says == "holds"
    assert "What prevents it: calm." in text
    assert "after epoch 10 of 10" in text
    assert verdict(with_trials(stored, exploding(first, 0.2), cured), "C2")[0] == "does not hold"
    # Where none exploded, the one that came nearest is told.
    calm = [exploding(first, 0.5, 2.0), exploding(experiment(stored, 2, 0.5), 0.5, 3.0)]
    says, text = verdict(with_trials(stored, *calm), "C2")
    assert says == "not decided here"
    assert "2 trainings" in text
    assert text.count("the largest loss is") == 1
    assert "experiment 2, thesis: the largest loss is 3.00" in text


def test_c2_takes_no_cure_for_another_experiment_and_no_other_architecture(
    stored: ThesisResult,
) -> None:
    first, second = experiment(stored, 1, 0.5), experiment(stored, 2, 0.5)
    cured = exploding(first, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = with_trials(stored, exploding(first, 0.5, 1.0), exploding(second, 0.5), cured)
    assert "What prevents it: unknown, as no change was tried on it." in verdict(result, "C2")[1]
    worse = exploding(second, 0.5).model_copy(update={"study": "explosion", "variant": "wild"})
    result = with_trials(stored, exploding(second, 0.5), worse)
    assert "What prevents it: none of the changes tried." in verdict(result, "C2")[1]
    mobile = with_trials(stored, exploding(experiment(stored, 4, 0.5), 0.5))
    assert verdict(mobile, "C2")[0] == "not decided here"


@pytest.mark.parametrize(("loss", "expected"), [(1.08e8, "holds"), (2.1, "not decided here")])
def test_c2_sees_what_a_whole_part_shows_and_the_first_images_do_not(
    stored: ThesisResult, loss: float, expected: str
) -> None:
    trial = experiment(stored, 1, 0.5)
    looks = [
        m.model_copy(update={"accuracy": 0.5, "loss": loss if m.part == "train" else 0.9})
        for m in trial.measurements
    ]
    says, text = verdict(
        with_trials(stored, trial.model_copy(update={"measurements": looks})), "C2"
    )
    assert says == expected
    assert ("the largest loss is 1.08e+08 on the train part" in text) is (expected == "holds")


def test_c2_takes_the_cure_that_was_tried_on_what_exploded(stored: ThesisResult) -> None:
    second = experiment(stored, 2, 0.5)
    cured = exploding(second, 0.5, 1.0).model_copy(update={"study": "explosion", "variant": "calm"})
    result = with_trials(stored, exploding(second, 0.5), cured)
    assert "What prevents it: calm." in verdict(result, "C2")[1]


def test_c2_says_how_far_logits_could_be_brought_where_that_was_measured(
    stored: ThesisResult,
) -> None:
    trial = experiment(stored, 2, 0.5)
    assert "gradient ascent" not in verdict(with_trials(stored, trial), "C2")[1]
    curve = [trial.curve[0].model_copy(update={"reach": value}) for value in (16.0, 80.0, 127.4)]
    _, text = verdict(with_trials(stored, trial.model_copy(update={"curve": curve})), "C2")
    reached = "16.00 after epoch 1, 80.00 after epoch 2, 127.40 after epoch 3."
    assert f"gradient ascent on test images reached: experiment 2, thesis: {reached}" in text


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
        for m in trial.measurements
    ]
    result = with_trials(stored, trial.model_copy(update={"measurements": looks}))
    assert verdict(result, "C3")[0] == expected


def test_c4_wants_more_data_to_be_better_with_both_architectures(stored: ThesisResult) -> None:
    def of(*accuracies: float) -> str:
        trials = [experiment(stored, n, a) for n, a in enumerate(accuracies, 1)]
        return verdict(with_trials(stored, *trials), "C4")[0]

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
        for m in stored.teacher.measurements
    ]
    trial = experiment(stored, 4, 0.5)
    looks = [
        m.model_copy(update={"accuracy": train}) if m.part == "train" else m
        for m in trial.measurements
    ]
    result = with_trials(stored, trial.model_copy(update={"measurements": looks})).model_copy(
        update={"teacher": stored.teacher.model_copy(update={"measurements": gaps})}
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
    says, text = verdict(with_trials(stored, *trials), "C7")
    assert says == expected
    assert ("explains: timm/other" in text) is (other > vgg16)


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
    assert leads(digits) == {}
    only = with_trials(stored).model_copy(update={"digits": digits})
    assert verdict(only, "C6")[0] == "not decided here"


# trials


def trial_of(folder: Path) -> tuple[TrialContext, Trial]:
    """A trial on noise, and its context."""
    random = np.random.default_rng(0)
    images, answers, labels, teacher_labels = (
        folder / f"{name}.npy" for name in ("images", "answers", "labels", "teacher")
    )
    np.save(images, random.integers(0, 256, (24, 32, 32, 3), np.uint8))
    np.save(answers, random.dirichlet(np.ones(10), 24).astype(np.float32))
    np.save(labels, np.arange(24) % 10)
    np.save(teacher_labels, np.arange(24) % 7)
    trial = Trial(
        study="experiment 4",
        variant="thesis",
        architecture=Architecture("timm/resnet10t", Head(widths=(8,))),
        initial="random",
        weights="random",
        recipe=Recipe("thesis", epochs=5),
        training_set=TrainingSet("small", images, answers, labels, 24, "digest"),
        seed=0,
        marks=(2, 5),
        machine=Machine(),
    )
    train, test = (
        replace(one, teacher_labels=teacher_labels) for one in evaluation_sets(images, labels, 20)
    )
    return TrialContext(folder / "trials", train, test, 10, checkpoint_seconds=0), trial


def run(context: TrialContext, trial: Trial, progress: Progress = no_progress) -> TrialRecord:
    job = trial_job(context, trial)
    return job.finished() or job.run(progress)


class Interrupted(Exception):
    """Somebody pulls the plug."""


@dataclass(frozen=True)
class Ran:
    """A trial that has run, and what it told."""

    context: TrialContext
    trial: Trial
    record: TrialRecord
    told: list[Step | Message]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    context, trial = trial_of(tmp_path_factory.mktemp("whole"))
    told: list[Step | Message] = []
    return Ran(context, trial, run(context, trial, told.append), told)


# Before a mark, and at one.
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_trial_is_as_if_it_had_not_been_interrupted(
    tmp_path: Path, whole: Ran, epoch: int
) -> None:
    def stop(step: Step | Message) -> None:
        if isinstance(step, Step) and (step.task, step.done) == ("thesis", epoch + 1):
            raise Interrupted

    context, trial = trial_of(tmp_path)
    with pytest.raises(Interrupted):
        trial_job(context, trial).run(stop)
    told: list[Step | Message] = []
    resumed = run(context, trial, told.append)
    epochs = [step.done for step in told if isinstance(step, Step) and step.task == "thesis"]
    assert epochs[0] == epoch + 1
    record = whole.record
    assert resumed.model_copy(update={"seconds": 0}) == record.model_copy(update={"seconds": 0})
    assert [(m.epoch, m.part) for m in record.measurements] == [
        (2, "train"),
        (2, "test"),
        (5, "train"),
        (5, "test"),
    ]
    assert {m.images for m in record.measurements} == {20}


@pytest.mark.parametrize("marks", [0, 1])
def test_an_interrupted_trial_has_a_record_up_to_its_last_mark(
    tmp_path: Path, whole: Ran, marks: int
) -> None:
    def stop(step: Step | Message) -> None:
        if isinstance(step, Step) and (step.task, step.done) == ("thesis", 3 * marks + 1):
            raise Interrupted

    context, trial = trial_of(tmp_path)
    with pytest.raises(Interrupted):
        trial_job(context, trial).run(stop)
    record = unfinished(context, trial)
    if not marks:
        assert record is None
        return
    # Three epochs are trained; the last mark is after the second.
    first = {"curve": whole.record.curve[:2], "measurements": whole.record.measurements[:2]}
    assert record is not None
    assert record.seconds > 0
    assert record.model_copy(update={"seconds": 0}) == whole.record.model_copy(
        update=first | {"seconds": 0}
    )


def test_a_finished_trial_is_not_unfinished(whole: Ran) -> None:
    assert unfinished(whole.context, whole.trial) is None


def test_measuring_a_whole_part_shows_progress(whole: Ran) -> None:
    # Both parts, after both marked epochs.
    assert whole.told.count(Step("predicting", 20, 20, "images")) == 4


def test_two_studies_share_a_training_and_other_settings_do_not(tmp_path: Path, whole: Ran) -> None:
    context, trial = whole.context, whole.trial
    name = context.id_of(trial)
    assert context.id_of(replace(trial, study="similar", variant="x")) == name
    assert context.id_of(replace(trial, machine=Machine(threads=2))) == name
    assert context.id_of(replace(trial, seed=1)) != name
    assert context.id_of(replace(trial, machine=Machine(precision="bfloat16"))) != name
    assert replace(context, probed=9).id_of(trial) != name
    weights = tmp_path / "weights"
    ids = set()
    for content in (b"a", b"b"):
        weights.with_suffix(f".{content.decode()}").write_bytes(content)
        path = str(weights.with_suffix(f".{content.decode()}"))
        ids.add(context.id_of(replace(trial, weights=path)))
    assert len(ids) == 2
    record = whole.record
    again = replace(trial, study="similar", variant="x")
    other = again.labelled(run(context, again))
    assert (other.study, other.variant) == ("similar", "x")
    assert other.model_copy(update={"study": record.study, "variant": record.variant}) == record
    assert other.note == f"similar, x: accuracy {record.at('test').accuracy:.3f}"


def test_after_every_epoch_the_first_test_images_are_measured(tmp_path: Path) -> None:
    context, trial = trial_of(tmp_path)
    others = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), np.uint8)
    np.save(tmp_path / "others.npy", others)
    test = replace(context.test, images=tmp_path / "others.npy", size=16)
    context = replace(context, test=test)
    trial = replace(trial, recipe=replace(trial.recipe, augmentation=("flip",)))
    student = build_headed(trial.architecture, "random", (32, 32, 3), 10, seed=0)
    first, second = (
        _epoch_figures(student, context, trial, Epoch(number, 0.5, 0.25), seconds=1.5)
        for number in (1, 2)
    )
    assert first.seconds == 1.5
    # It answers as it was trained: with the mean over an image and its mirror image.
    views = [infer(student, seen, Machine()) for seen in (others[:10], others[:10, :, ::-1])]
    labels, teacher_labels = np.arange(24) % 10, np.arange(24) % 7
    probed = measurement(np.mean(views, axis=0), labels, teacher_labels, "test", 1)
    expected = EpochRecord(
        loss=0.5,
        distillation_accuracy=0.25,
        probe_accuracy=probed.accuracy,
        probe_loss=probed.loss,
        probe_worst_ten=probed.worst_ten,
        probe_logit=probed.largest_logit,
        reach=reach(student, others[:8], Machine()),
    )
    assert first.epoch.model_dump() == pytest.approx(expected.model_dump(), rel=1e-4)
    # Whole parts are measured after the marked epochs only.
    assert first.measurements == []
    assert [(m.part, m.images, m.epoch) for m in second.measurements] == [
        ("train", 20, 2),
        ("test", 16, 2),
    ]
    assert second.measurements[0].loss != second.measurements[1].loss


def test_figures_that_are_not_finite_are_kept(tmp_path: Path, stored: ThesisResult) -> None:
    trial = exploding(experiment(stored, 1, 0.5), 0.1, float("inf"))
    write_pages(with_trials(stored, trial), tmp_path)
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


def test_the_thesis_is_reproduced_in_small_and_resumed_after_a_kill(
    tmp_path: Path, cifars: Path, papagaio: Papagaio
) -> None:
    done = papagaio(*options_of(tmp_path, cifars, "whole"))
    assert done.code == 0, done.stderr
    whole = read_thesis(tmp_path / "whole" / "thesis.json")
    assert whole.complete
    (trial,) = whole.trials
    # The options that decide what is read.
    assert trial.images == 16
    assert {m.images for m in trial.measurements} == {12}
    assert [(m.epoch, m.part) for m in trial.measurements] == [
        (epoch, part) for epoch in (1, 2, 3, 4) for part in ("train", "test")
    ]
    assert whole.teacher is not None
    assert whole.teacher.parameters == 14_781_642
    assert not whole.teacher.stand_in
    for name, size in (("large", 24), ("own", 20), ("all", 3)):
        (path,) = (tmp_path / "whole" / "inputs").glob(f"{name}-*/images.npy")
        assert len(np.load(path)) == size

    command: list[str] = [str(COMMAND), *map(str, options_of(tmp_path, cifars, "killed"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob("trials/*/epochs")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = papagaio(*options_of(tmp_path, cifars, "killed"))
    assert done.code == 0, done.stderr
    killed = read_thesis(tmp_path / "killed" / "thesis.json")
    assert [t.model_copy(update={"seconds": 0}) for t in killed.trials] == [
        t.model_copy(update={"seconds": 0}) for t in whole.trials
    ]
    assert killed.teacher == whole.teacher

    # What is finished is not trained again, and no image is decoded again.
    again = papagaio(*options_of(tmp_path, cifars, "whole"))
    assert "epochs" not in again.stderr
    assert "decoding" not in again.stderr
    assert read_thesis(tmp_path / "whole" / "thesis.json").trials == whole.trials


def test_the_teacher_alone_is_trained_and_table_1_is_printed(
    tmp_path: Path, cifars: Path, papagaio: Papagaio
) -> None:
    # It needs no data of the attacker.
    only = tmp_path / "only"
    shutil.copytree(cifars / "cifar10", only / "cifar10")
    words = options_of(tmp_path, only, "out")
    words[words.index("--experiment") + 1] = "none"
    done = papagaio(*words, "--studies", "none")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("**Table 1, the teacher.**")
    assert "| test | accuracy |  | 0.81 | 0." in done.stdout
    result = read_thesis(tmp_path / "out" / "thesis.json")
    assert result.complete
    assert result.teacher is not None
    assert [m.images for m in result.teacher.measurements] == [12, 12]
    assert list((tmp_path / "out" / "teacher").glob("phase-2-*.safetensors"))
    # Everything that takes long on whole data sets tells how far it is.
    for task in ("decoding cifar10 train", "decoding cifar10 test", "predicting"):
        assert f"{task}: " in done.stderr


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--experiment", "4"], {"experiments": (4,), "studies": ()}),
        (["--experiment", "1,2,3,4"], {"experiments": (1, 2, 3, 4), "studies": ()}),
        (
            ["--experiment", "2, 4,2", "--study", "longer"],
            {"experiments": (2, 4), "studies": ("longer",)},
        ),
        (
            ["--experiments", "none", "--studies", "taxonomy,beyond"],
            {"experiments": (), "studies": ("taxonomy", "beyond")},
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
                "weights_dir": Path("w"),
                "stand_in": Path("s"),
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
    asked: list[ReproduceSettings] = []

    def reproduce(settings: ReproduceSettings, _: Progress) -> ThesisResult:
        asked.append(settings)
        return stored

    monkeypatch.setattr("papagaio_thesis.run.reproduce", reproduce)
    assert papagaio("reproduce", "thesis", "--out", tmp_path, *words).code == 0
    assert [one.model_dump() for one in asked] == [
        ReproduceSettings(out=tmp_path, **changes).model_dump()
    ]


def test_json_is_the_whole_result(
    tmp_path: Path, stored: ThesisResult, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papagaio_thesis.run.reproduce", lambda *_: stored)
    ended = papagaio("reproduce", "thesis", "--out", tmp_path, "--json")
    assert ThesisResult.model_validate_json(ended.stdout) == stored


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment", "5"], "--experiments 5: should be less than or equal to 4"),
        (["--study", "astrology"], "--studies astrology: should be 'beyond', 'in-scope'"),
        (["--scale", "huge"], "--scale huge: should be 'full' or 'small'"),
        (["--data-dir", "nowhere"], "--data-dir: no train-*.parquet in nowhere/cifar10"),
        (
            ["--weights-dir", "nowhere", "--experiment", "4"],
            "--weights-dir nowhere: vgg16_imagenet.safetensors is missing",
        ),
        (["--stand-in", "nobody"], "--stand-in nobody: no such file"),
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
    assert not (tmp_path / "run").exists()
