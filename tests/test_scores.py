import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax
from sklearn import metrics

from papagaio import scores
from papagaio.scores import Figure

Floats = NDArray[np.float32]


def some_probabilities(n: int, classes: int, seed: int) -> Floats:
    logits = np.random.default_rng(seed).normal(0, 2, (n, classes))
    return np.asarray(softmax(logits, axis=1), np.float32)


STUDENT, BLACK_BOX = some_probabilities(500, 10, 0), some_probabilities(500, 10, 1)
LABELS = np.random.default_rng(2).integers(0, 10, 500)


def test_accuracy_and_fidelity_are_scikit_learns() -> None:
    expected = metrics.accuracy_score(LABELS, STUDENT.argmax(1))
    assert scores.accuracy(STUDENT, LABELS).value == pytest.approx(expected)
    agreement = metrics.accuracy_score(BLACK_BOX.argmax(1), STUDENT.argmax(1))
    assert scores.fidelity(STUDENT, BLACK_BOX).value == pytest.approx(agreement)


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    rows = STUDENT.astype(np.float64)
    expected = metrics.log_loss(LABELS, rows / rows.sum(1, keepdims=True), labels=range(10))
    assert scores.cross_entropy(STUDENT, LABELS).value == pytest.approx(expected, rel=1e-5)


def test_kl_divergence_is_scipys_relative_entropy_from_the_black_box_to_the_student() -> None:
    expected = stats.entropy(BLACK_BOX.T.astype(float), STUDENT.T.astype(float)).mean()
    assert scores.kl_divergence(STUDENT, BLACK_BOX).value == pytest.approx(expected, rel=1e-5)


def test_a_perfect_copy_has_fidelity_one_no_divergence_and_the_same_accuracy() -> None:
    # The black box is right on nine of ten images.
    labels = np.where(np.arange(len(BLACK_BOX)) % 10 > 0, BLACK_BOX.argmax(1), LABELS)
    found = scores.score_student(BLACK_BOX, BLACK_BOX, labels)
    assert found["fidelity"].value == 1
    assert found["fidelity_where_wrong"].value == 1
    assert found["kl"].value == pytest.approx(0, abs=1e-6)
    assert found["relative_accuracy"].value == 1


def test_relative_accuracy_divides_by_the_black_boxs_own() -> None:
    labels = np.arange(40) % 2
    right = np.eye(2, dtype=np.float32)[labels]
    student, black_box = right.copy(), right.copy()
    student[:20] = right[:20, ::-1]
    black_box[:4] = right[:4, ::-1]
    ratio = scores.relative_accuracy(student, black_box, labels)
    assert ratio is not None
    assert ratio.value == pytest.approx(20 / 36)
    assert ratio.low < 20 / 36 < ratio.high


def test_there_is_no_ratio_to_a_black_box_at_chance() -> None:
    labels = np.arange(40) % 2
    right = np.eye(2, dtype=np.float32)[labels]
    at_chance = right.copy()
    at_chance[:19] = right[:19, ::-1]
    assert scores.relative_accuracy(right, at_chance, labels) is None
    assert "relative_accuracy" not in scores.score_student(right, at_chance, labels)


def test_fidelity_where_wrong_looks_only_at_the_black_boxs_mistakes() -> None:
    labels = np.array([0, 0, 1])
    black_box = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32)
    student = np.array([[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]], np.float32)
    found = scores.fidelity_where_wrong(student, black_box, labels)
    assert found is not None
    assert (found.value, found.n) == (0.5, 2)


def test_what_cannot_be_measured_is_left_out_and_not_a_zero() -> None:
    labels = BLACK_BOX.argmax(1)
    assert "fidelity_where_wrong" not in scores.score_student(STUDENT, BLACK_BOX, labels)
    never_right = (BLACK_BOX.argmax(1) + 1) % 10
    assert "relative_accuracy" not in scores.score_student(STUDENT, BLACK_BOX, never_right)


def test_calibration_error_by_hand() -> None:
    student = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.4, 0.6]], np.float32)
    labels = np.array([0, 1, 1, 1])
    # The two at 0.95 share a bin: |0.5 - 0.95|, half of the images; 0.65 and 0.6 are bins apart.
    expected = 0.5 * 0.45 + 0.25 * 0.35 + 0.25 * 0.4
    assert scores.calibration_error(student, labels).value == pytest.approx(expected, abs=1e-6)


def test_the_interval_of_a_rate_is_wilsons() -> None:
    found = scores.rate(np.arange(50) < 45)
    z = stats.norm.ppf(0.975)
    centre = (0.9 + z * z / 100) / (1 + z * z / 50)
    reach = z / (1 + z * z / 50) * (0.9 * 0.1 / 50 + z * z / 10_000) ** 0.5
    assert (found.low, found.high) == pytest.approx((centre - reach, centre + reach))


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    student, black_box = STUDENT.astype(float), BLACK_BOX.astype(float)
    divergences = (black_box * np.log(black_box / student)).sum(1)
    losses = -np.log(student[np.arange(500), LABELS])
    for found, terms in (
        (scores.kl_divergence(STUDENT, BLACK_BOX), divergences),
        (scores.cross_entropy(STUDENT, LABELS), losses),
    ):
        expected = stats.norm.interval(0.95, loc=terms.mean(), scale=stats.sem(terms))
        assert (found.low, found.high) == pytest.approx(expected)


