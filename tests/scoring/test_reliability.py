"""Reliability curves: against numbers worked out by hand, and against scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import calibration_curve

from abawkit.scoring.reliability import measure_expressions, measure_reliability, measure_units
from abawkit.tables import Predictions
from tests.scoring.conftest import make_truth


def test_a_curve_worked_out_by_hand() -> None:
    probability = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    right = np.array([False, True, False, True, True])
    found = measure_reliability(probability, right, np.zeros(5, np.int64))
    assert found.count.tolist() == [1, 2, 2]
    assert found.edges == pytest.approx(np.array([[0, 0.1], [0.1, 0.2], [0.9, 1.0]]))
    assert found.predicted == pytest.approx([0.05, 0.15, 0.975])
    assert found.observed == pytest.approx([0, 0.5, 1])
    assert found.error == pytest.approx((0.05 * 1 + 0.35 * 2 + 0.025 * 2) / 5)
    assert found.low is None  # of one video, how much videos differ is not known


def test_it_is_what_scikit_learn_finds() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(500)
    right = rng.random(500) < probability**2
    found = measure_reliability(probability, right, rng.integers(0, 9, 500))
    observed, predicted = calibration_curve(right, probability, n_bins=10)
    assert found.observed == pytest.approx(observed)
    assert found.predicted == pytest.approx(predicted)


def test_ranges_hold_the_share_and_are_wider_where_videos_differ() -> None:
    rng = np.random.default_rng(1)
    probability, videos = np.full(600, 0.55), np.repeat(np.arange(12), 50)
    alike = measure_reliability(probability, rng.random(600) < 0.5, videos)
    apart = measure_reliability(probability, videos % 2 == 0, videos)  # each video is right or wrong as a whole
    for found in (alike, apart):
        assert found.low is not None
        assert found.high is not None
        assert found.low[0] < found.observed[0] < found.high[0]
    assert apart.low is not None
    assert alike.low is not None
    assert apart.observed[0] - apart.low[0] > 2 * (alike.observed[0] - alike.low[0])


def test_no_answer_has_no_curve() -> None:
    with pytest.raises(ValueError, match="no probability"):
        measure_reliability(np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64))


def test_of_expressions_the_chosen_one_counts_and_of_units_each() -> None:
    truth = make_truth(16, images=[f"{'ab'[row % 2]}/{row}.jpg" for row in range(16)])
    expression = np.full((16, 8), 0.05, np.float32)
    expression[np.arange(16), truth.expression] = 0.65
    expression[0] = np.roll(expression[0], 1)  # one is wrong
    au = np.where(truth.au == 1, 0.85, 0.25).astype(np.float32)
    predictions = Predictions(pa.array(truth.images), truth.va.astype(np.float32), expression, au)
    rows = np.ones(16, bool)
    found = measure_expressions(predictions, truth, rows)
    assert found.predicted == pytest.approx([0.65])
    assert found.observed == pytest.approx([15 / 16])
    assert measure_expressions(predictions, truth, np.arange(16) > 0).observed == pytest.approx([1])
    whole, units = measure_units(predictions, truth, rows)
    assert whole.count.tolist() == [96, 96]
    assert whole.error == pytest.approx(0.2)
    assert units["AU1"].observed == pytest.approx([0, 1])
