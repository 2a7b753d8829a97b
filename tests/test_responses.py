from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.errors import BadSettings
from papagaio.responses import Answers, centred_log, complete, derive, shown_step, step_of
from papagaio.vocabulary import RESPONSES, Response

# A row shows whether the column's response can be derived from it.
DERIVABLE = {
    #                 probab. rou-3  rou-2  rou-1  top-5  top-3  top-1  label
    "probabilities": (True, True, True, True, True, True, True, True),
    "rounded-3": (False, True, True, True, False, False, False, True),
    "rounded-2": (False, False, True, True, False, False, False, True),
    "rounded-1": (False, False, False, True, False, False, False, True),
    "top-5": (False, False, False, False, True, True, True, True),
    "top-3": (False, False, False, False, False, True, True, True),
    "top-1": (False, False, False, False, False, False, True, True),
    "label": (False, False, False, False, False, False, False, True),
}
PAIRS = [
    pytest.param(shown, wanted, allowed, id=f"{shown}->{wanted}")
    for shown, row in DERIVABLE.items()
    for wanted, allowed in zip(RESPONSES, row, strict=True)
]
TOPS: list[tuple[Response, int]] = [("top-1", 1), ("top-3", 3), ("top-5", 5)]
ROUNDINGS: list[tuple[Response, int]] = [("rounded-1", 1), ("rounded-2", 2), ("rounded-3", 3)]

logits = nps.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(6, 12)),
    elements=st.floats(-6, 6, width=32),
)
probabilities = logits.map(lambda x: softmax(x, axis=1).astype(np.float32))
# Few different values, so that equal scores are common.
with_ties = nps.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(7)), elements=st.sampled_from([0.0, 0.25, 0.5])
)


