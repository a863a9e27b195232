"""Confident learning: labels that every network contradicts.

Source: C. Northcutt, L. Jiang, I. Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels,
https://arxiv.org/abs/1911.00068: the thresholds are those of equation 2, the confident class that of equation 1, and a
row is doubtful where it is counted off the diagonal of the confident joint (their method 2, ``C_confusion``). As in
the authors' program, a label that a network finds likeliest is never doubtful.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from abawkit.tables import Array


class DoubtfulClasses(NamedTuple):
    """Rows whose class every network contradicts.

    Attributes:
        rows: Their numbers, rising, int64, shape (m,).
        suggested: The likeliest other class of each, by the networks' mean, int64, shape (m,).
        given: Mean probability of the class that is annotated, float64, shape (m,).
        likely: Mean probability of the suggested one, above `given`, float64, shape (m,).
    """

    @property
    def strength(self) -> Array:
        """The share of the suggested class in the probability of both classes, above 0.5 to 1, shape (m,).

        It ranks by odds: in benchmarks/label_review.py it finds gross errors better than the difference of both
        probabilities, the normalised margin of the source, does, and confusions of similar classes about as well.
        """
        return np.asarray(self.likely / (self.likely + self.given))

    rows: Array
    suggested: Array
    given: Array
    likely: Array


def compute_class_thresholds(labels: Array, probabilities: Array) -> Array:
    """How sure a network is of each class on the rows that are labelled so: the mean of its probability.

    Args:
        labels: Class of each row, integer, shape (n,).
        probabilities: Out of fold, shape (n, k).

    Returns:
        float64, shape (k,); infinite for a class without a row, of which a network can't be sure.
    """
    k = probabilities.shape[1]
    counts = np.bincount(labels, minlength=k)
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.where(counts > 0, np.bincount(labels, own, k) / np.maximum(counts, 1), np.inf)


def find_confident_classes(labels: Array, probabilities: Array) -> Array:
    """The likeliest of the classes whose probability reaches their threshold, int64, shape (n,); -1 where none does."""
    reached = probabilities >= compute_class_thresholds(labels, probabilities)
    confident = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), confident, -1)


def find_doubtful_classes(labels: Array, networks: Sequence[Array]) -> DoubtfulClasses:
    """Finds rows that each network confidently counts for another class.

    Args:
        labels: Class of each row, integer, shape (n,).
        networks: Out-of-fold probabilities of each network, at least one, shape (n, k) each.
    """
    doubtful = np.ones(len(labels), dtype=bool)
    for probabilities in networks:
        confident = find_confident_classes(labels, probabilities)
        doubtful &= (confident >= 0) & (confident != labels) & (probabilities.argmax(axis=1) != labels)
    rows = np.flatnonzero(doubtful)
    mean = np.asarray(np.mean([probabilities[rows] for probabilities in networks], axis=0, dtype=np.float64))
    given = mean[np.arange(len(rows)), labels[rows]]
    mean[np.arange(len(rows)), labels[rows]] = -1.0
    suggested = mean.argmax(axis=1)
    likely = mean.max(axis=1, initial=-1.0)
    beyond = likely > given  # networks that contradict a label with different classes may together agree with it
    return DoubtfulClasses(rows[beyond], suggested[beyond], given[beyond], likely[beyond])


def measure_agreement(labels: Array, networks: Sequence[Array], strength: float) -> tuple[int, int]:
    """Counts rows of which the networks are sure, and those of them that are labelled so.

    Args:
        labels: Class of each row, integer, shape (n,).
        networks: Out-of-fold probabilities of each network, at least one, shape (n, k) each.
        strength: The share that the likeliest class must have in the mean probability of itself and any other class.
    """
    mean = np.asarray(np.mean(networks, axis=0, dtype=np.float64))
    second, first = np.sort(mean, axis=1)[:, -2:].T
    sure = first / (first + second) >= strength
    return int(sure.sum()), int((mean.argmax(axis=1) == labels)[sure].sum())
