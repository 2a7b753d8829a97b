"""The verdict, computed by hand."""

from typing import Any

import pytest
from example_results import AT_CHANCE, FLOOR, HARDER_FLOOR, ONE_CLASS, SEEDS, cell, result

from papagaio.result import CellRecord, Scores
from papagaio.scores import Figure
from papagaio.verdict import level_of, standing_of, verdict_of
from papagaio.vocabulary import Level

# Ten classes, and a floor above chance: the way to the black box is from 0.2 to 1.
WORKS = {
    "accuracy": Figure(0.8, 0.78, 0.82, 1000),
    "most_named": {"name": "3", "images": 117},
}


def copy(low: float, high: float, relative: float | None = None, **rest: object) -> CellRecord:
    """A copy of this fidelity, and maybe of a relative accuracy known exactly."""
    scores = Scores(
        accuracy=Figure(0.5, 0.49, 0.51, 1000),
        fidelity=Figure((low + high) / 2, low, high, 1000),
        relative_accuracy=None if relative is None else Figure(relative, relative, relative, 1000),
    )
    return cell(scores=scores, **rest)  # type: ignore[arg-type]


def floor(fidelity: float) -> CellRecord:
    return copy(fidelity - 0.01, fidelity + 0.01, kind=FLOOR.kind)


def level(*cells: CellRecord, **changes: object) -> Level:
    return verdict_of(result([*cells], **{"black_box": WORKS, **changes})).level


# The borders: 0.2 + 0.8 x 0.5 = 0.6, 0.2 + 0.8 x 0.8 = 0.84, 0.2 + 0.8 x 0.95 = 0.96.
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.10, 0.20, "low"),
        (0.50, 0.599, "low"),
        (0.599, 0.61, "not decided"),
        (0.601, 0.839, "moderate"),
        (0.83, 0.85, "not decided"),
        (0.841, 0.959, "high"),
        (0.95, 0.97, "not decided"),
        (0.961, 1.0, "critical"),
        (0.55, 0.97, "not decided"),
    ],
)
def test_the_level_is_that_of_the_whole_interval(low: float, high: float, expected: Level) -> None:
    assert level(copy(low, high), floor(0.2)) == expected


def test_the_sentence_has_the_figures_that_decide() -> None:
    queries = {"spent": 4000, "price": 6.0, "price_total": 14.7}
    said = verdict_of(result([copy(0.86, 0.90), floor(0.2)], black_box=WORKS, queries=queries))
    assert str(said) == (
        "high: From 4,000 answers, which cost 6.00, a copy reaches 88.0 % of the model\u2019s"
        " decisions (95 % interval 86.0 to 90.0), against 20.0 % for the floor (shuffled)."
    )
    assert (said.budget, said.price) == (4000, 6.0)
    assert said.standing is not None
    # The copy is 0.68 above the floor, of 0.8.
    assert said.standing.covered == pytest.approx(0.85)
    assert said.standing.borders == pytest.approx((0.6, 0.84, 0.96))


def test_where_the_interval_crosses_a_border_both_levels_are_named() -> None:
    said = verdict_of(result([copy(0.83, 0.85), floor(0.2)], black_box=WORKS))
    assert said.reason.endswith(
        "and the interval reaches from moderate to high: more test images or more seeds decide."
    )


def test_the_measure_decides_that_covers_more_of_its_own_way() -> None:
    # Fidelity covers (0.70 - 0.20) / 0.80 = 0.625; relative accuracy, whose floor is the majority
    # at 0.1085 / 0.8 = 0.1356, covers (0.85 - 0.1356) / 0.8644 = 0.826.
    audited = result(
        [copy(0.69, 0.71, relative=0.85), floor(0.2)],
        black_box=WORKS,
        references={"majority": Figure(0.1085, 0.09, 0.12, 590)},
    )
    said = verdict_of(audited)
    assert said.standing is not None
    assert said.standing.measure == "relative_accuracy"
    assert said.standing.floor.value == pytest.approx(0.135625)
    assert said.standing.covered == pytest.approx(0.8265, abs=1e-4)
    assert said.level == "high"


def test_a_student_that_learned_answers_about_noise_is_no_floor() -> None:
    noise = copy(0.93, 0.95, kind=HARDER_FLOOR.kind)
    assert level(copy(0.97, 0.99), floor(0.2), noise) == "critical"
    # It does not stand in for the student that learned nothing either.
    assert level(copy(0.97, 0.99), noise) == "not decided"
    # A copy that is no better than noise is still a copy.
    assert level(copy(0.93, 0.95), floor(0.2), noise) == "high"


