"""Smoothing over the frames of a video: means and medians over windows, by distance between frames.

Source: a Gaussian over frame distance within a video, exp(-d^2 / 100000) over 10 rows on either side for valence and
arousal and over 50 for expressions, is what participants published; no window of theirs for action units was found.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from abawkit.errors import ConfigError, printable
from abawkit.frame_columns import Timeline
from abawkit.labels import TASKS, Task
from abawkit.tables import Array, Predictions

_BLOCK: Final = 16
"""Frames whose means are one product of matrices: more compute needless weights, fewer need more calls."""

_WEIGHTS: Final = 1 << 14
"""Weights that are computed at once, so that they and their indices stay in the processor's cache."""

_ELEMENTS: Final = 1 << 20
"""Values that are gathered at once for medians: bounds memory."""

_NEGLIGIBLE: Final = 64.0
"""exp(-64) is 1.6e-28: even 20,000 weights below it vanish in float64 beside the 1 of the frame itself."""


def smooth_gaussian(values: Array, timeline: Timeline, radius: int, scale: float) -> Array:
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
    places = _measure_positions(timeline, reach)

    blocks = -(-count // _BLOCK)
    width = _BLOCK + 2 * radius
    # Columns of values, then one of ones, whose weighted sums are the sums of the weights. Zeros pad both ends.
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


def _measure_positions(timeline: Timeline, reach: int) -> Array:
    """Numbers of the frames on one line, where gaps of `reach` or more, and those between videos, are `reach` long."""
    gaps = np.diff(timeline.numbers, prepend=0)
    gaps[timeline.starts[:-1]] = reach
    return np.cumsum(np.minimum(gaps, reach))


def smooth_median(values: Array, timeline: Timeline, radius: int) -> Array:
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


SmoothingKind = Literal["none", "gaussian", "median"]

RADIUS_MAX: Final = 10_000
"""Largest radius, in rows; the longest videos of the challenge have about as many."""

SCALE_MAX: Final = 1e10
"""Largest scale, in squared frames: the weight falls to 1/e within an hour at 30 frames a second, so that a larger
one is a plain mean over the video."""

_SMOOTHING_FORMS = "none, gaussian:RADIUS:SCALE as gaussian:10:100000, or median:RADIUS as median:5"


@dataclass(frozen=True)
class Smoothing:
    """How the values of one task are smoothed.

    Attributes:
        kind: ``gaussian``: a mean with weights exp(-d^2 / scale), where d is the distance of the frames' numbers;
            ``median``: of the rows within `radius`; ``none``.
        radius: Rows of the same video that are looked at on either side, 0 to `RADIUS_MAX`; 0 for ``none``.
        scale: In squared frames, above 0 and up to `SCALE_MAX`; of ``gaussian`` alone, else 0.

    Raises:
        ConfigError: If a value is none of these.
    """

    kind: SmoothingKind = "none"
    radius: int = 0
    scale: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(SmoothingKind):
            raise ConfigError(f"smoothing {printable(str(self.kind))!r}: no such kind; give {_SMOOTHING_FORMS}")
        top = 0 if self.kind == "none" else RADIUS_MAX
        if type(self.radius) is not int or not 0 <= self.radius <= top:
            raise ConfigError(f"smoothing {self.kind}: got radius {self.radius}, expected an integer 0..{top}")
        if self.kind != "gaussian" and self.scale != 0:
            raise ConfigError(
                f"smoothing {self.kind}: got scale {self.scale}, but only gaussian has one; give {_SMOOTHING_FORMS}"
            )
        if self.kind == "gaussian" and not 0 < self.scale <= SCALE_MAX:  # false for NaN too
            raise ConfigError(
                f"smoothing gaussian: got scale {self.scale}, expected more than 0 and up to {SCALE_MAX:g}"
            )

    def __str__(self) -> str:
        """The text that `parse_smoothing` reads."""
        if self.kind == "gaussian":
            return f"gaussian:{self.radius}:{self.scale!r}".removesuffix(".0")
        return f"median:{self.radius}" if self.kind == "median" else "none"


PUBLISHED_SMOOTHING: Final[Mapping[Task, Smoothing]] = {
    "va": Smoothing("gaussian", 10, 100_000.0),
    "expression": Smoothing("gaussian", 50, 100_000.0),
    "au": Smoothing(),
}
"""What participants published; see the top of this file."""


def parse_smoothing(text: str) -> Smoothing:
    """Reads ``none``, ``gaussian:RADIUS:SCALE`` or ``median:RADIUS``.

    Raises:
        ConfigError: If the text is none of these, or a number is out of range.
    """
    try:
        match text.split(":"):
            case ["none"]:
                return Smoothing()
            case ["median", radius]:
                return Smoothing("median", int(radius))
            case ["gaussian", radius, scale]:
                return Smoothing("gaussian", int(radius), float(scale))
    except ValueError as error:
        raise ConfigError(
            f"smoothing {printable(text)!r}: has a part that is not a number; expected {_SMOOTHING_FORMS}"
        ) from error
    raise ConfigError(f"smoothing {printable(text)!r}: expected {_SMOOTHING_FORMS}")


def apply_smoothing(values: Array, timeline: Timeline, smoothing: Smoothing, *, shares: bool = False) -> Array:
    """Smooths over the frames of each video; the rows of other videos have no part in it.

    The window of a row is the `radius` frames before and after it that the list has of its video, fewer at the ends.
    Distances are those of frame numbers, not of positions in the list. Rows that repeat a frame are one frame, whose
    value is their mean, and get one value.

    Args:
        values: Finite values, a row for each row of the list, shape (n, c).
        timeline: Of the list.
        smoothing: ``none`` returns `values` unchanged.
        shares: Whether the values of a row are shares of one whole, as probabilities of classes are: medians are then
            brought to the sum that the frame had; where all of them are 0, the frame keeps what it had. A mean keeps
            the sum by itself.

    Returns:
        Sums are taken in float64; float32, shape (n, c). Values stay between the least and the greatest of their
        window, but for shares of medians.
    """
    if smoothing.kind == "none":
        return np.asarray(values, dtype=np.float32)
    before = timeline.collect(values)
    if smoothing.kind == "gaussian":
        after = smooth_gaussian(before, timeline, smoothing.radius, smoothing.scale)
    else:
        after = smooth_median(before, timeline, smoothing.radius)
        if shares:
            after = _scale_to_sums(before, after)
    return timeline.distribute(after.astype(np.float32))


def smooth_predictions(
    predictions: Predictions, smoothing: Mapping[Task, Smoothing], timeline: Timeline | None = None
) -> Predictions:
    """Smooths the probabilities of each task.

    Args:
        predictions: Of a list of frames.
        smoothing: How each task is smoothed; a task without an entry is not.
        timeline: Of the list, if there is one already.

    Raises:
        DataError: If something is to be smoothed and a name has no frame number.
    """
    wanted = {task: smoothing[task] for task in TASKS if task in smoothing and smoothing[task].kind != "none"}
    columns: dict[str, Array] = {task: getattr(predictions, task) for task in TASKS}
    if wanted:
        timeline = timeline or Timeline.of(predictions.images)
        for task, how in wanted.items():
            columns[task] = apply_smoothing(columns[task], timeline, how, shares=task == "expression")
    return Predictions(predictions.images, **columns)


def _scale_to_sums(before: Array, after: Array) -> Array:
    sums, wanted = after.sum(axis=1, keepdims=True), before.sum(axis=1, keepdims=True)
    factors = np.divide(wanted, sums, out=np.ones_like(sums), where=sums > 0)
    return np.where(sums > 0, after * factors, before)
