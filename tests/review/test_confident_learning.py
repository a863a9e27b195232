"""Confident learning: thresholds and confident classes worked out by hand, and a whole set by the authors' program."""

import numpy as np

from abawkit.review.confident_learning import (
    compute_class_thresholds,
    find_confident_classes,
    find_doubtful_classes,
    measure_agreement,
)
from abawkit.tables import Array

LABELS = np.array([0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8]])


def test_a_threshold_is_the_mean_probability_of_a_class_on_the_rows_that_are_labelled_so() -> None:
    np.testing.assert_allclose(compute_class_thresholds(LABELS, PROBABILITIES), [0.6, 0.7])
    three = np.column_stack([PROBABILITIES, np.zeros(4)])
    assert compute_class_thresholds(LABELS, three)[2] == np.inf  # nobody knows how sure it would be


def test_a_confident_class_reaches_its_threshold_and_of_several_the_likeliest_counts() -> None:
    assert find_confident_classes(LABELS, PROBABILITIES).tolist() == [0, 1, -1, 1]
    both = np.array([[0.45, 0.55], [0.4, 0.6]])  # thresholds 0.45 and 0.6
    assert find_confident_classes(np.array([0, 1]), both).tolist() == [0, 1]


def test_a_row_is_doubtful_where_it_is_confidently_of_another_class() -> None:
    found = find_doubtful_classes(LABELS, [PROBABILITIES])
    assert (found.rows.tolist(), found.suggested.tolist()) == ([1], [1])
    np.testing.assert_allclose([found.given[0], found.likely[0], found.strength[0]], [0.3, 0.7, 0.7])


def test_every_network_must_contradict_and_the_suggestion_is_that_of_their_mean() -> None:
    other = PROBABILITIES.copy()
    other[1] = [0.6, 0.4]
    assert find_doubtful_classes(LABELS, [PROBABILITIES, other]).rows.tolist() == []
    other[1] = [0.1, 0.9]
    found = find_doubtful_classes(LABELS, [PROBABILITIES, other])
    np.testing.assert_allclose([found.given[0], found.likely[0]], [0.2, 0.8])


def test_networks_that_contradict_with_different_classes_and_agree_with_the_label_together_do_not_count() -> None:
    labels = np.array([0, 1, 2])
    one = np.array([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    one[1:] = [[0.4, 0.5, 0.1], [0.4, 0.1, 0.5]]
    two = np.array([[0.4, 0.0, 0.6], [0.4, 0.5, 0.1], [0.4, 0.1, 0.5]])
    assert find_doubtful_classes(labels, [one]).rows.tolist() == [0]
    assert find_doubtful_classes(labels, [two]).rows.tolist() == [0]
    assert find_doubtful_classes(labels, [one, two]).rows.tolist() == []


def draw(seed: int, n: int, k: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    true = rng.choice(k, n, p=rng.dirichlet(np.full(k, 3.0)))
    labels = np.where(rng.random(n) < 0.15, rng.integers(0, k, n), true)
    scores = rng.normal(size=(n, k)) * 1.2
    scores[np.arange(n), true] += 2
    odds = np.exp(scores)
    return labels, odds / odds.sum(axis=1, keepdims=True)


def test_the_same_rows_are_found_as_by_the_program_of_the_authors() -> None:
    """By cleanlab 2.9.0: ``find_label_issues(labels, p, filter_by="confident_learning")``."""
    labels, probabilities = draw(0, 60, 4)
    expected = [1, 8, 10, 13, 14, 16, 22, 23, 26, 28, 29, 40, 43, 46, 49, 51, 56]
    assert find_doubtful_classes(labels, [probabilities]).rows.tolist() == expected


def test_agreement_counts_the_rows_that_the_mean_is_sure_of() -> None:
    """The likeliest class has 0.9, 0.7, 0.6 and 0.8 of both."""
    assert measure_agreement(LABELS, [PROBABILITIES], 0.65) == (3, 2)
    assert measure_agreement(LABELS, [PROBABILITIES], 0.85) == (1, 1)


def test_nothing_is_found_in_nothing() -> None:
    nothing = np.zeros((0, 8))
    assert find_doubtful_classes(np.zeros(0, np.int64), [nothing]).rows.tolist() == []
