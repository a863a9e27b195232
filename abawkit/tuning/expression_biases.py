"""Biases of expressions, fitted to annotations by coordinate ascent on the mean F1.

With the other biases fixed, each row has a value from which on the bias of a class makes it this class. Counts of rows
by that value, added up along a grid, give the F1 of all eight classes at every bias of the grid without another look at
the rows.
"""

from typing import Final

import numpy as np

from abawkit.labels import EXPRESSIONS
from abawkit.scoring.metrics import f1_from_counts
from abawkit.tables import Array
from abawkit.tuning.support import average_neighbours, is_supported, prefer_simplest, rows_by_video

_STEP: Final = 0.05
_REACH: Final = 40

GRID: Final = np.arange(-_REACH, _REACH + 1) * _STEP
"""The biases that are tried: -2, -1.95 ... 2, in nats, float64, shape (81,)."""

SHRINK: Final = 0.01
"""What a bias b must gain in mean F1, times b^2: one of 1 nat 0.01, one of 2 nats 0.04, so that noise is not chased.

Source: `benchmarks/shrinkage.py`, which measures what biases gain on other videos of three simulated worlds. Less gains
more where a system knows little of the rates of classes, and loses where it knows them: at 0.005 in releases of 50
videos, at 0.01 no longer."""

NEIGHBOUR_BIASES: Final = 12
"""Biases on either side whose mean F1 is averaged with a bias's own, fewer at the ends: the middle of a plateau stays
where it is in other videos, a peak does not.

Source: `benchmarks/shrinkage.py`. In 200 releases of 25 to 100 videos of three simulated worlds 12 gain -0.0001 to
0.0020 more mean F1 on other videos than none."""

PASSES: Final = 3
"""Passes over the classes; fewer where a pass changes nothing."""

_CLASSES: Final = len(EXPRESSIONS)
_LEAST: Final = 1e-30  # a probability of 0 has no logarithm; no bias of the grid brings this one up


def fit_bias(
    truth: Array, probabilities: Array, videos: Array, shrink: float = SHRINK, neighbours: int = NEIGHBOUR_BIASES
) -> Array:
    """The biases of greatest mean F1 less `shrink` times their squares.

    Only differences between biases count; the shrinking alone holds them around 0.

    Args:
        truth: Class indices, shape (n,): annotated rows alone.
        probabilities: Shape (n, 8).
        videos: A number for each row's video, integers from 0, shape (n,).
        shrink: See `SHRINK`; at least 0.
        neighbours: See `NEIGHBOUR_BIASES`; at least 0.

    Returns:
        float64, shape (8,), values of `GRID`; 0 for a class in fewer rows or videos than `MIN_POSITIVES` and
        `MIN_VIDEOS` of `abawkit.tuning.support` say, whose F1 counts all the same.
    """
    bias = np.zeros(_CLASSES)
    fitted = np.flatnonzero(is_supported(count_class_rows(truth, videos)))
    logs = np.log(np.maximum(probabilities.T.astype(np.float64, order="C"), _LEAST))
    truth = truth.astype(np.int64)
    for _ in range(PASSES):
        before = bias.copy()
        for c in fitted:
            curve = compute_f1_by_bias(truth, logs, bias, int(c)).mean(axis=1)
            gains = average_neighbours(curve, neighbours) - shrink * GRID**2
            bias[c] = GRID[prefer_simplest(gains, np.abs(GRID))]
        if np.array_equal(bias, before):
            break
    return bias


def count_class_rows(truth: Array, videos: Array) -> Array:
    """Rows of each video that each class is annotated in, int64, shape (videos, 8)."""
    return rows_by_video(truth[:, None] == np.arange(_CLASSES), videos)


def compute_f1_by_bias(truth: Array, logs: Array, bias: Array, c: int) -> Array:
    """F1 of every class for every bias of `GRID` that one class could have.

    Args:
        truth: Class indices, int64, shape (n,).
        logs: Logarithms of probabilities, shape (8, n).
        bias: Of the other classes, shape (8,).
        c: The class; its own entry in `bias` is not looked at.

    Returns:
        float64, shape (81, 8).
    """
    rivals, scores = _leave_out(logs, bias, c)
    steps = (scores - logs[c]) / _STEP
    nearest = np.rint(steps)
    steps = np.where(np.abs(steps - nearest) < 1e-9, nearest, steps)  # equal scores, but for rounding
    # Of equal scores the first class is chosen: an earlier class needs no more than equality.
    from_on = np.where(c < rivals, np.ceil(steps), np.floor(steps) + 1)
    from_on = np.clip(from_on + _REACH, 0, len(GRID)).astype(np.int64)
    shape = len(GRID) + 1, _CLASSES, _CLASSES
    cells = (from_on * _CLASSES + rivals) * _CLASSES + truth
    table = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    turned = table.cumsum(axis=0)[:-1]  # by bias, rival and truth
    kept = table.sum(axis=0) - turned
    predicted, hits = kept.sum(axis=2), np.diagonal(kept, axis1=1, axis2=2).copy()
    predicted[:, c], hits[:, c] = turned.sum(axis=(1, 2)), turned[:, :, c].sum(axis=1)
    return f1_from_counts(hits, np.bincount(truth, minlength=_CLASSES), predicted)


def _leave_out(logs: Array, bias: Array, c: int) -> tuple[Array, Array]:
    """The class that each row would have without class `c`, int64, and its score, shape (n,) each."""
    rivals, scores = np.zeros(logs.shape[1], dtype=np.int64), np.full(logs.shape[1], -np.inf)
    for k in range(_CLASSES):
        if k != c:
            score = logs[k] + bias[k]
            better = score > scores
            np.copyto(scores, score, where=better)
            np.copyto(rivals, k, where=better)
    return rivals, scores