def test_a_copy_that_is_worse_than_answers_about_noise_decides_nothing() -> None:
    said = verdict_of(result([copy(0.2, 0.3), floor(0.2), copy(0.5, 0.6, kind=HARDER_FLOOR.kind)]))
    assert said.level == "not decided"
    assert said.reason.endswith(
        "but as many answers about random images give a copy that decides like the model on 55.0 %"
        " of the test images: the transfer images were a bad choice."
    )
    assert level(copy(0.2, 0.3), floor(0.2), copy(0.2, 0.35, kind=HARDER_FLOOR.kind)) == "low"


def test_the_risk_is_at_least_what_answers_about_noise_give() -> None:
    noise = copy(0.86, 0.90, kind=HARDER_FLOOR.kind)
    said = verdict_of(result([copy(0.2, 0.3), floor(0.2), noise], black_box=WORKS))
    assert (said.level, said.reaches) == ("not decided", ("high", "critical"))


@pytest.mark.parametrize(
    ("noise", "reason"),
    [((0.86, 0.90), "the transfer images were a bad choice"), ((0.75, 0.85), "more seeds decide")],
)
def test_noise_is_compared_over_images_where_two_seeds_make_the_interval_wide(
    noise: tuple[float, float], reason: str
) -> None:
    copies = [copy(0.67, 0.77, seed=0), copy(0.73, 0.83, seed=1)]
    audited = result([*copies, floor(0.2), copy(*noise, kind=HARDER_FLOOR.kind)], black_box=WORKS)
    of_copies = audited.summary[0].fidelity
    assert of_copies
    assert of_copies.high == 1
    assert reason in verdict_of(audited).reason


def test_the_floor_is_the_highest_trained_or_not() -> None:
    audited = result([copy(0.9, 0.92), floor(0.4)], black_box=WORKS)
    found = standing_of(audited, audited.summary[0])
    assert found is not None
    assert found.floor.name == "shuffled"
    assert found.floor.value == pytest.approx(0.4)
    # A black box that names one class on 472 of 590 images.
    most = WORKS | {"most_named": {"name": "3", "images": 472}}
    uneven = result([copy(0.9, 0.92), floor(0.2)], black_box=most)
    found = standing_of(uneven, uneven.summary[0])
    assert found is not None
    # 0.8 + 0.2 x 0.5 = 0.9: what looked critical is moderate.
    assert found.floor.name == "always one class"
    assert found.floor.value == pytest.approx(0.8)
    assert level_of(found) == "moderate"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"black_box": WORKS | AT_CHANCE}, "This audit allows no verdict: the black box is right"),
        ({"black_box": WORKS | ONE_CLASS}, "This audit allows no verdict: the black box names"),
        ({"unchecked": True}, "but the black box failed the check on the test set."),
        ({"trainings": 7, "complete": False}, "but 5 trainings of 7 have not ended."),
        ({"trainings": 3, "complete": False}, "but 1 training of 3 has not ended."),
    ],
)
def test_what_makes_a_figure_mean_nothing_leaves_the_verdict_undecided(
    changes: dict[str, Any], words: str
) -> None:
    said = verdict_of(result([copy(0.97, 0.99), floor(0.2)], **{"black_box": WORKS, **changes}))
    assert said.level == "not decided"
    assert words in said.reason


def test_without_a_scored_copy_there_is_no_verdict() -> None:
    for cells in ([], [cell(scores=Scores())]):
        said = verdict_of(result(cells))
        assert (said.level, said.standing, said.budget, said.price) == (
            "not decided",
            None,
            None,
            None,
        )


def test_every_level_but_the_lowest_needs_a_trained_floor() -> None:
    assert level(copy(0.97, 0.99)) == "not decided"
    assert "no floor was trained" in verdict_of(result(SEEDS)).reason
    assert level(copy(0.2, 0.3)) == "low"


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.3), (0.7, 0.8), (0.85, 0.9)])
def test_every_level_but_the_highest_needs_a_copy_that_was_trained_fully(
    low: float, high: float
) -> None:
    full, short = (
        verdict_of(result([copy(low, high, undertrained=one), floor(0.2)], black_box=WORKS))
        for one in (False, True)
    )
    assert short.level == "not decided"
    assert short.reason.endswith("undertrained: a full training gives a better one.")
    assert short.reaches == (full.level, "critical")


def test_a_critical_needs_no_full_training() -> None:
    assert level(copy(0.97, 0.99, undertrained=True), floor(0.2)) == "critical"


def test_a_copy_at_its_floor_is_no_sign_of_safety() -> None:
    said = verdict_of(result([copy(0.19, 0.21), floor(0.2)], black_box=WORKS))
    assert said.level == "low"
    assert said.reason.endswith("this audit does not show that the model can be copied.")
    assert "no better than a floor" in said.cautions[0]


def test_a_copy_that_is_more_often_right_than_the_black_box_is_critical() -> None:
    assert level(copy(0.7, 0.72, relative=1.02), floor(0.2)) == "critical"
