"""Running the reproduction: what goes on, what is joined, what is refused before it begins."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import papagaio.teaching as teaching_module
import papagaio_thesis.digits as digits_module
import papagaio_thesis.run as run_module
from papagaio.auditing.log import Log
from papagaio.cli.main import main
from papagaio.errors import BadImages, BadSettings, Diverged
from papagaio.images.imageset import ImageSet
from papagaio.images.letters import LETTERS
from papagaio.networks.classifier import Classifier
from papagaio.networks.headed import Architecture, Head, build_headed
from papagaio.networks.named import build_student
from papagaio.progress import Progress, Step, no_progress
from papagaio.report import plot
from papagaio.teaching import Phase, teach
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Recipe
from papagaio.training.variants import Variants
from papagaio.weights import save_weights
from papagaio.workers import side_by_side
from papagaio_thesis.digits import ANGULAR, KINDS, ROUND, study_digits
from papagaio_thesis.figures import digits_figure, figure_5
from papagaio_thesis.inputs import IMAGE_SETS, Weights, _chosen, _teacher, teacher_phases
from papagaio_thesis.options import read_options
from papagaio_thesis.page import render
from papagaio_thesis.records import DigitRecord, ThesisResult, TrialRecord, read_thesis
from papagaio_thesis.run import Reproduction
from papagaio_thesis.superclasses import GROUPS, group_rows

# jobs side by side


def double(number: int, progress: Progress) -> int:
    progress(Step("doubling", number, 10, "numbers"))
    return 2 * number


class Doubling:
    """A job that pickles."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, progress: Progress) -> int:
        return double(self.number, progress)


def fail(_: Progress) -> int:
    raise Diverged("the loss stopped being finite")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_gives_its_result(workers: int) -> None:
    jobs = [Doubling(number) for number in range(4)]
    assert sorted(side_by_side(jobs, workers)) == [0, 2, 4, 6]


def test_one_worker_tells_its_watch(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Step] = []
    assert list(side_by_side([Doubling(3)], 1, told.append)) == [6]
    assert [step.done for step in told] == [3]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_jobs_error_comes_through(workers: int) -> None:
    with pytest.raises(Diverged, match="finite"):
        list(side_by_side([fail, fail], workers))


# weights


def test_weights_are_named_by_where_they_are_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "vgg16_imagenet.safetensors").touch()
    weights = Weights(tmp_path)
    assert weights.of("torchvision/vgg16", "random") == "random"
    assert weights.of("torchvision/vgg16", "imagenet").endswith("vgg16_imagenet.safetensors")
    assert Weights().of("torchvision/vgg16", "imagenet") == "library"
    with pytest.raises(BadSettings, match=r"mobilenet_v2_imagenet\.safetensors: not there"):
        weights.of("torchvision/mobilenet_v2", "imagenet")


def stand_in_from(file: Path) -> Classifier:
    options = read_options()
    given: Any = (options, Weights(None, file), None, Machine(), file.parent, no_progress)
    return _teacher(*given)


def test_a_stand_in_is_taken_by_the_librarys_names_and_as_it_was_taught(tmp_path: Path) -> None:
    student = build_headed(read_options().design, "random", (32, 32, 3), 10, seed=1)
    state = student.network.state_dict()
    save_file({n: t.contiguous() for n, t in state.items()}, tmp_path / "own.safetensors")
    save_weights(tmp_path / "taught.safetensors", student)
    for name in ("own", "taught"):
        found = stand_in_from(tmp_path / f"{name}.safetensors").network.state_dict()
        assert all(torch.equal(state[name], found[name]) for name in state)


@pytest.mark.parametrize("head", [None, Head(widths=(256,))])
def test_a_stand_in_that_is_not_the_whole_teacher_is_refused(
    tmp_path: Path, head: Head | None
) -> None:
    design = replace(read_options().design, head=head or Head())
    state = build_headed(design, "random", (32, 32, 3), 10, seed=1).network.state_dict()
    kept = {n: t.contiguous() for n, t in state.items() if head or n.startswith("features")}
    save_file(kept, tmp_path / "stand-in.safetensors")
    with pytest.raises(BadSettings, match=r"missing or of another shape .* the whole teacher"):
        stand_in_from(tmp_path / "stand-in.safetensors")


def test_a_stand_in_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    wanted = Reproduction(tmp_path / "run", weights=Weights(None, tmp_path / "nothing"))
    with pytest.raises(BadSettings, match="no such file"):
        run_module.reproduce(wanted)
    assert not (tmp_path / "run").exists()


def test_images_that_are_not_there_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    wanted = Reproduction(tmp_path / "run", data_dir=tmp_path)
    with pytest.raises(BadImages, match=r"cifar10: no train-\*\.parquet there; check --data-dir"):
        run_module.reproduce(wanted)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"studies": ("similar",)}, '[studies]\nsimilar = ["timm/resnet26x"]', "resnet26x"),
        ({"device": "cuda"}, "", "cuda"),
        ({}, "[studies]\ntemperatures = []", "temperatures"),
        ({}, "[students]\nbatch = 2", "batch"),
    ],
)
def test_what_will_be_needed_is_looked_for_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], options: str, message: str
) -> None:
    if "device" in changes and torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    (tmp_path / "own.toml").write_text(options)
    wanted = Reproduction(tmp_path / "run", options=tmp_path / "own.toml", **changes)
    with pytest.raises(BadSettings, match=message):
        run_module.reproduce(wanted)
    assert not (tmp_path / "run").exists()


