"""Contradicted expressions and units as lines of a review, and how many labels the networks agree with."""

from collections.abc import Callable

import numpy as np
import pytest

from abawkit.review.contradictions import count_agreement, find_contradicted_expressions, find_contradicted_units
from abawkit.tables import Annotations, Array

Rows = Callable[..., Annotations]

IMAGES = [f"v/{i:05d}.jpg" for i in range(4)]


def say(classes: list[int], sure: float) -> Array:
    """Probabilities of which the named class has this much, and the others share the rest."""
    said = np.full((len(classes), 8), (1 - sure) / 7)
    said[np.arange(len(classes)), classes] = sure
    return said


def test_an_expression_is_listed_from_the_strength_on_that_is_asked_for(rows: Rows) -> None:
    table = rows(IMAGES, expression=np.array([3, 3, 6, 6], np.int8))
    said = say([3, 6, 6, 6], 0.65)  # of the other seven 0.05 each
    (found,) = find_contradicted_expressions(table, [said])
    assert (found.row, found.label, found.suggestion) == (1, "expression=Fear", "expression=Surprise")
    assert found.strength == pytest.approx(0.65 / 0.7)
    assert found.detail == "mean probability 0.65, of the label 0.05; 1 of 1 networks"
    assert find_contradicted_expressions(table, [said], 0.93) == []


def test_units_of_one_row_are_one_line_and_the_strongest_counts(rows: Rows) -> None:
    au = np.zeros((4, 12), np.int8)
    au[2:, :2] = 1
    table = rows(IMAGES, au=au)
    said = np.clip(au.astype(np.float64), 0.02, 0.9)
    said[0, :2] = [0.99, 0.97]
    (found,) = find_contradicted_units(table, [said])
    assert (found.row, found.label, found.suggestion) == (0, "AU1=0 AU2=0", "AU1=1 AU2=1")
    assert found.strength == pytest.approx(0.99)
    assert found.detail == "AU1 0.990, AU2 0.970"


def test_rows_that_are_not_annotated_and_tasks_that_no_network_knows_are_left_alone(rows: Rows) -> None:
    labels = np.array([3, 3, 6, 6], np.int8)
    table = rows(IMAGES, expression=labels, expression_valid=np.array([True, False, True, True]))
    assert find_contradicted_expressions(table, [say([3, 6, 6, 6], 0.65)]) == []
    assert find_contradicted_expressions(table, []) == []
    assert find_contradicted_units(table, [np.full((4, 12), 0.9)]) == []


def test_agreement_counts_sure_expressions_and_units_that_are_taken_for_active(rows: Rows) -> None:
    au = np.zeros((4, 12), np.int8)
    au[0, 0] = 1
    table = rows(IMAGES, expression=np.array([3, 3, 6, 6], np.int8), au=au)
    units = np.full((4, 12), 0.05)
    units[:2, 0] = 0.95
    found = count_agreement(table, {"expression": [say([3, 6, 6, 6], 0.65)], "au": [units], "va": []}, 0.9)
    assert found == {"expression": (4, 3), "au": (2, 1)}
