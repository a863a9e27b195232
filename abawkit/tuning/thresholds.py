"""Thresholds of action units, fitted to annotations: counts by video and threshold first, from which fits are quick."""

from typing import Final

import numpy as np

from abawkit.labels import ACTION_UNITS
from abawkit.postprocessing.calibration import HALF, LOWEST
from abawkit.scoring.metrics import f1_from_counts
from abawkit.tables import Array
from abawkit.tuning.support import average_neighbours, is_supported, prefer_simplest

GRID: Final = np.round(np.arange(LOWEST, 1 - LOWEST / 2, 0.01), 2)
"""The thresholds that are tried: 0.02, 0.03 ... 0.98, float64, shape (97,)."""

NEIGHBOUR_THRESHOLDS: Final = 8
"""Thresholds on either side whose F1 is averaged with a threshold's own, fewer at the ends: a lone peak of the curve
is noise, and will not stand where it stood in another draw of videos.

Source: `benchmarks/shrinkage.py`. In 200 releases of 25 to 100 videos of three simulated worlds 8 gain 0.0001 to 0.0014
more F1 on other videos than 2."""

SHRINK: Final = 0.005
"""What a threshold t must gain in F1, times the square of its logit log(t / (1 - t)): one of 0.27 or 0.73 (1 nat)
0.005, one of 0.12 or 0.88 (2 nats) 0.02.

Source: `benchmarks/shrinkage.py`, as for the biases of expressions."""

_NATS: Final = np.log(GRID / (1 - GRID))
_UNITS: Final = len(ACTION_UNITS)


def count_by_threshold(truth: Array, probabilities: Array, groups: Array, group_count: int) -> Array:
    """Counts what each threshold gets right and wrong; counts of several groups may be added up.

    Args:
        truth: 0 and 1, shape (n, 12).
        probabilities: In [0, 1], shape (n, 12).
        groups: A number for each row's video or other group, integers from 0, shape (n,).
        group_count: Groups in all.

    Returns:
        Rows that are active in truth and from this threshold on, wrongly active, wrongly idle; int64, shape
        (groups, 12, 97, 3). A unit is active from a threshold t on where its probability is t or more.
    """
    bins = len(GRID) + 1
    passed = np.searchsorted(GRID, probabilities.astype(np.float64), side="right")  # thresholds that it reaches
    cells = (groups[:, None] * _UNITS + np.arange(_UNITS)) * bins + passed
    shape = group_count, _UNITS, bins, 2
    table = np.bincount((2 * cells + truth).ravel(), minlength=int(np.prod(shape))).reshape(shape)
    reached = table[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]  # by at least so many thresholds
    active = reached[:, :, 1:]
    return np.stack([active[..., 1], active[..., 0], reached[:, :, :1, 1] - active[..., 1]], axis=-1)


def find_best_thresholds(counts: Array, shrink: float = SHRINK, neighbours: int = NEIGHBOUR_THRESHOLDS) -> Array:
    """The thresholds of greatest F1, averaged over neighbouring thresholds, less `shrink` times their squared logits.

    Of equal ones the nearest to 0.5 is taken.

    Args:
        counts: Of videos, as `count_by_threshold` gives them, shape (videos, 12, 97, 3).
        shrink: See `SHRINK`; at least 0.
        neighbours: See `NEIGHBOUR_THRESHOLDS`; at least 0.

    Returns:
        float64, shape (12,); 0.5 for a unit that is active in fewer rows or videos than `MIN_POSITIVES` and
        `MIN_VIDEOS` of `abawkit.tuning.support` say.
    """
    hits, wrong, missed = np.moveaxis(counts.sum(axis=0), -1, 0)
    curve = f1_from_counts(hits, hits + missed, hits + wrong)
    means = average_neighbours(curve, neighbours)
    chosen = GRID[
        prefer_simplest(means - shrink * _NATS**2, np.abs(np.arange(len(GRID)) - np.searchsorted(GRID, HALF)))
    ]
    return np.where(is_supported(count_active_rows(counts)), chosen, float(HALF))


def count_active_rows(counts: Array) -> Array:
    """Rows of each video in which each unit is annotated as active, int64, shape (videos, 12)."""
    return np.asarray(counts[:, :, 0, 0] + counts[:, :, 0, 2])


def fit_thresholds(truth: Array, probabilities: Array, videos: Array) -> Array:
    """Fits thresholds once: see `count_by_threshold` and `find_best_thresholds`.

    Args:
        truth: 0 and 1, shape (n, 12): annotated rows alone.
        probabilities: In [0, 1], shape (n, 12).
        videos: A number for each row's video, integers from 0, shape (n,).
    """
    return find_best_thresholds(count_by_threshold(truth, probabilities, videos, int(videos.max(initial=-1)) + 1))