def rows(*values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_answers_of_probabilities_show_everything() -> None:
    full = rows([0.1, 0.2, 0.7], [0.5, 0.25, 0.25])
    answers = Answers.of(full)
    derived = derive(full, "probabilities", "probabilities")
    assert answers.known.all()
    assert answers.resolution == 0
    assert derived.scores.tobytes() == answers.scores.tobytes()
    assert answers.labels.tolist() == [2, 0]
    second = answers[1:]
    assert (len(answers), len(second), second.labels.tolist()) == (2, 1, [0])


def test_the_resolution_is_the_step_of_rounding() -> None:
    full = rows([0.1234, 0.8766])
    steps = [derive(full, "probabilities", response).resolution for response in RESPONSES]
    assert steps == pytest.approx([0, 1e-3, 1e-2, 1e-1, 0, 0, 0, 0])


def test_every_response_has_a_row_in_the_table() -> None:
    assert tuple(DERIVABLE) == RESPONSES


@pytest.mark.parametrize(("shown", "wanted", "allowed"), PAIRS)
def test_what_was_never_shown_is_not_derived(
    shown: Response, wanted: Response, *, allowed: bool
) -> None:
    full = rows([0.1, 0.2, 0.3, 0.25, 0.1, 0.05])
    if allowed:
        assert len(derive(full, shown, wanted)) == 1
    else:
        with pytest.raises(BadSettings, match=f"{wanted} cannot be derived from {shown}"):
            derive(full, shown, wanted)


@pytest.mark.parametrize("shown", RESPONSES)
def test_an_answer_of_a_weak_form_is_worth_what_one_derived_to_it_is(shown: Response) -> None:
    full = rows([0.004, 0.3, 0.696], [0.123456, 0.5, 0.376544])

    derived = derive(full, "probabilities", shown)
    given = derive(derived.scores, shown, shown)

    assert given.scores.tobytes() == derived.scores.tobytes()
    np.testing.assert_array_equal(given.known, derived.known)
    np.testing.assert_array_equal(complete(given), complete(derived))
    assert given.resolution == derived.resolution


def test_top_three_by_hand() -> None:
    answers = derive(rows([0.1, 0.4, 0.05, 0.15, 0.3]), "probabilities", "top-3")

    assert answers.known.tolist() == [[False, True, False, True, True]]
    np.testing.assert_array_equal(answers.scores, rows([0, 0.4, 0, 0.15, 0.3]))
    # 1 - 0.85 is left to two classes.
    np.testing.assert_allclose(complete(answers), rows([0.075, 0.4, 0.075, 0.15, 0.3]), atol=1e-7)


def test_a_black_box_that_shows_fewer_than_its_top_hides_the_others() -> None:
    answers = derive(rows([0.75, 0.15, 0, 0]), "top-3", "top-3")

    assert answers.known.tolist() == [[True, True, False, False]]
    np.testing.assert_allclose(complete(answers), rows([0.75, 0.15, 0.05, 0.05]), atol=1e-7)


def test_of_equal_scores_the_first_are_shown() -> None:
    full = rows([0.25, 0.25, 0.25, 0.25], [0.1, 0.3, 0.3, 0.3])

    assert derive(full, "probabilities", "top-1").known.tolist() == [
        [True, False, False, False],
        [False, True, False, False],
    ]
    assert derive(full, "probabilities", "top-3").known.tolist() == [
        [True, True, True, False],
        [False, True, True, True],
    ]
    assert derive(full, "probabilities", "label").labels.tolist() == [0, 1]


@pytest.mark.parametrize(("wanted", "count"), TOPS)
@given(full=with_ties)
def test_a_top_keeps_exactly_so_many_and_the_right_ones(
    wanted: Response, count: int, full: NDArray[np.float32]
) -> None:
    answers = derive(full, "probabilities", wanted)

    # Python's sort is stable: of equal scores the first class comes first.
    right = [sorted(range(7), key=lambda k, r=row: -r[k])[:count] for row in full]  # type: ignore[misc]
    assert [set(np.flatnonzero(known)) for known in answers.known] == [set(r) for r in right]
    np.testing.assert_array_equal(answers.scores, np.where(answers.known, full, 0))


def test_a_top_of_more_than_all_classes_shows_all() -> None:
    answers = derive(rows([0.2, 0.5, 0.3]), "probabilities", "top-5")

    assert answers.known.all()
    np.testing.assert_array_equal(answers.scores, rows([0.2, 0.5, 0.3]))


@pytest.mark.parametrize(("wanted", "digits"), ROUNDINGS)
@given(full=probabilities)
def test_rounding_gives_the_nearest_decimal(
    wanted: Response, digits: int, full: NDArray[np.float32]
) -> None:
    answers = derive(full, "probabilities", wanted)

    exact = Decimal(1).scaleb(-digits)
    for score, rounded in zip(full.ravel(), answers.scores.ravel(), strict=True):
        nearest = Decimal(float(score)).quantize(exact, ROUND_HALF_EVEN)
        off = abs(Decimal(float(score)) / exact % 1 - Decimal("0.5"))
        # Float32 cannot tell a half from its neighbours; then either side is the nearest.
        if off > Decimal("1e-4"):
            assert rounded == np.float32(str(nearest))
        else:
            assert abs(float(rounded) - float(score)) <= 0.5001 * float(exact)
    assert answers.known.all()


def test_rounding_by_hand() -> None:
    full = rows([0.1234, 0.8766])

    np.testing.assert_array_equal(
        derive(full, "probabilities", "rounded-1").scores, rows([0.1, 0.9])
    )
    np.testing.assert_array_equal(
        derive(full, "probabilities", "rounded-2").scores, rows([0.12, 0.88])
    )
    np.testing.assert_array_equal(
        derive(full, "probabilities", "rounded-3").scores, rows([0.123, 0.877])
    )


@given(full=probabilities)
def test_a_label_is_one_hot_and_names_the_best_class(full: NDArray[np.float32]) -> None:
    answers = derive(full, "probabilities", "label")

    np.testing.assert_array_equal(answers.scores, np.eye(full.shape[1])[full.argmax(1)])
    np.testing.assert_array_equal(answers.labels, full.argmax(1))
    assert answers.scores.dtype == np.float32
    np.testing.assert_array_equal(complete(answers), answers.scores)


@pytest.mark.parametrize("wanted", RESPONSES)
@given(full=probabilities)
def test_completed_rows_sum_to_one_and_keep_what_was_shown(
    wanted: Response, full: NDArray[np.float32]
) -> None:
    answers = derive(full, "probabilities", wanted)

    completed = complete(answers)

    assert completed.dtype == np.float32
    assert (completed >= 0).all()
    np.testing.assert_allclose(completed.sum(1, dtype=np.float64), 1, atol=1e-6)
    if not wanted.startswith("rounded"):
        shown = answers.known
        np.testing.assert_allclose(completed[shown], answers.scores[shown], rtol=1e-5, atol=1e-7)
    hidden = np.where(answers.known, np.nan, completed)
    for row in hidden:
        left = row[~np.isnan(row)]
        assert left.size == 0 or np.ptp(left) == 0


def test_a_row_that_rounding_made_all_zeros_becomes_uniform() -> None:
    full = np.full((1, 25), 0.04, np.float32)

    answers = derive(full, "probabilities", "rounded-1")

    assert not answers.scores.any()
    np.testing.assert_allclose(complete(answers), full)


def test_rows_that_rounding_took_off_one_are_moved_back() -> None:
    answers = derive(rows([0.26, 0.26, 0.48]), "probabilities", "rounded-1")

    np.testing.assert_allclose(complete(answers), rows([0.8, 0.8, 1.4]) / 3, atol=1e-6)


def test_more_than_one_shown_leaves_nothing_to_the_hidden_classes() -> None:
    answers = Answers(rows([0.7, 0.31, 0, 0]), np.array([[True, True, False, False]]))

    np.testing.assert_allclose(complete(answers), rows([0.7, 0.31, 0, 0]) / np.float32(1.01))


def test_centred_log_by_hand() -> None:
    # ln 8, ln 4, ln 2 less their mean, 2 ln 2.
    np.testing.assert_allclose(
        centred_log(rows([8 / 14, 4 / 14, 2 / 14])), np.log(2) * rows([1, 0, -1]), atol=1e-6
    )


@given(x=logits)
def test_centred_log_undoes_a_softmax_up_to_a_constant(x: NDArray[np.float64]) -> None:
    found = centred_log(softmax(x, axis=1).astype(np.float32))

    np.testing.assert_allclose(found, x - x.mean(1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@given(x=logits)
def test_one_answer_holds_the_softmax_at_every_temperature(
    temperature: float, x: NDArray[np.float64]
) -> None:
    answered = softmax(x, axis=1).astype(np.float32)

    found = softmax(centred_log(answered) / temperature, axis=1)

    np.testing.assert_allclose(found, softmax(x / temperature, axis=1), atol=1e-4)


@pytest.mark.parametrize("smallest", [1e-7, 1e-3])
def test_a_probability_of_zero_counts_as_the_smallest(smallest: float) -> None:
    zero, small = rows([1.0, 0.0]), rows([1.0, smallest])

    np.testing.assert_array_equal(centred_log(zero, smallest), centred_log(small, smallest))
    assert np.isfinite(centred_log(zero)).all()


STEPS = (0.1, 0.01, 1 / 255, 1 / 256, 1e-3, 1e-4, 1e-5, 1e-6)
CHOICES: list[tuple[Response, float]] = [
    *((response, 0.0) for response, _ in ROUNDINGS),
    *(("probabilities", step) for step in STEPS),
    ("rounded-3", 1 / 256),
    ("top-3", 1 / 256),
    ("top-1", 0.01),
]


def in_steps(full: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Scores as a quantised model gives them: whole numbers times a float32 step."""
    return np.round(full / np.float32(step)) * np.float32(step)


def random_answers(seed: int, count: int, classes: int, scale: float) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(0, scale, (count, classes))
    return softmax(logits.astype(np.float32), axis=1)


@pytest.mark.parametrize(("wanted", "resolution"), CHOICES)
@given(full=probabilities)
def test_completed_scores_are_within_half_a_step_of_what_was_shown(
    wanted: Response, resolution: float, full: NDArray[np.float32]
) -> None:
    stored = in_steps(full, resolution) if resolution else full
    answers = derive(stored, "probabilities", wanted, resolution)

    completed = complete(answers)

    assert answers.resolution == step_of(wanted, resolution)
    assert (completed > 0).all()
    np.testing.assert_allclose(completed.sum(1, dtype=np.float64), 1, atol=1e-6)
    off = np.abs(completed - answers.scores)[answers.known]
    # Rounding in a finer step moves scores as well; what keeps zeros above 0 takes a little more.
    steps = (step_of(wanted, 0), resolution)
    half = answers.resolution / 2 + (min(steps) / 2 if wanted.startswith("rounded") else 0)
    assert (off <= half * 1.02 + 1e-6).all()
    # Where everything is shown, the order of the classes stays.
    if answers.known.all():
        best = np.take_along_axis(completed, answers.labels[:, None], 1)[:, 0]
        assert (best >= completed.max(1) - 1e-6).all()


def test_a_step_of_what_is_stored_counts_where_it_is_the_coarser_one() -> None:
    full = in_steps(random_answers(0, 5, 6, 1), 1 / 256)
    steps = [derive(full, "probabilities", one, 1 / 256).resolution for one in RESPONSES]
    eight = 1 / 256
    assert steps == pytest.approx([eight, eight, 0.01, 0.1, eight, eight, eight, 0])


def test_eight_bits_by_hand() -> None:
    # A sum of 257 / 256: the zero gets a quarter of a step, and then all give what they may.
    answers = derive(
        rows([200, 57, 0]) / np.float32(256), "probabilities", "probabilities", 1 / 256
    )
    moved = rows([199.5, 56.5, 0.001]) / 256
    np.testing.assert_allclose(complete(answers), moved, atol=1e-5)
    # A sum of 1: only the quarter of a step has to be given back.
    answers = derive(
        rows([200, 56, 0]) / np.float32(256), "probabilities", "probabilities", 1 / 256
    )
    moved = rows([199.9, 55.9, 0.2]) / 256
    np.testing.assert_allclose(complete(answers), moved, atol=1e-6)


def test_a_step_is_written_as_people_write_it() -> None:
    assert [shown_step(step) for step in (1 / 256, 1 / 255, 0.01, 1e-6, 0.3)] == [
        "1/256",
        "1/255",
        "1/100",
        "1/1000000",
        "3/10",
    ]
