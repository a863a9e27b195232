"""What a calibration does to probabilities, and to the decisions that are made of them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS
from abawkit.postprocessing.calibration import LOWEST, Calibration, apply_calibration, list_calibrated
from abawkit.tables import Predictions


def predictions(va: npt.ArrayLike, expression: npt.ArrayLike, au: npt.ArrayLike) -> Predictions:
    columns = [np.asarray(column, dtype=np.float32) for column in (va, expression, au)]
    return Predictions(pa.array([f"v/{k:05d}.jpg" for k in range(len(columns[0]))]), *columns)


def drawn(rows: int, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    expression = rng.dirichlet(np.full(len(EXPRESSIONS), 0.3), rows)
    return predictions(rng.uniform(-1, 1, (rows, 2)), expression, rng.random((rows, len(ACTION_UNITS))))


def test_what_is_calibrated_is_listed_by_task_and_name() -> None:
    calibration = Calibration(scale=np.array([1.0, 0.9]), shift=np.array([0.1, 0.0]))
    calibration.bias[3], calibration.threshold[0] = 0.5, 0.4
    assert list_calibrated(calibration) == {
        "va": {"arousal": {"scale": 0.9}, "valence": {"shift": 0.1}},
        "expression": {"Fear": 0.5},
        "au": {"AU1": 0.4},
    }


@pytest.mark.parametrize(
    "neutral", [Calibration(), Calibration(bias=np.full(8, -3.5))], ids=["no knob turned", "one bias for all classes"]
)
def test_a_calibration_that_turns_no_knob_keeps_every_bit(neutral: Calibration) -> None:
    assert list_calibrated(neutral) == {}
    before = drawn(500)
    before = predictions(np.vstack([before.va[1:], [[-0.0, 1.0]]]), before.expression, before.au)
    after = apply_calibration(before, neutral)
    assert all(getattr(after, task).tobytes() == getattr(before, task).tobytes() for task in TASKS)


def test_valence_and_arousal_are_scaled_then_shifted_then_cut_to_their_range() -> None:
    before = predictions([[0.5, 0.5], [-0.25, 1.0]], np.eye(8)[:2], np.zeros((2, 12)))
    after = apply_calibration(before, Calibration(scale=np.array([2.0, 0.5]), shift=np.array([0.25, -0.125])))
    assert after.va.tolist() == [[1.0, 0.125], [-0.25, 0.375]]


def test_a_bias_multiplies_the_odds_between_two_expressions() -> None:
    before = predictions(np.zeros((1, 2)), [[0.5, 0.25, 0.25, 0, 0, 0, 0, 0]], np.zeros((1, 12)))
    bias = np.array([0.0, np.log(4.0), 0, 0, 0, 0, 0, 0])
    after = apply_calibration(before, Calibration(bias=bias))
    np.testing.assert_allclose(after.expression[0, :4], [0.5 / 1.75, 1 / 1.75, 0.25 / 1.75, 0], rtol=1e-6)
    assert (before.decide().expression[0], after.decide().expression[0]) == (0, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=8, max_size=8), st.integers(0, 2**32 - 1))
def test_biased_probabilities_keep_the_sum_of_their_row_and_decide_for_the_highest_biased_score(
    bias: list[float], seed: int
) -> None:
    before = drawn(50, seed)
    before = predictions(before.va, before.expression * np.float32(0.9995), before.au)  # as half precision has them
    after = apply_calibration(before, Calibration(bias=np.array(bias))).expression
    np.testing.assert_allclose(after.sum(axis=1), before.expression.sum(axis=1), atol=1e-6)
    scores = np.log(np.maximum(before.expression.astype(np.float64), 1e-300)) + bias
    highest = np.take_along_axis(scores, after.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(highest, scores.max(axis=1), atol=1e-6)


GRID = np.round(np.arange(2, 99) / 100, 2)


def test_a_unit_is_active_exactly_where_its_probability_reaches_its_threshold() -> None:
    # Around each threshold of the grid: the nearest float32, and its neighbours on both sides.
    nearest = GRID.astype(np.float32)
    below, above = np.nextafter(nearest, np.float32(0)), np.nextafter(nearest, np.float32(1))
    rows = np.stack([np.zeros_like(nearest), below, nearest, above, np.ones_like(nearest)])
    for start in range(0, len(GRID), 12):
        columns = np.arange(start, start + 12) % len(GRID)
        threshold, au = GRID[columns], rows[:, columns]
        before = predictions(np.zeros((5, 2)), np.eye(8)[:5], au)
        decided = apply_calibration(before, Calibration(threshold=threshold)).decide().au
        assert np.array_equal(decided, au >= threshold)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(LOWEST, 1 - LOWEST), min_size=12, max_size=12), st.integers(0, 2**32 - 1))
def test_any_threshold_decides_as_it_says_and_keeps_the_order_of_probabilities(
    threshold: list[float], seed: int
) -> None:
    before = drawn(60, seed)
    after = apply_calibration(before, Calibration(threshold=np.array(threshold)))
    assert np.array_equal(after.decide().au, before.au >= np.array(threshold))
    order = np.argsort(before.au, axis=0)
    assert (np.diff(np.take_along_axis(after.au, order, axis=0), axis=0) >= 0).all()
    assert ((after.au >= 0) & (after.au <= 1)).all()


def test_a_threshold_multiplies_the_odds() -> None:
    before = predictions(np.zeros((1, 2)), np.eye(8)[:1], np.full((1, 12), 0.5))
    after = apply_calibration(before, Calibration(threshold=np.full(12, 0.2)))  # odds 1 become 4
    np.testing.assert_allclose(after.au, 0.8, rtol=1e-6)
