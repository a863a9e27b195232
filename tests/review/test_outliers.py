"""Valence and arousal beyond what noise and the networks' spread explain."""

from collections.abc import Callable

import numpy as np
import pytest

from abawkit.review.outliers import find_va_outliers, measure_outliers
from abawkit.tables import Annotations

Rows = Callable[..., Annotations]


def test_a_deviation_is_measured_in_units_of_noise_and_spread() -> None:
    """Residuals -0.2, -0.1, 0, 0.1, 0.6: median 0, MAD 0.1; networks differ by 0.2 in the last row: s^2 = 0.02."""
    labels = np.zeros((5, 2))
    mean = np.array([0.2, 0.1, 0.0, -0.1, -0.6])
    one, two = (np.stack([mean + sign * np.array([0, 0, 0, 0, 0.1]), np.zeros(5)], axis=1) for sign in (1, -1))
    found = measure_outliers(labels, [one, two])
    noise = 1.4826 * 0.1
    np.testing.assert_allclose(found.noise, [noise, 0])
    np.testing.assert_allclose(found.z[:4, 0], np.array([0.2, 0.1, 0, 0.1]) / noise)
    np.testing.assert_allclose(found.z[4, 0], 0.6 / np.sqrt(noise**2 + 0.02))
    np.testing.assert_allclose(found.spread[4, 0], np.sqrt(0.02))
    assert found.z[:, 1].tolist() == [0] * 5  # no noise at all: nothing can be said


def test_a_planted_sign_error_is_found_and_named(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    truth = np.round(rng.uniform(-0.9, 0.9, (400, 2)), 3)
    truth[7] = [0.8, -0.5]
    said = truth + 0.1 * rng.normal(size=truth.shape)
    labels = truth.copy()
    labels[7, 0] = -0.8
    table = rows([f"v/{i:05d}.jpg" for i in range(400)], va=labels)
    (found,) = [one for one in find_va_outliers(table, [said]) if one.row == 7]
    assert (found.task, found.label, found.reason) == ("va", "valence=-0.8", "outlier")
    assert float(found.suggestion.removeprefix("valence=")) == pytest.approx(0.8, abs=0.3)
    assert 0.5 < found.strength < 1
    assert len(find_va_outliers(table, [said])) < 5


def test_networks_that_disagree_excuse_the_label(rows: Rows) -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(-0.5, 0.5, (200, 2))
    said = truth + 0.05 * rng.normal(size=truth.shape)
    labels = truth.copy()
    labels[3] += 0.4
    table = rows([f"v/{i:05d}.jpg" for i in range(200)], va=labels)
    apart = [said.copy(), said.copy()]
    apart[0][3] += 0.4
    apart[1][3] -= 0.4
    assert 3 in [one.row for one in find_va_outliers(table, [said, said + 0.001])]
    assert 3 not in [one.row for one in find_va_outliers(table, apart)]


def test_rows_without_the_task_are_left_alone(rows: Rows) -> None:
    assert find_va_outliers(rows(["v/1.jpg"]), [np.ones((1, 2))]) == []
