"""The demo's own claim, on one of its budgets and one of its seeds: letters teach digits."""

from functools import partial

import pytest

from papagaio import demo
from papagaio.demo import attacks
from papagaio.findings.headline import headline
from papagaio.images.choosing import load
from papagaio.images.letters import LETTERS
from papagaio.images.named import open_source
from papagaio.result import Result
from papagaio.settings import AuditOptions


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "BUDGETS", (500,))
        patch.setattr(demo, "SEEDS", (0,))
        # Without the thesis's recipe, and the controls that take longest.
        patch.setattr(demo, "attacks", lambda shape: attacks(shape)[::2])
        options = partial(AuditOptions, controls=("shuffled", "own-data"))
        patch.setattr(demo, "AuditOptions", options)
        return demo.demo(tmp_path_factory.mktemp("demo") / "run", workers=1)


def accuracy(result: Result, response: str, kind: str = "copy") -> float:
    rows = [row for row in result.summary if (row.kind, row.response) == (kind, response)]
    figure = rows[0].accuracy
    assert figure is not None
    return figure.value


def test_the_black_box_reads_digits_it_has_not_seen(result: Result) -> None:
    assert result.black_box.accuracy.n == 590
    assert result.black_box.accuracy.value > 0.985


@pytest.mark.parametrize(("response", "floor"), [("probabilities", 0.965), ("label", 0.80)])
def test_a_copy_that_has_only_seen_letters_reads_digits(
    result: Result, response: str, floor: float
) -> None:
    assert accuracy(result, response) >= floor


def test_shuffled_answers_teach_nothing_and_the_owners_data_everything(result: Result) -> None:
    assert accuracy(result, "probabilities", "floor:shuffled") < 0.25
    assert accuracy(result, "probabilities", "ceiling:own-data") > 0.97


def test_the_thesiss_recipe_stands_beside_the_default() -> None:
    assert [(one.response, one.recipe.name) for one in attacks((8, 8, 1))] == [
        ("probabilities", "auto"),
        ("probabilities", "thesis-10-epochs"),
        ("label", "auto"),
    ]


def test_the_headline_is_about_all_letters(result: Result) -> None:
    assert {row.seeds for row in result.summary} == {1}
    assert headline(result).startswith("From 500 answers about letters")


def test_the_pictures_show_letters_with_the_digits_they_are_taken_for(result: Result) -> None:
    assert 10 <= len(result.pictures) <= 24
    assert {picture.named for picture in result.pictures} <= set("0123456789")


def test_letters_are_the_same_every_time_and_none_is_rare() -> None:
    one, two = open_source("letters"), open_source("letters")
    assert one.size == 4000
    assert one.labels is not None
    assert (load(one).pixels == load(two).pixels).all()
    counts = [(one.labels == letter).sum() for letter in range(len(LETTERS))]
    assert min(counts) >= 76
