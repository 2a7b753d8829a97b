"""Running the reproduction: what is resumed, what is merged, what is refused before it begins."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import papagaio_thesis.digits as digits_module
import papagaio_thesis.run as run_module
from papagaio.auditing.log import Log
from papagaio.cli.main import main
from papagaio.errors import BadImages, BadSettings, Diverged
from papagaio.executors.here import in_process
from papagaio.images.imageset import ImageSet
from papagaio.images.letters import LETTERS
from papagaio.jobs import Job
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.networks.named import build_student
from papagaio.progress import Message, Progress, Step, no_progress
from papagaio.report import plot
from papagaio.teaching.phases import Phase, teach
from papagaio.training import loop
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import save_weights
from papagaio_thesis.digits import ANGULAR, KINDS, ROUND, Copy, study_digits
from papagaio_thesis.figures import digits_figure, figure_5
from papagaio_thesis.initial import initial_weights
from papagaio_thesis.inputs import PARTS, transfer_sets
from papagaio_thesis.options import read_options
from papagaio_thesis.outcomes import Outcomes
from papagaio_thesis.page import render
from papagaio_thesis.records import (
    DigitRecord,
    DivergedRecord,
    Magnified,
    MagnifiedRecord,
    ThesisResult,
    TrialRecord,
    read_thesis,
)
from papagaio_thesis.run import reproduce
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.superclasses import GROUPS, group_rows
from papagaio_thesis.teacher import load_stand_in, teacher_phases
from papagaio_thesis.trials import Trial, TrialContext

# weights


def test_initial_weights_are_random_a_file_or_downloaded(tmp_path: Path) -> None:
    file = tmp_path / "vgg16_imagenet.safetensors"
    file.touch()
    assert initial_weights("torchvision/vgg16", "random", tmp_path) == "random"
    assert initial_weights("torchvision/vgg16", "imagenet", tmp_path) == str(file)
    assert initial_weights("torchvision/vgg16", "imagenet", None) == "library"
    with pytest.raises(BadSettings, match=r"mobilenet_v2_imagenet\.safetensors is missing"):
        initial_weights("torchvision/mobilenet_v2", "imagenet", tmp_path)


def test_a_stand_in_may_have_the_librarys_names_or_those_of_a_classifier(tmp_path: Path) -> None:
    architecture = read_options().architecture()
    network = build_headed(architecture, "random", (32, 32, 3), 10, seed=1)
    state = network.network.state_dict()
    save_file({n: t.contiguous() for n, t in state.items()}, tmp_path / "own.safetensors")
    save_weights(tmp_path / "taught.safetensors", network)
    for name in ("own", "taught"):
        loaded = load_stand_in(architecture, tmp_path / f"{name}.safetensors").network.state_dict()
        assert all(torch.equal(state[name], loaded[name]) for name in state)


@pytest.mark.parametrize("head", [None, Head(widths=(256,))])
def test_a_stand_in_that_is_not_the_whole_teacher_is_refused(
    tmp_path: Path, head: Head | None
) -> None:
    architecture = replace(read_options().architecture(), head=head or Head())
    state = build_headed(architecture, "random", (32, 32, 3), 10, seed=1).network.state_dict()
    kept = {n: t.contiguous() for n, t in state.items() if head or n.startswith("features")}
    save_file(kept, tmp_path / "stand-in.safetensors")
    with pytest.raises(BadSettings, match=r"has another shape .* the whole teacher"):
        load_stand_in(read_options().architecture(), tmp_path / "stand-in.safetensors")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"stand_in": "nothing"}, "", "stand-in .*nothing: no such file"),
        ({"data_dir": "."}, "", r"data-dir: no train-\*\.parquet in"),
        ({"studies": ("similar",)}, '[studies]\nsimilar = ["timm/resnet26x"]', "resnet26x"),
        ({"device": "cuda"}, "", "cuda"),
        ({}, "[studies]\ntemperatures = []", "temperatures"),
        ({}, "[students]\nbatch = 2", "batch"),
    ],
)
def test_what_is_needed_is_checked_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], options: str, message: str
) -> None:
    if "device" in changes and torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    (tmp_path / "own.toml").write_text(options)
    paths = {n: tmp_path / v if n in ("stand_in", "data_dir") else v for n, v in changes.items()}
    settings = ReproduceSettings(out=tmp_path / "run", options=tmp_path / "own.toml", **paths)
    with pytest.raises((BadSettings, BadImages), match=message):
        reproduce(settings)
    assert not (tmp_path / "run").exists()


def test_the_weights_of_the_study_start_are_checked_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "stand-in").touch()
    (tmp_path / "own.toml").write_text("[teacher]\nweights = 'random'")

    def missing(stand_in: Path | None) -> str:
        settings = ReproduceSettings(
            out=tmp_path / "run",
            options=tmp_path / "own.toml",
            weights_dir=folder,
            stand_in=stand_in,
            studies=("start",),
        )
        with pytest.raises(BadSettings) as refused:
            reproduce(settings)
        assert not (tmp_path / "run").exists()
        return str(refused.value.args[0]).partition(" is missing")[0]

    folder = tmp_path / "weights"
    folder.mkdir()
    assert missing(tmp_path / "stand-in") == "mobilenet_v2_imagenet.safetensors"
    (folder / "mobilenet_v2_imagenet.safetensors").touch()
    assert missing(None) == "vgg16_imagenet.safetensors"


# the teacher's phases


def test_the_two_phases_are_as_section_4_3_has_them() -> None:
    first, second = teacher_phases(read_options())
    assert (first.recipe.epochs, first.recipe.rate, first.recipe.batch) == (10, 1e-3, 32)
    assert (second.recipe.epochs, second.recipe.rate, second.recipe.batch) == (7, 1e-5, 32)
    assert (first.recipe.optimiser, first.recipe.loss) == ("adam", "cross-entropy")
    # Two dense layers, and then the last two convolutions besides.
    assert (first.trained, second.trained) == (2, 4)
    assert first.recipe.variants == Variants(0.5, (0.8, 1.2), 0.5)


def test_another_start_or_other_images_are_another_teaching(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    labels, architecture = np.arange(6) % 2, Architecture("timm/resnet10t", Head(widths=()))
    phases = [Phase(Recipe("only", epochs=1, batch=6), 1)]

    def kept(images: np.ndarray, start: int, seed: int, threads: int = 1) -> int:
        student = build_headed(architecture, "random", (32, 32, 3), 2, seed=start)
        machine = Machine(threads=threads)
        teach(student, images, labels, phases, seed=seed, machine=machine, folder=tmp_path)
        return len(list(tmp_path.glob("phase-1-*.safetensors")))

    assert [kept(images, 0, 0), kept(images, 0, 0), kept(images, 1, 0)] == [1, 1, 2]
    assert [kept(images, 0, 1), kept(images + 1, 0, 0)] == [3, 4]
    # Other cores are no other teaching.
    assert kept(images, 0, 0, threads=2) == 4


def test_other_labels_and_another_phase_are_another_teaching(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    labels = np.arange(6) % 2
    first, second = (Phase(Recipe(name, epochs=1, batch=6), 1) for name in ("one", "two"))

    def kept(labels: np.ndarray, *phases: Phase) -> list[int]:
        student = build_student("small-cnn", "random", images, 2, seed=0)
        teach(student, images, labels, phases, seed=0, machine=Machine(), folder=tmp_path)
        return [len(list(tmp_path.glob(f"phase-{n}-*.safetensors"))) for n in (1, 2)]

    assert kept(labels, first, second) == [1, 1]
    assert kept(1 - labels, first, second) == [2, 2]
    # The same second phase after another first one is another second one.
    assert kept(labels, replace(first, trained=2), second) == [3, 3]
    assert kept(labels, first, replace(second, recipe=replace(second.recipe, rate=1e-4))) == [3, 4]
    assert kept(labels, first, second) == [3, 4]
    assert not list(tmp_path.glob("*.checkpoint"))


# how a run ends

BROKEN = DivergedRecord(
    study="experiment 2",
    variant="thesis",
    body="torchvision/vgg16",
    seed=0,
    reason="the loss is no longer finite",
)


@pytest.mark.parametrize(
    ("trials", "planned", "complete"), [(0, None, False), (1, 2, False), (1, 1, True), (0, 0, True)]
)
def test_a_run_that_has_planned_nothing_yet_is_not_complete(
    tmp_path: Path, stored: ThesisResult, trials: int, planned: int | None, *, complete: bool
) -> None:
    outcomes = Outcomes([], None, planned, stored.trials[:trials])
    settings = ReproduceSettings(out=tmp_path, precision="bfloat16")
    log = Log(tmp_path / "log.jsonl")
    result = run_module._result(settings, stored.options, outcomes, log)
    assert result.complete is complete
    assert result.machine.precision == "bfloat16"


@pytest.fixture
def context(tmp_path: Path) -> TrialContext:
    nothing: Any = None
    return TrialContext(tmp_path, nothing, nothing, 0)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, stored: ThesisResult) -> list[Any]:
    """Three trials: the first diverges, the last two are one training."""
    trial: Any = stored.trials[0]

    class Named:
        """What running needs of a trial."""

        variant, seed, architecture, marks = "thesis", 0, Architecture("b"), ()
        diverged, labelled = Trial.diverged, Trial.labelled

        def __init__(self, study: str) -> None:
            self.study = study

    def job(_: TrialContext, named: Named) -> Job[TrialRecord]:
        def run(_: Progress) -> TrialRecord:
            if named.study == "a":
                raise Diverged("not finite in epoch 3")
            record: TrialRecord = trial
            return record

        return Job(named.study, 1, run, lambda: None)

    monkeypatch.setattr(run_module, "trial_job", job)
    monkeypatch.setattr(
        TrialContext, "id_of", lambda _, one: "b" if one.study in ("b", "explosion") else one.study
    )
    return [Named("a"), Named("b"), Named("explosion")]


def test_a_training_that_diverges_is_shown_and_the_others_continue(
    tmp_path: Path, context: TrialContext, shared: list[Any], stored: ThesisResult
) -> None:
    told: list[Step | Message] = []
    outcomes, log = Outcomes([]), Log(tmp_path / "log.jsonl")
    settings = ReproduceSettings(studies=())
    run_module._train(settings, context, shared, outcomes, log, told.append)
    # The last two are one training.
    assert [record.study for record in outcomes.trials] == ["b", "explosion"]
    assert [str(record) for record in outcomes.diverged] == [
        "a, thesis, b, seed 0: not finite in epoch 3"
    ]
    assert Message("a: not finite in epoch 3") in told
    assert told[-1] == Step("training", 2, 2, "trainings", stored.trials[0].note)


def test_an_interrupted_run_keeps_the_marks_that_were_reached(
    tmp_path: Path,
    context: TrialContext,
    shared: list[Any],
    stored: ThesisResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(told: Step | Message) -> None:
        if told == Message("a: not finite in epoch 3"):
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "unfinished", lambda *_: stored.trials[0])
    outcomes, log = Outcomes([]), Log(tmp_path / "log.jsonl")
    settings = ReproduceSettings(studies=())
    with pytest.raises(KeyboardInterrupt):
        run_module._train(settings, context, shared, outcomes, log, interrupt)
    assert [record.study for record in outcomes.unfinished][-2:] == ["b", "explosion"]
    assert not outcomes.is_complete
    assert not outcomes.is_empty


def test_students_on_magnified_images_are_measured_with_progress(
    tmp_path: Path, context: TrialContext, shared: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = [Magnified(factor=1, accuracy=0.5, loss=1)]

    def magnify(_: TrialContext, trial: Trial, __: Progress) -> MagnifiedRecord:
        return MagnifiedRecord(
            study=trial.study, variant="v", body="b", images=1, as_trained=look, bounded=look
        )

    monkeypatch.setattr(run_module, "magnify", magnify)
    told: list[Step | Message] = []
    outcomes, log = Outcomes([]), Log(tmp_path / "log.jsonl")
    settings = ReproduceSettings(studies=("magnified",))
    run_module._train(settings, context, shared, outcomes, log, told.append)
    assert [record.study for record in outcomes.magnified] == ["explosion"]
    assert told[-2:] == [Step("magnifying images", done, 1, "students") for done in (0, 1)]


def test_a_training_that_diverged_ends_the_command_with_1_after_the_others_are_written(
    tmp_path: Path,
    stored: ThesisResult,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_: object, __: object, outcomes: Outcomes, *___: object) -> None:
        outcomes.planned = 2
        outcomes.trials.append(stored.trials[0])
        outcomes.diverged.append(BROKEN)

    monkeypatch.setattr(run_module, "check_requirements", lambda *_: None)
    monkeypatch.setattr(run_module, "_run", run)
    options = ["--scale", "small", "--studies", "none", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["papagaio", "reproduce", "thesis", *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    page = tmp_path / "thesis.html"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"papagaio: {BROKEN}; {page} is without these trainings"
    left = read_thesis(tmp_path / "thesis.json")
    assert (left.trials, left.diverged, left.complete) == ([stored.trials[0]], [BROKEN], False)
    assert f"Diverged: {BROKEN}" in page.read_text()
    assert f"Diverged: {BROKEN}" in render(left, "thesis.md.j2")


def test_a_run_without_outcomes_leaves_what_an_earlier_one_wrote(
    tmp_path: Path, stored: ThesisResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = stored.model_copy(update={"options": read_options("small"), "complete": True})
    (tmp_path / "thesis.json").write_text(earlier.model_dump_json())
    before = (tmp_path / "thesis.json").read_bytes()

    def run(*_: object) -> None:
        raise BadSettings("a stand-in that does not fit")

    monkeypatch.setattr(run_module, "check_requirements", lambda *_: None)
    monkeypatch.setattr(run_module, "_run", run)
    with pytest.raises(BadSettings):
        reproduce(ReproduceSettings(out=tmp_path, scale="small", studies=()))
    assert (tmp_path / "thesis.json").read_bytes() == before
    assert not (tmp_path / "thesis.html").exists()


# groups and figures


def test_the_large_set_is_cifar_100s_train_part_and_the_small_one_its_test_part(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.toml").write_text(
        "[images]\nlarge = 250\nsmall = 900\n[studies]\nsuperclass_images = 20\n"
    )
    random = np.random.default_rng(0)
    cifar100 = {
        part: ImageSet.of(
            part, random.integers(0, 256, (size, 2, 2, 3), np.uint8), np.arange(size) % 100
        )
        for part, size in zip(PARTS, (300, 200), strict=True)
    }
    sets = transfer_sets(read_options(own=tmp_path / "own.toml"), cifar100)
    # A group of five classes has fifteen images here, and is left out.
    assert {name: (images.name, len(images)) for name, images in sets.items()} == {
        "large": ("train: large", 250),
        "small": ("test: small", 200),
        **{group: (f"train: {group}", 20) for group in GROUPS if group != "people"},
        "all": ("train: all", 20),
    }
    assert np.array_equal(sets["large"].pixels, cifar100["train"].pixels[:250])
    assert set(sets["vehicles"].required_labels) == set(GROUPS["vehicles"])


def test_groups_have_as_many_images_each_or_are_left_out() -> None:
    labels = np.arange(1000) % 100
    groups = group_rows(labels, 60)
    assert "people" not in groups  # ten images of each of five classes
    assert {len(rows) for rows in groups.values()} == {60}
    assert len({tuple(rows) for rows in groups.values()}) == len(groups)
    assert all(np.all(np.diff(rows) > 0) for rows in groups.values())


def test_figure_5_has_a_line_an_experiment(stored: ThesisResult) -> None:
    drawn = figure_5(stored)
    assert drawn is not None
    assert drawn.count("<polyline") == 2 * 4  # and as many in the legend
    assert "experiment 3: MobileNetV2, large set" in drawn
    assert figure_5(stored.model_copy(update={"trials": []})) is None
    assert digits_figure([], "recovered-logits") is None


def test_figure_5_draws_the_distillation_accuracy_of_each_epoch_as_the_mean_over_seeds(
    stored: ThesisResult,
) -> None:
    (trial,) = (t for t in stored.trials if (t.study, t.variant) == ("experiment 4", "thesis"))

    def of(seed: int, *accuracies: float) -> TrialRecord:
        curve = [
            trial.curve[0].model_copy(update={"distillation_accuracy": one}) for one in accuracies
        ]
        return trial.model_copy(update={"seed": seed, "curve": curve})

    trials = [of(0, 0.1, 0.3, 0.5, 1.0), of(1, 0.3, 0.5, 0.5, 0.8)]
    svg = ET.fromstring(str(figure_5(stored.model_copy(update={"trials": trials}))))  # noqa: S314
    drawn = svg.findall(".//polyline")[0].get("points", "")
    x, y = np.array([point.split(",") for point in drawn.split()], float).T
    across = (x - plot.LEFT) / (plot.RIGHT - plot.LEFT)
    upwards = (plot.BOTTOM - y) / (plot.BOTTOM - plot.TOP)
    assert across == pytest.approx([0.25, 0.5, 0.75, 1], abs=1e-3)
    assert upwards == pytest.approx([0.2, 0.4, 0.5, 0.9], abs=1e-3)
    words = "experiment 4: MobileNetV2, small set: 90.0 % at the end"
    assert words in "".join(svg.itertext())


def test_the_digits_figure_says_each_digits_own_accuracy() -> None:
    digits = [
        DigitRecord(
            letters=letters,
            recipe=recipe,
            images=5,
            seed=seed,
            accuracy=0.5,
            per_digit=[digit / 10 + more for digit in range(10)],
        )
        for letters, shift in (("round", 0.0), ("angular", 0.05))
        for recipe, other in (("r", 0.0), ("another", 0.04))
        for seed, more in enumerate((shift + other - 0.01, shift + other + 0.01))
    ]
    drawn = digits_figure(digits, "r")
    assert drawn is not None
    # Round digits, angular ones, and the others.
    assert (
        "from round letters: 5 50.0 %, 8 80.0 %, 0 0 %, 6 60.0 %, 1 10.0 %, 4 40.0 %, 7 70.0 %,"
        " 2 20.0 %, 3 30.0 %, 9 90.0 %; from angular letters: 5 55.0 %, 8 85.0 %, 0 5.0 %,"
    ) in drawn


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Digit copies that learn for a few steps only; counts how many are made."""
    made: list[int] = []
    real = loop.train

    def train(*given: Any, **more: Any) -> Any:  # noqa: ANN401
        made.append(1)
        network, images, answers, recipe = given
        return real(network, images, answers, replace(recipe, epochs=1, least_steps=1), **more)

    monkeypatch.setattr("papagaio_thesis.digits.train", train)
    return lambda: len(made)


