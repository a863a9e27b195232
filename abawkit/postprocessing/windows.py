"""Means and medians over windows of a video's frames."""

import math
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from abawkit.postprocessing.timeline import Timeline
from abawkit.tables import Array

_BLOCK: Final = 16
"""Frames whose means are taken by one product of matrices: more waste weights outside the window, fewer waste calls."""

_WEIGHTS: Final = 1 << 14
"""Weights that are made at once, so that they and their indices stay in the processor's cache."""

_ELEMENTS: Final = 1 << 20
"""Values that are gathered at once for medians: bounds memory."""

_NEGLIGIBLE: Final = 64.0
"""exp(-64) is 1.6e-28: all weights below, 20,000 at most, are lost in float64 beside the 1 of the frame itself."""


def gaussian(values: Array, timeline: Timeline, radius: int, scale: float) -> Array:
    """The mean over `radius` frames on either side, with weights exp(-d^2 / scale), divided by their sum.

    The distance d of two frames is that of their numbers. Weights are read from a table by distance; blocks of frames
    are multiplied by the frames around them.

    Args:
        values: Shape (m, c), float64: a row for each frame of the timeline.
        timeline: The frames.
        radius: Frames, at least 0.
        scale: Squared frames, above 0.

    Returns:
        float64, shape (m, c).
    """
    count, columns = values.shape
    radius = min(radius, timeline.longest - 1)
    if radius <= 0:
        return values
    reach = math.isqrt(math.floor(_NEGLIGIBLE * scale)) + 1  # from this distance on, weights are 0
    table = np.zeros(2 * reach + 1)
    table[1:-1] = np.exp(-(np.arange(1.0 - reach, reach) ** 2) / scale)
    places = _places(timeline, reach)

    blocks = -(-count // _BLOCK)
    width = _BLOCK + 2 * radius
    # Columns of values, then one of ones, whose weighted sums are the sums of the weights. Zeros stand at both ends.
    padded = np.zeros((blocks * _BLOCK + 2 * radius, columns + 1))
    padded[radius : radius + count, :columns] = values
    padded[radius : radius + count, columns] = 1.0
    around_places = np.zeros(len(padded), dtype=np.int64)
    around_places[radius : radius + count] = places
    centres = (around_places[radius : radius + blocks * _BLOCK] + reach).reshape(blocks, _BLOCK, 1)
    around = sliding_window_view(around_places, width)[::_BLOCK, None]
    windows = sliding_window_view(padded, width, axis=0)[::_BLOCK].transpose(0, 2, 1)
    offsets = np.arange(width) - np.arange(radius, radius + _BLOCK)[:, None]
    within = (np.abs(offsets) <= radius).astype(np.float64)

    sums = np.empty((blocks, _BLOCK, columns + 1))
    step = max(1, _WEIGHTS // within.size)
    for start in range(0, blocks, step):
        chunk = slice(start, start + step)
        weights = table.take(centres[chunk] - around[chunk], mode="clip")
        weights *= within
        np.matmul(weights, windows[chunk], out=sums[chunk])
    sums = sums.reshape(-1, columns + 1)[:count]
    return np.asarray(sums[:, :columns] / sums[:, columns:])


def _places(timeline: Timeline, reach: int) -> Array:
    """Numbers of the frames on one line, where gaps of `reach` or more, and those between videos, are `reach` long."""
    gaps = np.diff(timeline.numbers, prepend=0)
    gaps[timeline.starts[:-1]] = reach
    return np.cumsum(np.minimum(gaps, reach))


def median(values: Array, timeline: Timeline, radius: int) -> Array:
    """The median over `radius` frames on either side; of an even number of frames, the mean of the middle two.

    Args:
        values: Shape (m, c): a row for each frame of the timeline.
        timeline: The frames.
        radius: Frames, at least 0.

    Returns:
        float64, shape (m, c).
    """
    lengths = np.diff(timeline.starts)
    frames = np.arange(len(values))
    low = np.maximum(frames - radius, np.repeat(timeline.starts[:-1], lengths))
    high = np.minimum(frames + radius + 1, np.repeat(timeline.starts[1:], lengths))
    sizes = high - low
    columns = np.ascontiguousarray(values.T)
    result = np.empty_like(columns)
    by_size = np.argsort(sizes, kind="stable")
    for group in np.split(by_size, np.flatnonzero(np.diff(sizes[by_size])) + 1):
        size = int(sizes[group[0]]) if len(group) else 1
        step = max(1, _ELEMENTS // (size * max(1, len(columns))))
        for start in range(0, len(group), step):
            chosen = group[start : start + step]
            windows = columns[:, low[chosen, None] + np.arange(size)]
            windows.sort(axis=2)  # several times faster than np.median
            result[:, chosen] = (windows[:, :, (size - 1) // 2] + windows[:, :, size // 2]) / 2
    return np.asarray(result.T)
