"""The parts of a result that need no training: pictures, references, queries, sets."""

import base64
import io
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from papagaio.auditing import describing
from papagaio.auditing.describing import (
    black_box_record,
    class_names_of,
    machine_record,
    named_classes,
    package_versions,
    pictures,
    queries_record,
    references_record,
    source_revision,
    transfer_record,
)
from papagaio.auditing.plan import Plan
from papagaio.blackboxes.contract import Contract
from papagaio.blackboxes.function import FunctionBox
from papagaio.executors.options import ExecutorOptions
from papagaio.images.imageset import ImageSet, SourceNotes
from papagaio.ledger import Question, Totals
from papagaio.options import validated
from papagaio.result import Picture
from papagaio.settings import Settings
from papagaio.training.machine import Machine

if TYPE_CHECKING:
    from papagaio.controls import Purpose

RANDOM = np.random.default_rng(4)


def random_answers(count: int, classes: int) -> NDArray[np.float32]:
    return np.asarray(softmax(RANDOM.normal(0, 3, (count, classes)), axis=1), np.float32)


def shades(*values: int) -> NDArray[np.uint8]:
    """Images of 2 x 2, each of one shade: the same shade is the same image."""
    return np.repeat(np.array(values, np.uint8), 4).reshape(-1, 2, 2, 1)


def pixels_of(picture: Picture) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(picture.png, validate=True))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def settings(**changes: Any) -> Settings:  # noqa: ANN401
    needed = {"black-box": "box.py:f", "transfer": "t", "test": "t", "budget": 5, "out": "o"}
    return validated(Settings, needed | changes)


def plan(**shown: tuple[int, ...]) -> Plan:
    """A plan that asks about images of these shades, by purpose."""
    images = {
        cast("Purpose", purpose): ImageSet.of(purpose, shades(*values))
        for purpose, values in shown.items()
    }
    return Plan(images, tuple(images), ())


def totals(answers: int, interrupted: int) -> Totals:
    return Totals(Question("box", "probabilities"), answers, 1, interrupted, "then", "now")


# Pictures.


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_a_png_of_the_same_pixels(channels: int) -> None:
    images = RANDOM.integers(0, 256, (12, 7, 5, channels), np.uint8)
    answers = random_answers(12, 3)
    made = pictures(images, answers, None)
    assert len(made) == 12
    for picture in made:
        (row,) = np.flatnonzero(answers[:, int(picture.named)] == np.float32(picture.share))
        assert np.array_equal(pixels_of(picture), images[row].squeeze())


def test_pictures_show_what_each_class_is_surest_of_first() -> None:
    answers = random_answers(200, 4)
    made = pictures(np.zeros((200, 2, 2, 1), np.uint8), answers, None)
    assert [picture.named for picture in made] == [str(one) for one in range(4) for _ in range(6)]
    for one in range(4):
        shares = [picture.share for picture in made if picture.named == str(one)]
        won = answers[answers.argmax(1) == one, one]
        assert shares == pytest.approx(sorted(won, reverse=True)[:6])


@pytest.mark.parametrize(
    ("classes", "count"), [(2, 24), (5, 20), (10, 20), (20, 20), (24, 24), (25, 24), (100, 24)]
)
def test_there_are_24_pictures_at_most(classes: int, count: int) -> None:
    answers = np.tile(np.eye(classes, dtype=np.float32), (30, 1))
    made = pictures(np.zeros((len(answers), 1, 1, 1), np.uint8), answers, None)
    assert len(made) == count
    assert len({picture.named for picture in made}) == min(classes, 24)


def test_pictures_are_of_the_classes_that_are_named_most() -> None:
    named = np.repeat(np.arange(30), [1, 1, 1, 1, 1, 1, *[2] * 24])
    made = pictures(np.zeros((54, 1, 1, 1), np.uint8), np.eye(30, dtype=np.float32)[named], None)
    assert [picture.named for picture in made] == [str(one) for one in range(6, 30)]


def test_pictures_are_named_by_the_classes_names() -> None:
    answers = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    made = pictures(shades(10, 20, 30), answers, ["arara", "<tucano>"])
    assert [(picture.named, int(pixels_of(picture)[0, 0])) for picture in made] == [
        ("arara", 20),
        ("<tucano>", 10),
        ("<tucano>", 30),
    ]


def test_a_class_that_is_never_named_has_no_picture() -> None:
    answers = np.array([[0.1, 0.9, 0], [0.2, 0.8, 0]], np.float32)
    assert [p.named for p in pictures(shades(1, 2), answers, None)] == ["1", "1"]


def test_of_equal_answers_the_first_image_is_shown() -> None:
    answers = np.tile(np.array([[1, 0]], np.float32), (40, 1))
    made = pictures(shades(*range(40)), answers, None)
    assert [int(pixels_of(picture)[0, 0]) for picture in made] == list(range(12))


# References.


@pytest.mark.parametrize(
    ("labels", "classes", "majority"),
    [([0, 1, 2, 3], 4, 0.25), ([2, 2, 2, 0, 1], 10, 0.6), ([1, 1, 0, 0], 2, 0.5), ([7], 8, 1.0)],
)
def test_references_are_chance_and_the_most_frequent_class(
    labels: list[int], classes: int, majority: float
) -> None:
    made = references_record(np.array(labels), classes)
    assert made.chance.value == made.chance.low == made.chance.high == 1 / classes
    assert made.majority.value == pytest.approx(majority)
    assert made.chance.n == made.majority.n == len(labels)