def copies(seeds: int, folder: Path, progress: Progress = no_progress) -> list[DigitRecord]:
    outcomes: Iterator[Any] = study_digits(seeds, folder, in_process, progress)
    return sorted(outcomes, key=lambda one: (one.seed, list(KINDS).index(one.letters), one.recipe))


def test_digits_are_learned_from_equally_many_letters_of_each_kind(
    tmp_path: Path, quick: Callable[[], int]
) -> None:
    told: list[Step | Message] = []
    records = copies(1, tmp_path, told.append)
    assert quick() == 6
    steps = [step for step in told if isinstance(step, Step) and step.task == "training"]
    assert [(step.done, step.total) for step in steps] == [(done, 6) for done in range(7)]
    assert [(r.letters, r.recipe) for r in records] == [
        (kind, recipe) for kind in KINDS for recipe in ("recovered-logits", "thesis-1000-steps")
    ]
    assert {r.images for r in records} == {500}
    assert all(len(r.per_digit) == 10 for r in records)
    # Finished copies are not made again, and nothing is drawn for them.
    again: list[Step | Message] = []
    assert copies(1, tmp_path, again.append) == records
    assert quick() == 6
    assert not [step for step in again if isinstance(step, Step)]
    assert not set(ROUND) & set(ANGULAR)


