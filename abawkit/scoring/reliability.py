"""How far probabilities can be trusted: of all rows that are said to be so with 70 %, are 70 % so?

The probabilities are put into ten bins of equal width. In a reliability curve the mean probability of each bin meets
the share of its rows that are as said; where probabilities are right, both are the same. The expected calibration
error is the mean over rows of the distance of both. The range of each share is from a bootstrap over videos, whose rows
are alike.

Source: reliability diagrams, M. DeGroot, S. Fienberg, The Statistician 32 (1983) 12-22; expected calibration error,
M. P. Naeini, G. Cooper, M. Hauskrecht, AAAI (2015), with the probability of the chosen class as C. Guo, G. Pleiss,
Y. Sun, K. Weinberger, ICML (2017).
"""

from dataclasses import dataclass

import numpy as np

from abawkit.labels import ACTION_UNITS
from abawkit.scoring.bootstrap import DRAWS, LEVEL, number_videos, score_draws
from abawkit.tables import Annotations, Array, Predictions

BINS = 10
"""Bins of a curve."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve.

    Attributes:
        count: Answers in each bin, int64, shape (b,); bins without any are left out.
        edges: Lower and upper end of each bin, float64, shape (b, 2), in [0, 1].
        predicted: Mean probability in each bin, float64, shape (b,).
        observed: Share of each bin that is as said, float64, shape (b,).
        low: Lower end of the 95 % range of `observed`, shape (b,); None of a single video.
        high: Upper end, likewise.
        error: Expected calibration error, in [0, 1].
    """

    count: Array
    edges: Array
    predicted: Array
    observed: Array
    low: Array | None
    high: Array | None
    error: float


def measure_reliability(probability: Array, right: Array, videos: Array) -> Reliability:
    """Measures the reliability curve of some answers.

    Args:
        probability: Of each answer, shape (n,), in [0, 1], n at least 1.
        right: Whether each is as said, bool, shape (n,).
        videos: A number for each answer's video, integers from 0, shape (n,).

    Raises:
        ValueError: If there is no answer.
    """
    if not len(probability):
        raise ValueError("no probability to measure")
    values = probability.astype(np.float64)
    place = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    many = int(videos.max()) + 1
    cells = videos * BINS + place

    def add_up(weights: Array | None) -> Array:
        found: Array = np.bincount(cells, weights, minlength=many * BINS).reshape(many, BINS)
        return found

    counts, hits = add_up(None), add_up(right.astype(np.float64))
    total = counts.sum(axis=0)
    known = total > 0
    predicted = add_up(values).sum(axis=0)[known] / total[known]
    observed = hits.sum(axis=0)[known] / total[known]
    low = high = None
    if np.count_nonzero(counts.any(axis=1)) > 1:
        low, high = _find_ranges(counts[:, known], hits[:, known])
    starts = np.arange(BINS)[known] / BINS
    error = float(total[known] @ np.abs(predicted - observed) / total.sum())
    edges = np.stack([starts, starts + 1 / BINS], axis=1)
    return Reliability(total[known], edges, predicted, observed, low, high, error)


def _find_ranges(counts: Array, hits: Array) -> tuple[Array, Array]:
    """The ends of the range of each bin's share, over draws of videos that have a row in it."""
    held = counts.any(axis=1)
    counts, hits = counts[held], hits[held]
    draws = score_draws(len(counts), DRAWS, 0)[1:].astype(np.float64)
    drawn = draws @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(drawn > 0, draws @ hits / drawn, np.nan)
    low, high = np.nanquantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def measure_expressions(predictions: Predictions, truth: Annotations, rows: Array) -> Reliability:
    """The curve of the chosen expression: its probability, and whether it is the annotated one.

    Args:
        predictions: Probabilities, row for row as `truth`.
        truth: The annotations.
        rows: Which of them are scored, all annotated for expressions, bool, shape (n,).
    """
    given = predictions.expression[rows].astype(np.float64)
    given /= given.sum(axis=1, keepdims=True)
    chosen = given.argmax(axis=1)
    _, videos = number_videos(truth.videos)
    return measure_reliability(given.max(axis=1), chosen == truth.expression[rows], videos[rows])


def measure_units(
    predictions: Predictions, truth: Annotations, rows: Array
) -> tuple[Reliability, dict[str, Reliability]]:
    """The curve of all action units together, and that of each: its probability, and whether it is active.

    Args:
        predictions: Probabilities, row for row as `truth`.
        truth: The annotations.
        rows: Which of them are scored, all annotated for action units, bool, shape (n,).
    """
    given, active = predictions.au[rows], truth.au[rows] == 1
    _, videos = number_videos(truth.videos)
    of_row = videos[rows]
    whole = measure_reliability(given.ravel(), active.ravel(), np.repeat(of_row, len(ACTION_UNITS)))
    each = {name: measure_reliability(given[:, i], active[:, i], of_row) for i, name in enumerate(ACTION_UNITS)}
    return whole, each