def test_the_interval_of_relative_accuracy_is_the_delta_methods() -> None:
    # Right together or not: the two are far from independent.
    labels = np.where(np.arange(500) % 3 == 0, BLACK_BOX.argmax(1), STUDENT.argmax(1))
    right, reference = STUDENT.argmax(1) == labels, BLACK_BOX.argmax(1) == labels
    found = scores.relative_accuracy(STUDENT, BLACK_BOX, labels)
    # An image that only one of them gets right is added for each.
    one, other = np.append(right, [1, 0]), np.append(reference, [0, 1])
    slope = np.array([1 / other.mean(), -one.mean() / other.mean() ** 2])
    variance = slope @ np.cov(one, other) @ slope / 502
    expected = stats.norm.interval(0.95, loc=right.mean() / reference.mean(), scale=variance**0.5)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)


def test_one_sure_mistake_does_not_make_a_mean_infinite() -> None:
    sure = np.array([[1, 0], [0, 1]], np.float32)
    # A probability of nought counts as 1e-12.
    worst = -np.log(1e-12)
    assert scores.cross_entropy(sure, np.array([0, 0])).value == pytest.approx(worst / 2)
    assert scores.kl_divergence(sure, sure[::-1]).value == pytest.approx(worst)
    assert scores.kl_divergence(sure, sure).value == 0


def test_the_interval_of_the_calibration_error_holds_it_and_narrows_with_images() -> None:
    probabilities = some_probabilities(4000, 10, 5)
    # Calibrated by construction: each class is drawn with the probability that is said of it.
    chance = np.random.default_rng(6).random((4000, 1))
    labels = (probabilities.cumsum(1) < chance).sum(1).clip(max=9)
    few = scores.calibration_error(probabilities[:200], labels[:200])
    many = scores.calibration_error(probabilities, labels)
    for found in (few, many):
        assert 0 <= found.low <= found.value <= found.high
    assert many.high - many.low < (few.high - few.low) / 2
    # Its draws are the same every time.
    assert scores.calibration_error(probabilities, labels) == many


def test_the_interval_over_seeds_is_students_t_where_images_leave_no_doubt() -> None:
    one = [Figure(value, value, value, 100) for value in (0.7, 0.8, 0.9)]
    found = scores.mean_over_seeds(one)
    expected = stats.t.interval(0.95, 2, loc=0.8, scale=0.1 / 3**0.5)
    assert found.value == pytest.approx(0.8)
    assert found.n == 3
    assert (found.low, found.high) == pytest.approx(expected)


def test_seeds_that_agree_leave_the_doubt_about_images() -> None:
    found = scores.mean_over_seeds([Figure(0.8, 0.7, 0.85, 100)] * 3)
    assert (found.low, found.high) == pytest.approx((0.7, 0.85))


def test_one_seed_keeps_the_interval_over_images() -> None:
    score = Figure(0.7, 0.6, 0.8, 100)
    assert scores.mean_over_seeds([score]) == score


def test_per_class_counts_each_class_alone_and_an_absent_one_not_at_all() -> None:
    labels = np.where(LABELS == 3, 4, LABELS)
    found = scores.accuracy_per_class(STUDENT, labels)
    matrix = metrics.confusion_matrix(labels, STUDENT.argmax(1), labels=range(10))
    assert found[3] is None
    assert found[4] is not None
    assert found[4].value == pytest.approx(matrix[4, 4] / matrix[4].sum())
    assert sum(score.n for score in found if score) == len(labels)


@given(hnp.arrays(np.bool_, st.integers(1, 200)))
def test_a_rates_interval_holds_its_value_and_stays_between_0_and_1(
    hits: NDArray[np.bool_],
) -> None:
    found = scores.rate(hits)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == len(hits)


def test_intervals_of_means_cover_the_truth_in_about_95_of_100_samples() -> None:
    random = np.random.default_rng(0)
    truth, covered = 0.8, 0
    for _ in range(2000):
        found = scores.rate(random.random(300) < truth)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


@pytest.mark.parametrize(("images", "share"), [(30, 0.97), (100, 0.99), (300, 0.8)])
def test_intervals_of_relative_accuracy_cover_the_truth(images: int, share: float) -> None:
    """The black box is right on nine tenths, and the student on this share of them."""
    random = np.random.default_rng(0)
    labels = np.zeros(images, int)
    labels[: images // 2] = 1
    covered = 0
    for _ in range(400):
        reference = random.random(images) < 0.9
        right = reference & (random.random(images) < share)
        named, answered = (np.where(hits, labels, 1 - labels) for hits in (right, reference))
        rows = np.eye(2, dtype=np.float32)
        found = scores.relative_accuracy(rows[named], rows[answered], labels)
        assert found is not None
        covered += found.low <= share <= found.high
    assert covered / 400 >= 0.93


@pytest.mark.parametrize("measure", [scores.kl_divergence, scores.fidelity])
def test_every_score_says_how_many_images_it_rests_on(
    measure: type[object],
) -> None:
    assert measure(STUDENT, BLACK_BOX).n == 500  # type: ignore[call-arg,attr-defined]


@pytest.mark.parametrize(
    ("named", "occurring", "almost_one"),
    [
        # The share of ten classes, and of a rare and a frequent one, that are not the favourite.
        (0.08, 0.9, True),
        (0.10, 0.9, False),
        (0.04, 0.5, True),
        (0.03, 0.04, False),
        (0.0, 0.0, False),
    ],
)
def test_a_black_box_names_almost_one_class_by_what_occurs(
    named: float, occurring: float, *, almost_one: bool
) -> None:
    n = 1000
    black_box = np.eye(10, dtype=np.float32)[np.where(np.arange(n) < named * n, 1, 0)]
    labels = np.where(np.arange(n) < occurring * n, 1 + np.arange(n) % 9, 0)
    assert scores.names_almost_one_class(black_box, labels) is almost_one