def test_the_start_studys_weights_are_looked_for_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "stand-in").touch()
    (tmp_path / "own.toml").write_text("[teacher]\nweights = 'random'")

    def missing(weights: Weights) -> str:
        wanted = Reproduction(
            tmp_path / "run", options=tmp_path / "own.toml", weights=weights, studies=("start",)
        )
        with pytest.raises(BadSettings) as refused:
            run_module.reproduce(wanted)
        assert not (tmp_path / "run").exists()
        return str(refused.value).partition(": not there")[0]

    folder = tmp_path / "weights"
    folder.mkdir()
    assert missing(Weights(folder, tmp_path / "stand-in")).endswith(
        "mobilenet_v2_imagenet.safetensors"
    )
    (folder / "mobilenet_v2_imagenet.safetensors").touch()
    assert missing(Weights(folder)).endswith("vgg16_imagenet.safetensors")


# the teacher's phases


def test_the_two_phases_are_as_section_4_3_has_them() -> None:
    first, second = teacher_phases(read_options())
    assert (first.recipe.epochs, first.recipe.rate, first.recipe.batch) == (10, 1e-3, 32)
    assert (second.recipe.epochs, second.recipe.rate, second.recipe.batch) == (7, 1e-5, 32)
    assert (first.recipe.optimiser, first.recipe.loss) == ("adam", "cross-entropy")
    # Two dense layers, and then the last two convolutions besides.
    assert (first.trained, second.trained) == (2, 4)
    assert first.recipe.variants == Variants(0.5, (0.8, 1.2), 0.5)


def test_features_that_do_not_fit_are_computed_in_every_epoch_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    design, labels = Architecture("torchvision/mobilenet_v2", Head(widths=(8,))), np.arange(12) % 4
    phases = [Phase(Recipe("only", epochs=2, batch=6, variants=Variants(flip=0.5)), 1)]
    found, fronts = [], []

    def spy(*given: Any, **more: Any) -> Any:  # noqa: ANN401
        fronts.append(more["front"] is not None)
        return train(*given, **more)

    monkeypatch.setattr(teaching_module, "train", spy)
    for most in (0.0, 1e9):
        monkeypatch.setattr(teaching_module, "_MOST_FEATURES", most)
        student = build_headed(design, "random", (32, 32, 3), 4, seed=0)
        folder = tmp_path / str(most)
        teach(student, images, labels, phases, seed=0, machine=Machine(), folder=folder)
        found.append(torch.cat([weight.detach().flatten() for weight in student.parameters()]))
    assert fronts == [False, True]
    always, once = found
    assert torch.allclose(once, always, atol=1e-6)


def test_another_start_or_other_images_are_another_teaching(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    labels, design = np.arange(6) % 2, Architecture("timm/resnet10t", Head(widths=()))
    phases = [Phase(Recipe("only", epochs=1, batch=6), 1)]

    def kept(images: np.ndarray, start: int, seed: int, threads: int = 1) -> int:
        student = build_headed(design, "random", (32, 32, 3), 2, seed=start)
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


@pytest.mark.parametrize(
    ("found", "wanted", "complete"), [(0, None, False), (1, 2, False), (1, 1, True), (0, 0, True)]
)
def test_a_run_that_planned_nothing_yet_is_not_complete(
    tmp_path: Path, stored: ThesisResult, found: int, wanted: int | None, *, complete: bool
) -> None:
    done = run_module._Done([], None, wanted, stored.trials[:found], ["a, thesis, seed 0: broke"])
    reproduction = Reproduction(tmp_path, precision="bfloat16")
    log = Log(tmp_path / "log.jsonl")
    result = run_module._result(reproduction, stored.options, done, log)
    assert result.complete is complete
    assert result.machine.precision == "bfloat16"
    assert "Diverged: a, thesis, seed 0: broke" in render(result, "thesis.md.j2")
    assert "Diverged: a, thesis, seed 0: broke" in render(result, "thesis.html.j2")


def test_a_training_that_diverges_is_remarked_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, stored: ThesisResult
) -> None:
    record = stored.trials[0]

    class Named:
        """As much of a trial as running takes."""

        variant = "thesis"

        def __init__(self, study: str) -> None:
            self.study = study

        def of(self, found: TrialRecord) -> TrialRecord:
            return found.model_copy(update={"study": self.study})

    class Ground:
        """As much of a ground as running takes."""

        def id_of(self, trial: Named) -> str:
            return "shared" if trial.study in ("b", "c") else trial.study

    def run(_: Ground, trial: Named, __: Progress) -> TrialRecord:
        if trial.study == "a":
            raise Diverged("not finite in epoch 3")
        return record

    monkeypatch.setattr(run_module, "run_trial", run)
    told: list[Step] = []
    given: Any = (Reproduction(Path()), Ground(), [Named("a"), Named("b"), Named("c")], told.append)
    found = list(run_module._run(*given))
    # The last two are one training.
    assert [(trial.study, getattr(ended, "study", ended)) for trial, ended in found] == [
        ("a", "not finite in epoch 3"),
        ("b", "b"),
        ("c", "c"),
    ]
    assert [step.task for step in told if step.total == 0] == ["a, thesis: not finite in epoch 3"]


