import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from papagaio.recognising import recognised_response, recognised_step
from papagaio.responses import derive
from papagaio.vocabulary import RESPONSES, Response

STEPS = (0.1, 0.01, 1 / 255, 1 / 256, 1e-3, 1e-4, 1e-5, 1e-6)


def rows(*values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def in_steps(full: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Scores as a quantised model gives them: whole numbers times a float32 step."""
    return np.round(full / np.float32(step)) * np.float32(step)


def random_answers(seed: int, count: int, classes: int, scale: float) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(0, scale, (count, classes))
    return softmax(logits.astype(np.float32), axis=1)


@pytest.mark.parametrize("response", RESPONSES)
def test_what_answers_show_is_recognised(response: Response) -> None:
    full = np.random.default_rng(0).dirichlet(np.ones(6), 50).astype(np.float32)
    shown = derive(full, "probabilities", response).scores
    assert recognised_response(shown) == (response, 0)


def test_the_highest_few_in_steps_are_recognised_as_both() -> None:
    full = in_steps(random_answers(0, 50, 10, 1), 1 / 256)
    highest = derive(full, "probabilities", "top-3").scores
    assert recognised_response(highest) == ("top-3", 1 / 256)


def test_a_very_sure_black_box_is_not_taken_for_one_that_rounds_or_hides() -> None:
    sure = np.full((50, 4), 1e-9, np.float32)
    sure[:, 1] = 1
    assert recognised_response(sure) == ("probabilities", 0)
    # Zeros because exp underflows, in rows that sum to 1.
    underflown = random_answers(0, 500, 10, 3000)
    assert ((underflown > 0).sum(1) <= 3).all()
    assert recognised_response(underflown) == ("probabilities", 0)


def test_many_classes_that_eight_bits_round_to_zero_are_not_taken_for_hidden_ones() -> None:
    full = np.full((50, 1000), 0.6 / 999, np.float32)
    full[np.arange(50), np.arange(50)] = np.linspace(0.38, 0.42, 50)
    rounded = in_steps(full, 1 / 256)
    assert (rounded > 0).sum(1).tolist() == [1] * 50
    assert recognised_response(rounded) == ("probabilities", 1 / 256)


def test_one_row_in_steps_may_be_chance_and_several_may_not() -> None:
    row = rows([0.25, 0.5, 0.25])
    assert recognised_step(row) == 0
    assert recognised_step(np.repeat(row, 2, 0)) == 0.01
    exact = rows([0.123456, 0.876544])
    assert recognised_step(np.repeat(exact, 8, 0)) == 0
    assert recognised_step(np.repeat(exact, 9, 0)) == 1e-6


@pytest.mark.parametrize("step", STEPS)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(20, 80),
    classes=st.integers(2, 20),
    scale=st.floats(0.1, 4),
)
def test_a_step_is_recognised_in_what_was_rounded_to_it(
    step: float, seed: int, count: int, classes: int, scale: float
) -> None:
    answers = in_steps(random_answers(seed, count, classes, scale), step)
    found = recognised_step(answers)
    # By chance, few scores in a fine step all lie on a coarser one as well.
    assert found == step or round(found / step, 6) % 1 == 0
    if count * classes > 200 and scale < 2 and step < 0.1:
        assert found == step


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 80),
    classes=st.integers(2, 20),
    scale=st.floats(0.1, 100),
)
def test_no_step_is_recognised_in_the_softmax_of_random_logits(
    seed: int, count: int, classes: int, scale: float
) -> None:
    answers = random_answers(seed, count, classes, scale)
    assert recognised_step(answers) == 0
    assert recognised_response(answers)[0] in ("probabilities", "label")
