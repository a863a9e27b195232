"""How much must be annotated before a parameter is fitted, and why others are not."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from abawkit.errors import format_count
from abawkit.tables import Array

MIN_POSITIVES: Final = 25
"""Fewest rows with an expression or an action unit for which anything is fitted; for VA, annotated rows."""

MIN_VIDEOS: Final = 3
"""Fewest videos that these rows are of: the frames of one video are alike, and tell little about other videos."""

LOSES: Final = "it loses on videos that it was not fitted on"
"""Why something is kept as it is whose cross-fitted part of the score falls."""


@dataclass(frozen=True)
class NotFitted:
    """A parameter that was not fitted.

    Attributes:
        parameter: ``threshold of AU15``.
        reason: Why, in one line.
    """

    parameter: str
    reason: str

    def __str__(self) -> str:
        return f"{self.parameter}: kept as is, {self.reason}"


def rows_by_video(positive: Array, videos: Array) -> Array:
    """Counts rows by video.

    Args:
        positive: Masks of rows, shape (n, k).
        videos: A number for each row's video, integers from 0, shape (n,).

    Returns:
        int64, shape (videos, k).
    """
    count, columns = int(videos.max(initial=-1)) + 1, positive.shape[1]
    cells = (videos[:, None] * columns + np.arange(columns))[positive]
    return np.bincount(cells, minlength=count * columns).reshape(count, columns)


def is_supported(rows: Array) -> Array:
    """Which columns reach both minimums.

    Args:
        rows: Rows by video, shape (videos, k).

    Returns:
        Mask, shape (k,).
    """
    return np.asarray((rows.sum(axis=0) >= MIN_POSITIVES) & ((rows > 0).sum(axis=0) >= MIN_VIDEOS))


def explain_scarcity(rows: Array, what: str) -> str:
    """Why a column below a minimum is not fitted.

    Args:
        rows: Its rows by video, shape (videos,).
        what: ``active`` or ``annotated``.
    """
    found, videos = int(rows.sum()), int((rows > 0).sum())
    count = f"{format_count(found, 'row')} of {format_count(videos, 'video')}"
    return f"{what} in {count}, fewer than {MIN_POSITIVES} rows of {MIN_VIDEOS} videos"


def prefer_simplest(gain: Array, distance: Array) -> Array:
    """Where a gain is greatest; of equal ones, where the distance is least; of these, the first.

    Args:
        gain: Shape (..., g); what differs by less than 1e-12 is equal, as rounding differs by as much.
        distance: Shape (g,).

    Returns:
        Index, int64, shape (...).
    """
    best = gain >= gain.max(axis=-1, keepdims=True) - 1e-12
    return np.asarray(np.where(best, distance, np.inf).argmin(axis=-1))


def average_neighbours(curve: Array, neighbours: int) -> Array:
    """The mean of each value and of so many on either side, fewer at the ends.

    Args:
        curve: Shape (..., n).
        neighbours: At least 0.

    Returns:
        float64, shape (..., n).
    """
    sums = np.cumsum(np.concatenate([np.zeros_like(curve[..., :1]), curve], axis=-1), axis=-1)
    first = np.maximum(np.arange(curve.shape[-1]) - neighbours, 0)
    last = np.minimum(np.arange(curve.shape[-1]) + neighbours + 1, curve.shape[-1])
    return np.asarray((sums[..., last] - sums[..., first]) / (last - first))
