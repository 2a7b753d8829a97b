"""What an audit found -> its record: pictures, references, queries, sets."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from papagaio.auditing.inputs import Purchase, Purpose
from papagaio.auditing.record import (
    machine_record,
    pictures,
    queries_record,
    references_record,
    set_record,
)
from papagaio.images.imageset import ImageSet
from papagaio.result import Picture
from papagaio.settings import Settings, settings_from
from papagaio.training.machine import Machine

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
    return settings_from(
        {"black-box": "box.py:f", "transfer": "t", "test": "t", "budget": 5, "out": "o"} | changes,
        "test",
    )


def purchase(purpose: Purpose, *values: int, rows: list[int] | None = None) -> Purchase:
    images = ImageSet.of(purpose, shades(*values))
    return Purchase(purpose, images, np.array(rows or range(len(values)), np.int64))


# Pictures.


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_a_png_of_the_same_pixels(channels: int) -> None:
    images = RANDOM.integers(0, 256, (12, 7, 5, channels), np.uint8)
    answers = random_answers(12, 3)
    found = pictures(images, answers, None)
    assert len(found) == 12
    for picture in found:
        (row,) = np.flatnonzero(answers[:, int(picture.named)] == np.float32(picture.share))
        assert np.array_equal(pixels_of(picture), images[row].squeeze())


def test_pictures_show_what_each_class_is_surest_of_first() -> None:
    answers = random_answers(200, 4)
    found = pictures(np.zeros((200, 2, 2, 1), np.uint8), answers, None)
    assert [picture.named for picture in found] == [str(one) for one in range(4) for _ in range(6)]
    for one in range(4):
        shares = [picture.share for picture in found if picture.named == str(one)]
        won = answers[answers.argmax(1) == one, one]
        assert shares == pytest.approx(sorted(won, reverse=True)[:6])


@pytest.mark.parametrize(
    ("classes", "count"), [(2, 24), (5, 20), (10, 20), (20, 20), (24, 24), (25, 24), (100, 24)]
)
def test_there_are_24_pictures_at_most(classes: int, count: int) -> None:
    answers = np.tile(np.eye(classes, dtype=np.float32), (30, 1))
    found = pictures(np.zeros((len(answers), 1, 1, 1), np.uint8), answers, None)
    assert len(found) == count
    assert len({picture.named for picture in found}) == min(classes, 24)


def test_pictures_are_named_by_the_classes_names() -> None:
    answers = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    found = pictures(shades(10, 20, 30), answers, ["arara", "<tucano>"])
    assert [(picture.named, int(pixels_of(picture)[0, 0])) for picture in found] == [
        ("arara", 20),
        ("<tucano>", 10),
        ("<tucano>", 30),
    ]


def test_a_class_that_is_never_named_has_no_picture() -> None:
    answers = np.array([[0.1, 0.9, 0], [0.2, 0.8, 0]], np.float32)
    assert [p.named for p in pictures(shades(1, 2), answers, None)] == ["1", "1"]


def test_of_equal_answers_the_first_image_is_shown() -> None:
    answers = np.tile(np.array([[1, 0]], np.float32), (40, 1))
    found = pictures(shades(*range(40)), answers, None)
    assert [int(pixels_of(picture)[0, 0]) for picture in found] == list(range(12))


# References.


@pytest.mark.parametrize(
    ("labels", "classes", "majority"),
    [([0, 1, 2, 3], 4, 0.25), ([2, 2, 2, 0, 1], 10, 0.6), ([1, 1, 0, 0], 2, 0.5), ([7], 8, 1.0)],
)
def test_references_are_chance_and_the_most_frequent_class(
    labels: list[int], classes: int, majority: float
) -> None:
    found = references_record(np.array(labels), classes)
    assert found.chance.value == found.chance.low == found.chance.high == 1 / classes
    assert found.majority.value == pytest.approx(majority)
    assert found.chance.n == found.majority.n == len(labels)


def test_the_majoritys_interval_is_wilsons() -> None:
    # 6 of 10: the textbook's Wilson interval is 0.3127 to 0.8318.
    found = references_record(np.array([0] * 6 + [1] * 4), 2).majority
    assert (found.low, found.high) == pytest.approx((0.3127, 0.8318), abs=1e-4)


# Queries.


def test_an_image_of_two_purposes_counts_once_in_the_total() -> None:
    bought = [
        purchase("transfer", 1, 2, 3, 4, 5),
        purchase("test", 5, 6),
        purchase("noise", 7, 8, 9),
        purchase("own", 1, 6, 7, 10),
    ]
    found = queries_record(settings(), bought, 3, 25)
    assert (found.budget, found.spent, found.scoring, found.controls) == (5, 5, 2, 7)
    assert found.total == 10
    assert (found.ledger, found.interrupted) == (25, 3)


def test_repeated_images_of_a_set_and_rows_not_asked_about_are_no_queries() -> None:
    bought = [purchase("transfer", 1, 1, 2, 9, rows=[0, 1, 2]), purchase("test", 6, 6, 6)]
    found = queries_record(settings(budget=4), bought, 0, 7)
    assert (found.budget, found.spent, found.scoring, found.controls) == (4, 2, 1, 0)
    assert found.total == 3


@pytest.mark.parametrize(("price", "expected"), [(None, None), (0, 0), (1.5, 0.0045), (1e6, 3000)])
def test_the_price_is_that_of_the_copies_own_queries(
    price: float | None, expected: float | None
) -> None:
    bought = [purchase("transfer", 1, 2, 3), purchase("test", 4), purchase("noise", 5)]
    found = queries_record(settings(**{"price-per-1000": price}), bought, 9, 7)
    assert found.price == expected


# Sets, and the machine.


def test_a_set_is_its_name_size_distinct_images_and_digest() -> None:
    images = ImageSet.of("shades", shades(1, 2, 1, 3, 3))
    found = set_record(images)
    assert (found.name, found.images, found.distinct) == ("shades", 5, 3)
    assert found.digest == images.digest
    assert set_record(ImageSet.of("x", shades(2, 1, 1, 3, 3))).digest != found.digest
    assert set_record(ImageSet.of("x", shades(1, 2, 1, 3, 3))).digest == found.digest


def test_the_machines_record_holds_what_was_chosen() -> None:
    found = machine_record(Machine("cpu", "bfloat16", 3), 2)
    assert (found.device, found.precision, found.threads, found.workers) == (
        "cpu",
        "bfloat16",
        3,
        2,
    )
    assert found.cores >= 1
    assert all((found.cpu, found.torch, found.python, found.system))
