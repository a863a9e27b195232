"""Sums over the rows of each video: all that the score of one task needs of them."""

import numpy as np

from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS
from abawkit.tables import Array

_CLASSES = len(EXPRESSIONS)


def va_sums(codes: Array, truth: Array, given: Array, videos: int) -> tuple[Array, Array, Array]:
    """Sums up valence and arousal; see `abawkit.scoring.videos.VideoStatistics`.

    Args:
        codes: Number of each row's video, shape (n,).
        truth: Annotated values, shape (n, 2).
        given: Given values, shape (n, 2).
        videos: How many there are.

    Returns:
        ``moments``, (videos, 2, 6); ``centre``, (2, 2); ``extremes``, (videos, 2, 4).
    """
    values = np.stack([truth, given], axis=2, dtype=np.float64)  # (n, dimension, whose)
    centre = values.mean(axis=0) if len(values) else np.zeros((len(DIMENSIONS), 2))
    x, y = np.moveaxis(values - centre, 2, 0)
    columns = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=2)
    sums = [np.bincount(codes, column, videos) for column in columns.reshape(len(columns), 12).T]
    extremes = np.empty((videos, len(DIMENSIONS), 4))
    extremes[:, :, 0::2], extremes[:, :, 1::2] = np.inf, -np.inf
    np.minimum.at(extremes[:, :, 0::2], codes, values)
    np.maximum.at(extremes[:, :, 1::2], codes, values)
    return np.stack(sums, axis=1).reshape(videos, len(DIMENSIONS), 6), centre, extremes


def confusion_counts(codes: Array, truth: Array, given: Array, videos: int) -> Array:
    """Counts rows by annotated and given class, shape (n,) each: int64, shape (videos, 8, 8)."""
    cells = (codes * _CLASSES + truth) * _CLASSES + given
    return np.bincount(cells, minlength=videos * _CLASSES**2).reshape(videos, _CLASSES, _CLASSES)


def unit_counts(codes: Array, truth: Array, given: Array, videos: int) -> Array:
    """Counts rows in which a unit is active in both, as annotated, as given, (n, 12) each: int64, (videos, 12, 3)."""
    counts = np.empty((videos, len(ACTION_UNITS), 3), dtype=np.int64)
    for unit in range(len(ACTION_UNITS)):
        cells = np.bincount(codes * 4 + truth[:, unit] * 2 + given[:, unit], minlength=videos * 4).reshape(videos, 4)
        counts[:, unit] = np.stack([cells[:, 3], cells[:, 2] + cells[:, 3], cells[:, 1] + cells[:, 3]], axis=1)
    return counts