def test_the_majoritys_interval_is_wilsons() -> None:
    # 6 of 10: the textbook's Wilson interval is 0.3127 to 0.8318.
    made = references_record(np.array([0] * 6 + [1] * 4), 2).majority
    assert (made.low, made.high) == pytest.approx((0.3127, 0.8318), abs=1e-4)


# Queries.


def test_an_image_of_two_purposes_counts_once_in_the_total() -> None:
    asked = plan(transfer=(1, 2, 3, 4, 5), test=(5, 6), noise=(7, 8, 9), own=(1, 6, 7, 10))
    record = queries_record(settings(), asked, totals(25, 3), (0, None), 0)
    assert (record.budget, record.spent, record.scoring, record.controls) == (5, 5, 2, 7)
    assert record.total == 10
    assert (record.ledger, record.interrupted) == (25, 3)


def test_repeated_images_of_a_set_are_no_queries() -> None:
    asked = plan(transfer=(1, 1, 2), test=(6, 6, 6))
    record = queries_record(settings(budget=4), asked, totals(7, 0), (0, None), 0)
    assert (record.budget, record.spent, record.scoring, record.controls) == (4, 2, 1, 0)
    assert record.total == 3


@pytest.mark.parametrize(
    ("price", "copier", "owner"),
    [(None, None, None), (0, 0, 0), (1.5, 0.0045, 0.0075), (1e6, 3000, 5000)],
)
def test_a_copier_pays_for_the_transfer_images_and_the_owner_for_all(
    price: float | None, copier: float | None, owner: float | None
) -> None:
    asked = plan(transfer=(1, 2, 3), test=(4,), noise=(5,))
    record = queries_record(
        settings(**{"price-per-1000": price}), asked, totals(9, 7), (0, None), 0
    )
    assert (record.price, record.price_total) == (copier, owner)


# Sets, the black box and the machine.


def test_a_set_is_its_name_size_distinct_images_and_digest() -> None:
    images = ImageSet.of("shades", shades(1, 2, 1, 3, 3))
    record = describing.test_record(images, 4)
    assert (record.name, record.images, record.distinct) == ("shades", 5, 3)
    assert (record.digest, record.entries, record.near_duplicates) == (images.digest, 5, 4)
    other = ImageSet.of("x", shades(2, 1, 1, 3, 3))
    assert describing.test_record(other, 0).digest != record.digest


def test_what_reading_the_transfer_set_showed_is_recorded() -> None:
    notes = SourceNotes(900, {".heic": 3}, broken=("a.jpg", "b\udce9.jpg"), repeated=2, rotated=1)
    images = replace(ImageSet.of("photos", shades(1, 2)), notes=notes)
    record = transfer_record(images)
    assert (record.entries, record.images, record.skipped) == (900, 2, {".heic": 3})
    assert (record.broken, record.repeated, record.rotated) == (["a.jpg", "b\ufffd.jpg"], 2, 1)


def test_every_class_is_counted_also_one_that_is_never_named() -> None:
    answers = np.eye(3, dtype=np.float32)[[1, 1, 0]]
    assert [(one.name, one.images) for one in named_classes(answers, None)] == [
        ("0", 1),
        ("1", 2),
        ("2", 0),
    ]
    assert [one.name for one in named_classes(answers, ["a", "b", "c"])] == ["a", "b", "c"]


def box(names: tuple[str, ...] | None) -> FunctionBox:
    contract = Contract(2, 2, 1, classes=2, class_names=names)
    return FunctionBox("box", "box-1", contract, lambda _: np.empty((0, 2), np.float32))


@pytest.mark.parametrize(
    ("own", "of_the_test_set", "names"),
    [
        (("a", "b"), ("x", "y"), ["a", "b"]),
        (None, ("x", "y"), ["x", "y"]),
        (None, ("x",), None),
        (None, None, None),
    ],
)
def test_classes_are_named_by_the_black_box_or_else_by_the_test_set(
    own: tuple[str, ...] | None, of_the_test_set: tuple[str, ...] | None, names: list[str] | None
) -> None:
    test = ImageSet.of("test", shades(1, 2), np.array([0, 1]), of_the_test_set)
    assert class_names_of(box(own), test) == names


def test_a_black_box_that_names_one_class_is_recorded_as_such() -> None:
    labels = np.arange(100) % 2
    record = black_box_record(box(None), None, np.eye(2, dtype=np.float32)[labels * 0], labels)
    assert record.better_than_majority is False
    assert record.almost_one_class is True
    assert (record.most_named.name, record.most_named.images) == ("0", 100)


def test_the_machines_record_holds_what_was_chosen() -> None:
    made = machine_record(
        Machine("cpu", "bfloat16", 3), "measured", ExecutorOptions(workers=2, executor="slurm")
    )
    assert (made.device, made.precision, made.threads, made.workers, made.executor) == (
        "cpu",
        "bfloat16",
        3,
        2,
        "slurm",
    )
    assert made.cores >= 1
    assert made.precision_reason == "measured"
    assert all((made.cpu, made.python, made.system))
    assert {"torch", "numpy"} <= package_versions().keys()


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    command = ["git", "-C", str(folder), *who, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_revision_is_that_of_the_checkout_the_package_runs_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "describing.py"
    file.write_text("")
    monkeypatch.setattr(describing, "__file__", str(file))
    assert source_revision() is None
    git(tmp_path, "init", "-q")
    # Somebody else's checkout, into which the package is installed.
    assert source_revision() is None
    git(tmp_path, "add", "."), git(tmp_path, "commit", "-qm", "first")
    revision = source_revision()
    assert revision is not None
    assert (revision.commit, revision.dirty) == (git(tmp_path, "rev-parse", "HEAD"), False)
    file.write_text("changed")
    revision = source_revision()
    assert revision is not None
    assert revision.dirty