def test_a_copy_of_the_digits_that_diverges_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(copy: Copy, _: Progress) -> DigitRecord:
        if copy.letters == "round":
            raise Diverged("not finite")
        return DigitRecord(
            letters=copy.letters,
            recipe=copy.recipe.name,
            images=1,
            seed=copy.seed,
            accuracy=0.5,
            per_digit=[0.5] * 10,
        )

    monkeypatch.setattr(digits_module, "run_copy", run)
    monkeypatch.setattr(digits_module, "_ask", lambda *_: None)
    outcomes = list(study_digits(1, tmp_path, in_process))
    assert sum(isinstance(one, DigitRecord) for one in outcomes) == 4
    diverged = [str(one) for one in outcomes if isinstance(one, DivergedRecord)]
    assert sorted(diverged) == [
        f"taxonomy, round letters by {recipe}, small-cnn, seed 0: not finite"
        for recipe in ("recovered-logits", "thesis-1000-steps")
    ]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_copy_of_the_digits_learns_from_its_own_letters_each_as_often(kind: str) -> None:
    letter = np.random.default_rng(0).permutation(np.repeat(np.arange(len(LETTERS)), 250))
    rows = digits_module._chosen(letter, KINDS[kind], seed=1)
    counts = np.bincount(letter[rows], minlength=len(LETTERS))
    assert len(set(rows.tolist())) == 500
    assert {LETTERS[i] for i in np.flatnonzero(counts)} == set(KINDS[kind])
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 1
    # Another seed takes other drawings.
    assert set(rows.tolist()) != set(digits_module._chosen(letter, KINDS[kind], seed=2).tolist())
