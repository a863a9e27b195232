"""Biases of expressions: against deciding anew with each one, and what must leave them at zero."""

import numpy as np
import pytest

from abawkit.scoring.metrics import f1_per_class
from abawkit.tables import Array
from abawkit.tuning import expression_biases as biases
from tests.tuning.random_rows import expressions, videos_of_rows


@pytest.mark.parametrize("c", [0, 3, 7])
def test_f1_along_a_bias_is_that_of_deciding_anew_at_each(c: int) -> None:
    rng = np.random.default_rng(c)
    truth, p = expressions(rng)
    bias = np.round(rng.normal(0, 0.5, 8), 2)
    logs = np.log(p.astype(np.float64))
    found = biases.compute_f1_by_bias(truth.astype(np.int64), logs.T.copy(), bias, c)
    for g, value in enumerate(biases.GRID):
        bias[c] = value
        np.testing.assert_allclose(found[g], f1_per_class(truth, (logs + bias).argmax(axis=1), 8), rtol=1e-12)


def test_of_equal_scores_the_first_class_counts_as_chosen() -> None:
    truth = np.array([0, 1, 1, 2])
    logs = np.log(np.full((4, 8), 0.125))
    at_0 = len(biases.GRID) // 2
    for c in range(8):  # with no bias, argmax chooses class 0 in every row
        found = biases.compute_f1_by_bias(truth, logs.T.copy(), np.zeros(8), c)
        assert np.array_equal(found[at_0], f1_per_class(truth, np.zeros(4, dtype=np.int64), 8))
        expected = f1_per_class(truth, np.full(4, c), 8)
        assert np.array_equal(found[at_0 + 1], expected)


@pytest.mark.parametrize("g", [-33, -7, 3, 6, 12, 29])
def test_scores_that_a_bias_makes_equal_are_equal_however_they_were_rounded(g: int) -> None:
    zero = len(biases.GRID) // 2
    logs = np.log(np.tile([0.3, 0.3, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05], (5, 1)))
    bias = np.where(np.arange(8) == 1, biases.GRID[zero + g], -9.0)
    truth = np.zeros(5, dtype=np.int64)
    first = biases.compute_f1_by_bias(truth, logs.T.copy(), bias, 0)[
        :, 0
    ]  # class 0 against class 1, which comes after it
    assert first.tolist() == [0.0] * (zero + g) + [1.0] * (zero + 1 - g)
    bias = np.where(np.arange(8) == 0, biases.GRID[zero + g], -9.0)
    second = biases.compute_f1_by_bias(truth + 1, logs.T.copy(), bias, 1)[
        :, 1
    ]  # an equal score is not enough for class 1
    assert second.tolist() == [0.0] * (zero + g + 1) + [1.0] * (zero - g)


def penalised(truth: Array, p: Array, bias: Array) -> float:
    chosen = (np.log(p.astype(np.float64)) + bias).argmax(axis=1)
    return float(f1_per_class(truth, chosen, 8).mean() - biases.SHRINK * (bias**2).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("neighbours", [0, 3, biases.NEIGHBOUR_BIASES])
def test_fitted_biases_are_those_of_coordinate_ascent_by_trying_each_value(neighbours: int, seed: int) -> None:
    truth, p = expressions(np.random.default_rng(seed))
    logs, bias, grid = np.log(p.astype(np.float64)), np.zeros(8), biases.GRID
    for _ in range(biases.PASSES):
        for c in range(8):
            curve = []
            for value in grid:
                bias[c] = value
                curve.append(f1_per_class(truth, (logs + bias).argmax(axis=1), 8).mean())
            around = [np.mean(curve[max(0, k - neighbours) : k + neighbours + 1]) for k in range(len(grid))]
            gains = np.array(around) - biases.SHRINK * grid**2
            bias[c] = min(grid[gains >= gains.max() - 1e-12], key=abs)
    found = biases.fit_bias(truth, p, videos_of_rows(len(truth)), neighbours=neighbours)
    np.testing.assert_allclose(found, bias, atol=1e-12)
    assert penalised(truth, p, found) > penalised(truth, p, np.zeros(8))


def test_biases_undo_a_shift_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 8
    logits = rng.normal(0, 1, (4000, 8)) + 2.0 * np.eye(8)[truth]
    shift = np.array([0, 0, 0, 1.0, 0, 0, 0, -1.0])
    p = np.exp(logits + shift)
    found = biases.fit_bias(truth, p / p.sum(axis=1, keepdims=True), videos_of_rows(4000))
    np.testing.assert_allclose(found - found[0], -shift, atol=0.4)
    before, after = (f1_per_class(truth, (np.log(p) + b).argmax(axis=1), 8).mean() for b in (0, found))
    assert after > before + 0.03


def test_what_gains_less_than_it_costs_leaves_the_bias_at_zero() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(8000) % 8
    logits = rng.normal(0, 1, (8000, 8)) + 2.0 * np.eye(8)[truth]  # no class is shifted
    p = np.exp(logits)
    found = biases.fit_bias(truth, p / p.sum(axis=1, keepdims=True), videos_of_rows(8000))
    assert np.abs(found).max() < 0.2


def test_a_fit_gives_the_same_biases_every_time_and_for_rows_in_any_order() -> None:
    rng = np.random.default_rng(5)
    truth, p = expressions(rng, equal=True)
    videos, order = videos_of_rows(len(truth)), rng.permutation(len(truth))
    first = biases.fit_bias(truth, p, videos)
    assert np.array_equal(first, biases.fit_bias(truth, p, videos))
    assert np.array_equal(first, biases.fit_bias(truth[order], p[order], videos[order]))


def test_a_probability_of_zero_is_never_brought_up() -> None:
    truth = np.arange(400) % 8
    p = np.eye(8)[np.zeros(400, dtype=np.int64)]
    assert np.array_equal(biases.fit_bias(truth, p, videos_of_rows(400)), np.zeros(8))