def test_a_training_that_diverged_ends_the_command_with_1_after_the_others_are_written(
    tmp_path: Path,
    stored: ThesisResult,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "experiment 2, thesis, torchvision/vgg16, seed 0: the loss stopped being finite"

    def work(_: object, __: object, done: run_module._Done, *___: object) -> None:
        done.planned = 2
        done.found.append(stored.trials[0])
        done.diverged.append(words)

    monkeypatch.setattr(run_module, "_check", lambda *_: None)
    monkeypatch.setattr(run_module, "_work", work)
    options = ["--scale", "small", "--studies", "none", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["papagaio", "reproduce", "thesis", *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    page = tmp_path / "thesis.html"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"papagaio: {words}; {page} is without it"
    assert words in page.read_text()
    left = read_thesis(tmp_path / "thesis.json")
    assert (left.trials, left.diverged, left.complete) == ([stored.trials[0]], [words], False)


def test_a_run_that_found_nothing_leaves_what_an_earlier_one_wrote(
    tmp_path: Path, stored: ThesisResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = stored.model_copy(update={"options": read_options("small"), "complete": True})
    (tmp_path / "thesis.json").write_text(earlier.model_dump_json())
    before = (tmp_path / "thesis.json").read_bytes()

    def work(*_: object) -> None:
        raise BadSettings("a stand-in that does not fit")

    monkeypatch.setattr(run_module, "_check", lambda *_: None)
    monkeypatch.setattr(run_module, "_work", work)
    wanted = Reproduction(tmp_path, scale="small", studies=())
    with pytest.raises(BadSettings):
        run_module.reproduce(wanted)
    assert (tmp_path / "thesis.json").read_bytes() == before
    assert not (tmp_path / "thesis.html").exists()


# groups and figures


def test_the_large_set_is_cifar_100s_train_part_and_the_small_one_its_test_part(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.toml").write_text(
        "[images]\nlarge = 250\nsmall = 900\n[studies]\nsuperclass_images = 20\n"
    )
    sizes = {name: 300 if name.endswith("train") else 200 for name in IMAGE_SETS}
    sets = {
        name: ImageSet.of(name, np.zeros((size, 1, 1, 1), np.uint8), np.arange(size) % 100)
        for name, size in sizes.items()
    }
    found = _chosen(read_options(own=tmp_path / "own.toml"), sets)
    named = {name: (images.name, len(rows)) for name, (images, rows) in found.items()}
    # A group of five classes has fifteen images here, and is left out.
    assert named == {
        "large": ("cifar100:train", 250),
        "small": ("cifar100:test", 200),
        **{group: ("cifar100:train", 20) for group in GROUPS if group != "people"},
        "all": ("cifar100:train", 20),
    }
    assert found["large"][1].tolist() == list(range(250))
    images, rows = found["vehicles"]
    assert set(images.truth[rows]) == set(GROUPS["vehicles"])


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

    def of(seed: int, *agreements: float) -> TrialRecord:
        curve = [trial.curve[0].model_copy(update={"agreement": one}) for one in agreements]
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
        "from round letters: 5 50.0 %, 8 80.0 %, 0 0.0 %, 6 60.0 %, 1 10.0 %, 4 40.0 %, 7 70.0 %,"
        " 2 20.0 %, 3 30.0 %, 9 90.0 %; from angular letters: 5 55.0 %, 8 85.0 %, 0 5.0 %,"
    ) in drawn


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Digit copies that learn for a few steps only; counts how many are made."""
    made: list[int] = []
    real = digits_module._copy

    def copy(*given: Any) -> Any:  # noqa: ANN401
        made.append(1)
        images, answers, recipe, seed, test = given
        return real(images, answers, replace(recipe, epochs=1, least_steps=1), seed, test)

    monkeypatch.setattr(digits_module, "_copy", copy)
    return lambda: len(made)


def test_digits_are_learned_from_equally_many_letters_of_each_kind(
    tmp_path: Path, quick: Callable[[], int]
) -> None:
    records = study_digits(1, tmp_path)
    assert quick() == 6
    assert [(r.letters, r.recipe) for r in records] == [
        (kind, recipe) for kind in KINDS for recipe in ("recovered-logits", "thesis-1000-steps")
    ]
    assert {r.images for r in records} == {500}
    assert all(len(r.per_digit) == 10 for r in records)
    # What is there is not made again; another number of seeds is.
    assert study_digits(1, tmp_path) == records
    assert quick() == 6
    assert study_digits(2, tmp_path)[:6] == records
    assert quick() == 18
    assert not set(ROUND) & set(ANGULAR)


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
