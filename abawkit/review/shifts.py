"""Videos whose annotation is shifted in time: the lag at which labels and out-of-fold predictions correlate best.

For each lag, the predictions are read that many frames before each annotated frame (interpolated between predicted
frames), and correlated with the labels; the columns of a task (two dimensions, eight classes, twelve units) share one
correlation, the sum of their covariances over the root of the product of the sums of their variances. All lags are
measured on the same part of the video, so that they can be compared.

The interval of the lag comes from a block bootstrap: neighbouring frames are alike, so contiguous blocks of rows are
drawn with replacement and not single rows.

Source: lag by cross-correlation: J. Bendat, A. Piersol, Random Data (2010), section 5.1.4; annotators' reaction lag in
affect: S. Mariooryad, C. Busso, IEEE Transactions on Affective Computing 6 (2015), 97-108; blocks: A. Davison, D.
Hinkley, Bootstrap Methods and their Application (1997), section 8.2.3.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from abawkit.tables import Array

MAX_LAG: Final = 300
"""Frames by which an annotation may be shifted, at most: ten seconds at 30 frames a second."""
MIN_SHIFT_ROWS: Final = 40
"""Rows that a video must have within the part that is measured."""
MIN_CORRELATION: Final = 0.3
"""Where labels and predictions correlate less at the best lag, nothing is said."""
MIN_GAIN: Final = 0.05
"""By how much the lag must raise the correlation, at the lower end of its interval."""

_LAGS: Final = 60  # on either side of 0
_BLOCKS: Final = 20
_DRAWS: Final = 500
_TAILS: Final = (2.5, 97.5)


@dataclass(frozen=True)
class TimeShift:
    """How far the annotation of a video is shifted.

    Attributes:
        lag: Frames by which the labels come late; negative where they come early.
        low: Lower end of the 95 % interval of the lag.
        high: Upper end.
        before: Correlation of labels and predictions as they are, -1..1.
        after: Correlation at the lag.
        gain: Lower end of the 95 % interval of `after` less `before`.
        interior: Whether the lag is within the range that was searched, and not at an end of it.
        step: Frames between two lags that were tried.
    """

    lag: int
    low: int
    high: int
    before: float
    after: float
    gain: float
    interior: bool
    step: int

    @property
    def certain(self) -> bool:
        """Whether the interval lies on one side of 0, with a correlation that is worth it."""
        beyond = self.low > 0 or self.high < 0
        return beyond and self.interior and self.after >= MIN_CORRELATION and self.gain >= MIN_GAIN


def measure_shift(numbers: Array, labels: Array, predicted: Array, seed: int = 0) -> TimeShift | None:
    """Measures the lag of one video and one task.

    Args:
        numbers: Frame numbers, rising, int64, shape (n,).
        labels: A column for each dimension, class (0 or 1) or unit, shape (n, c).
        predicted: Out-of-fold values or probabilities, shape (n, c).
        seed: Of the bootstrap.

    Returns:
        None where the video is too short, or labels or predictions do not vary.
    """
    if len(numbers) < MIN_SHIFT_ROWS:
        return None
    lags, step = _choose_lags(numbers)
    within = (numbers >= numbers[0] + lags[-1]) & (numbers <= numbers[-1] - lags[-1])
    if within.sum() < MIN_SHIFT_ROWS or not lags[-1]:
        return None
    sums = _sum_blocks(numbers, labels[within].astype(np.float64), predicted.astype(np.float64), within, lags)
    middle = len(lags) // 2
    found = _correlate(sums.sum(axis=1)[None], labels.shape[1])[0]
    if not np.isfinite(found).all():
        return None
    best = _pick_best(found[None], lags)[0]
    counts = np.random.default_rng(seed).multinomial(_BLOCKS, np.full(_BLOCKS, 1 / _BLOCKS), _DRAWS)
    drawn = _correlate(np.tensordot(counts, sums, axes=(1, 1)), labels.shape[1])
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if len(drawn) < _DRAWS / 2:
        return None
    low, high = np.percentile(lags[_pick_best(drawn, lags)], _TAILS)
    gain = np.percentile(drawn[:, best] - drawn[:, middle], _TAILS[0])
    interior = 0 < best < len(lags) - 1
    return TimeShift(
        int(lags[best]),
        int(np.floor(low)),
        int(np.ceil(high)),
        float(found[middle]),
        float(found[best]),
        float(gain),
        interior,
        step,
    )


def _choose_lags(numbers: Array) -> tuple[Array, int]:
    """Lags on either side of 0: at most a quarter of the video, in steps of half of the usual gap between frames."""
    most = min(MAX_LAG, int(numbers[-1] - numbers[0]) // 4)
    step = max(1, int(np.median(np.diff(numbers))) // 2, -(-most // _LAGS))
    count = most // step
    return np.arange(-count, count + 1) * step, step


def _sum_blocks(numbers: Array, labels: Array, predicted: Array, within: Array, lags: Array) -> Array:
    """For each lag and block of rows the sums that the correlation needs, shape (lags, blocks, 2 c + 4)."""
    at = numbers[within]
    block = np.arange(len(at)) * _BLOCKS // len(at)
    starts = np.searchsorted(block, np.arange(_BLOCKS))
    sums = []
    for lag in lags:
        read = np.stack([np.interp(at - lag, numbers, column) for column in predicted.T], axis=1)
        squares = np.stack([(labels**2).sum(axis=1), (read**2).sum(axis=1), (labels * read).sum(axis=1)], axis=1)
        columns = np.concatenate([np.ones((len(at), 1)), squares, labels, read], axis=1)
        sums.append(np.add.reduceat(columns, starts, axis=0))
    return np.stack(sums)


def _correlate(sums: Array, columns: int) -> Array:
    """The correlation of each draw at each lag, from sums of shape (draws, lags, 2 c + 4); NaN where nothing varies."""
    n, xx, yy, xy = np.moveaxis(sums[..., :4], -1, 0)
    x, y = sums[..., 4 : 4 + columns], sums[..., 4 + columns :]
    covariance = xy - (x * y).sum(axis=-1) / n
    spread = (xx - (x * x).sum(axis=-1) / n) * (yy - (y * y).sum(axis=-1) / n)
    varies = spread > 1e-12
    return np.where(varies, covariance / np.sqrt(np.where(varies, spread, 1.0)), np.nan)


def _pick_best(correlations: Array, lags: Array) -> Array:
    """The position of the highest correlation of each draw; of equal ones, that nearest to no lag."""
    nearest = np.argsort(np.abs(lags), kind="stable")
    return np.asarray(nearest[correlations[:, nearest].argmax(axis=1)])
