"""Thresholds of action units: against trying each one, and which of equal ones is taken."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.scoring.metrics import f1_per_unit
from abawkit.tables import Array
from abawkit.tuning import thresholds
from tests.tuning.random_rows import units, videos_of_rows

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_counts_of_thresholds_are_those_of_deciding_anew_at_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, probabilities = units(rng, rows=40)
    groups = rng.integers(0, 3, 40)
    counts = thresholds.count_by_threshold(truth, probabilities, groups, 4)
    assert counts.shape == (4, 12, 97, 3)
    assert not counts[3].any()
    for g in range(3):
        for t, threshold in enumerate(thresholds.GRID):
            y, active = truth[groups == g] == 1, probabilities[groups == g] >= threshold
            expected = (y & active).sum(axis=0), (~y & active).sum(axis=0), (y & ~active).sum(axis=0)
            assert np.array_equal(counts[g, :, t].T, expected)


def best_by_trying(truth: Array, probabilities: Array) -> list[float]:
    curve = np.array([f1_per_unit(truth, probabilities >= t) for t in thresholds.GRID])
    reach = thresholds.NEIGHBOUR_THRESHOLDS
    means = np.array([curve[max(0, t - reach) : t + reach + 1].mean(axis=0) for t in range(len(curve))])
    found = []
    nats = np.log(thresholds.GRID / (1 - thresholds.GRID))
    for mean in (means - thresholds.SHRINK * nats[:, None] ** 2).T:
        best = [t for t, value in zip(thresholds.GRID, mean, strict=True) if value > mean.max() - 1e-12]
        found.append(min(best, key=lambda t: (round(abs(t - 0.5), 6), t)))
    return found


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_fitted_thresholds_are_those_that_trying_each_one_finds(seed: int) -> None:
    truth, probabilities = units(np.random.default_rng(seed))
    found = thresholds.fit_thresholds(truth, probabilities, videos_of_rows(len(truth)))
    assert found.tolist() == best_by_trying(truth, probabilities)


def test_fits_on_some_videos_come_from_their_counts_alone() -> None:
    truth, probabilities = units(np.random.default_rng(1), rows=400)
    videos = videos_of_rows(400, 8)
    counts = thresholds.count_by_threshold(truth, probabilities, videos, 8)
    some = videos % 2 == 0
    expected = thresholds.fit_thresholds(truth[some], probabilities[some], videos[some])
    assert np.array_equal(thresholds.find_best_thresholds(counts[::2]), expected)


def test_of_equal_thresholds_the_nearest_to_one_half_is_taken() -> None:
    truth = np.tile(np.eye(2, dtype=np.int8)[:, :1], (60, 12))
    sure = np.where(truth == 1, 0.97, 0.03).astype(np.float32)
    assert thresholds.fit_thresholds(truth, sure, videos_of_rows(120)).tolist() == [0.5] * 12


def test_a_lone_peak_of_the_curve_is_not_taken_for_the_best_threshold() -> None:
    # Between 0.31 and 0.70 the F1 is 0.82; at 0.71, 26 wrong rows are gone and it is 1; at 0.72, 20 right ones too.
    p = np.concatenate([np.full(26, 0.705), np.full(20, 0.715), np.full(40, 0.9), np.full(60, 0.3)])
    y = np.concatenate([np.zeros(26), np.ones(20), np.ones(40), np.zeros(60)])
    truth, probabilities = (np.repeat(column[:, None], 12, axis=1) for column in (y.astype(np.int8), p))
    f1 = [f1_per_unit(truth, probabilities >= t)[0] for t in thresholds.GRID]
    assert thresholds.GRID[int(np.argmax(f1))] == 0.71
    found = thresholds.fit_thresholds(truth, probabilities, videos_of_rows(len(y)))
    assert set(found) == {0.63}  # as far from the jump as the window reaches: 8 thresholds
