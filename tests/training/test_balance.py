"""Weights of classes and units, worked by hand."""

import numpy as np
import pyarrow as pa
import pytest

from abawkit.tables import Annotations
from abawkit.training.losses import weigh_action_units, weigh_expressions


def rows(expression: list[int], au: list[list[int]], valid: list[bool]) -> Annotations:
    n = len(expression)
    mask, no = np.array(valid), np.zeros(n, dtype=bool)
    units = np.zeros((n, 12), np.int8)
    units[:, : len(au[0])] = au
    names = pa.array([f"v/{i:05}.jpg" for i in range(n)], pa.string())
    return Annotations(
        names, np.arange(n), np.zeros((n, 2)), np.array(expression, np.int8), units, mask, mask, mask, no, no
    )


TABLE = rows(
    expression=[0, 0, 0, 1, 7, 7],
    au=[[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 0], [1, 1, 0]],
    valid=[True, True, True, True, False, False],
)


def test_full_balance_weighs_classes_inversely_and_a_mean_row_one() -> None:
    # counts 3 and 1 of the annotated rows: weights w/3 and w, and 3 * w/3 + 1 * w = 4, so w = 2
    assert weigh_expressions(TABLE, 1.0) == pytest.approx([2 / 3, 2, 0, 0, 0, 0, 0, 0])


def test_half_balance_takes_the_square_root() -> None:
    # w/sqrt(3) and w: 3 w / sqrt(3) + w = 4
    w = 4 / (np.sqrt(3) + 1)
    assert weigh_expressions(TABLE, 0.5) == pytest.approx([w / np.sqrt(3), w, 0, 0, 0, 0, 0, 0])


def test_without_balance_every_class_that_is_there_weighs_one() -> None:
    assert weigh_expressions(TABLE, 0.0) == pytest.approx([1, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("exponent", "first"), [(0.0, 1.0), (0.5, np.sqrt(3.0)), (1.0, 3.0)])
def test_units_weigh_negatives_over_positives_of_the_annotated_rows(exponent: float, first: float) -> None:
    # AU1 is active in 1 of 4 annotated rows, AU2 in none, AU4 in all: only the first can be weighed
    assert weigh_action_units(TABLE, exponent) == pytest.approx([first, *[1.0] * 11])


def test_no_annotated_row_gives_finite_weights() -> None:
    empty = rows([0, 1], [[1], [0]], [False, False])
    assert weigh_expressions(empty, 1.0) == pytest.approx(np.zeros(8))
    assert weigh_action_units(empty, 1.0) == pytest.approx(np.ones(12))
