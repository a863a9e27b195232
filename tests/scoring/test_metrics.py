"""The metrics against cases worked by hand, against scikit-learn, and against what must hold for any input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from abawkit.scoring.metrics import ccc, f1_per_class, f1_per_unit
from abawkit.tables import Array

modest = settings(derandomize=True, max_examples=150, deadline=None)
pairs = st.lists(
    st.tuples(st.floats(-1, 1, allow_subnormal=True), st.floats(-1, 1, allow_subnormal=True)), min_size=1, max_size=30
)


def columns(rows: list[tuple[float, float]]) -> tuple[Array, Array]:
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1]


def test_ccc_of_a_case_worked_by_hand_with_population_moments() -> None:
    truth, prediction = np.array([0.0, 0.2, 0.4, 0.6]), np.array([0.1, 0.1, 0.5, 0.5])
    # means 0.3 and 0.3; deviations -.3 -.1 .1 .3 and -.2 -.2 .2 .2
    # cov = (.06 + .02 + .02 + .06) / 4 = 0.04; var = (.09 + .01 + .01 + .09) / 4 = 0.05 and 0.04
    assert ccc(truth, prediction) == pytest.approx(2 * 0.04 / (0.05 + 0.04 + 0.0), abs=1e-12)


def test_ccc_pays_for_a_shift_of_the_mean() -> None:
    truth = np.array([-0.5, 0.5])
    # var = 0.25 each, cov = 0.25, means 0 and 0.3: 0.5 / (0.5 + 0.09)
    assert ccc(truth, truth + 0.3) == pytest.approx(0.5 / 0.59, abs=1e-12)


def test_ccc_uses_population_moments_where_torchmetrics_uses_sample_moments() -> None:
    prediction, truth = np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])
    # sums of squares: 35.1875 about 3.125 and 29.1875 about 2.875; of products 31.5625; 3.125 - 2.875 = 0.25
    moments = 31.5625 / 4, 35.1875 / 4, 29.1875 / 4
    assert ccc(truth, prediction) == pytest.approx(2 * moments[0] / (moments[1] + moments[2] + 0.0625), abs=1e-12)
    assert round(ccc(truth, prediction), 5) == 0.97679


def test_ccc_never_mixes_sample_and_population_moments() -> None:
    values = np.array([-0.5, 0.5])
    mixed = 2 * np.cov(values, values)[0, 1] / (2 * values.var())
    assert mixed == pytest.approx(2.0)
    assert ccc(values, values) == 1.0


def test_ccc_of_an_answer_turned_around_is_minus_one() -> None:
    values = np.array([-0.5, 0.0, 0.5])
    assert ccc(values, -values) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [([0.1] * 7, [0.1] * 7), ([0.1] * 3, [0.0, 0.5, 1.0]), ([0.0, 0.5, 1.0], [0.1] * 3), ([0.3], [0.3]), ([], [])],
)
def test_ccc_is_zero_where_either_is_constant_or_nothing_is_there(truth: list[float], prediction: list[float]) -> None:
    assert ccc(np.array(truth), np.array(prediction)) == 0.0


def test_ccc_is_zero_where_squares_underflow() -> None:
    tiny = np.array([0.0, 1e-200])
    assert ccc(tiny, tiny) == 0.0


@modest
@given(pairs)
def test_ccc_is_finite_at_most_one_and_symmetric(rows: list[tuple[float, float]]) -> None:
    x, y = columns(rows)
    assert -1.0 <= ccc(x, y) <= 1.0
    assert ccc(x, y) == ccc(y, x)


@modest
@given(pairs)
def test_ccc_does_not_depend_on_the_order_of_rows(rows: list[tuple[float, float]]) -> None:
    x, y = columns([(round(a, 6), round(b, 6)) for a, b in rows])
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    assert ccc(x[order], y[order]) == pytest.approx(ccc(x, y), abs=1e-9)


@modest
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(-1, 1))
def test_ccc_is_zero_for_any_constant(values: list[float], constant: float) -> None:
    assert ccc(np.array(values), np.full(len(values), constant)) == 0.0


def test_f1_of_classes_worked_by_hand() -> None:
    truth, prediction = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    # class 0: TP 1, FP 1, FN 1 -> 2/4; class 1: TP 2, FP 1, FN 0 -> 4/5; class 2: TP 0 -> 0
    assert f1_per_class(truth, prediction, 3).tolist() == pytest.approx([0.5, 0.8, 0.0], abs=1e-12)


def test_three_of_eight_classes_answered_perfectly_score_0_375() -> None:
    truth = np.array([0, 3, 6, 6])
    assert f1_per_class(truth, truth, 8).mean() == 3 / 8
    assert f1_score(truth, truth, average="macro") == 1.0  # what the average over the classes present would say


def test_f1_of_units_is_that_of_the_positive_class() -> None:
    truth, prediction = np.array([[1], [1], [1], [0], [0], [0], [0], [0]]), np.array([[1]] * 3 + [[1]] * 2 + [[0]] * 3)
    # TP 3, FP 2, FN 0 -> 6/8; of the other class TP 3, FP 0, FN 2 -> 6/8; of both 0.75
    assert f1_per_unit(truth, prediction).tolist() == [0.75]
    # TP 3, FP 1, FN 1 of 22 rows: 6/8; the other class has TP 17: 34/36, and the macro of both is 0.847
    truth, prediction = np.zeros((22, 1)), np.zeros((22, 1))
    truth[:4], prediction[1:5] = 1, 1
    assert f1_per_unit(truth, prediction).tolist() == [0.75]
    assert f1_score(truth[:, 0], prediction[:, 0], average="macro") == pytest.approx((0.75 + 34 / 36) / 2)


def test_units_never_active_score_zero_and_rows_without_any_active_unit_count() -> None:
    truth, prediction = np.array([[1, 0], [0, 0]]), np.array([[1, 0], [1, 0]])
    # unit 0: TP 1, FP 1 in the row where nothing is active -> 2/3
    assert f1_per_unit(truth, prediction).tolist() == pytest.approx([2 / 3, 0.0], abs=1e-12)


@modest
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40))
def test_f1_of_classes_agrees_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, prediction = (np.array(column) for column in zip(*rows, strict=True))
    expected = f1_score(truth, prediction, labels=range(8), average=None, zero_division=0)
    np.testing.assert_allclose(f1_per_class(truth, prediction, 8), expected, rtol=0, atol=1e-12)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_f1_of_units_agrees_with_scikit_learn(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.random((2, rows, 12)) < rng.random(12)).astype(int)
    expected = [f1_score(truth[:, k], prediction[:, k], average="binary", zero_division=0) for k in range(12)]
    np.testing.assert_allclose(f1_per_unit(truth, prediction), expected, rtol=0, atol=1e-12)


@modest
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40), st.integers(0, 100))
def test_f1_is_symmetric_within_0_and_1_and_blind_to_the_order_of_rows(rows: list[tuple[int, int]], seed: int) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    f1 = f1_per_class(table[:, 0], table[:, 1], 8)
    shuffled = np.random.default_rng(seed).permutation(table)
    assert ((f1 >= 0) & (f1 <= 1)).all()
    assert f1.tolist() == f1_per_class(table[:, 1], table[:, 0], 8).tolist()
    assert f1.tolist() == f1_per_class(shuffled[:, 0], shuffled[:, 1], 8).tolist()


def test_columns_of_unequal_length_are_refused_rather_than_broadcast() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        ccc(np.zeros(3), np.zeros(1))
    with pytest.raises(ValueError, match="equal shapes"):
        f1_per_class(np.zeros(3), np.zeros(1), 8)
    with pytest.raises(ValueError, match="equal shapes"):
        f1_per_unit(np.zeros((3, 12)), np.zeros((1, 12)))
