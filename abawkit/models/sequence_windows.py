"""Windows of frames within a video, and predictions that do not depend on where one window ends and another begins."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
import torch

from abawkit.models.devices import pin_memory, upload, use_exact_float32
from abawkit.models.inference import Probabilities, make_probabilities, split_columns
from abawkit.models.network import OUTPUTS
from abawkit.models.sequence import MAX_GAP, SequenceNetwork, Windows
from abawkit.tables import Array

KEPT: Final = 256
"""Frames of a window whose predictions are kept; it is longer by the network's margins."""

_BATCH: Final = 8192
"""Frames in one pass without gradients."""


class FrameSequence(Protocol):
    """The features of frames, video after video and in the order of time."""

    @property
    def starts(self) -> Array:
        """First frame of each video, and at the end the number of frames, int64 (videos + 1,)."""
        ...

    @property
    def numbers(self) -> Array:
        """Number of each frame in its video, int64 (m,); rising within a video."""
        ...

    def take(self, frames: Array) -> Array:
        """The features of frames by their indices, int64 (n,), in any order: (n, D), float16 or float32."""
        ...


class Spans(NamedTuple):
    """Ranges of consecutive frames.

    Attributes:
        begins: First frame of each, int64 (n,).
        ends: The frame after its last one, int64 (n,).
    """

    begins: Array
    ends: Array


def measure_gaps(sequence: FrameSequence) -> Array:
    """The distance of each frame to the one before it, in frame numbers, float32 (m,): 0 for the first of a video."""
    gaps = np.diff(sequence.numbers, prepend=sequence.numbers[:1])
    gaps[sequence.starts[:-1]] = 0
    return np.minimum(gaps, MAX_GAP).astype(np.float32)


def cut_videos(starts: Array, window: int, offsets: Array | None = None) -> Spans:
    """Divides videos into windows of `window` frames, those at both ends of a video shorter: each frame is in one.

    Args:
        starts: As of `FrameSequence`.
        window: Frames of a window, at least 1.
        offsets: Frames of the first window of each video, int64 (videos,), 0 to `window` - 1; 0 is a whole window.
    """
    offsets = np.zeros(len(starts) - 1, np.int64) if offsets is None else offsets
    lead = np.where(offsets > 0, window - offsets, 0)  # as if each video began that much earlier
    counts = -(-(np.diff(starts) + lead) // window)
    videos = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(videos)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[:-1][videos] - lead[videos] + within * window
    return Spans(
        np.maximum(begins, starts[:-1][videos]),
        np.minimum(begins + window, starts[1:][videos]),
    )


def widen(spans: Spans, starts: Array, margins: tuple[int, int]) -> Spans:
    """Adds frames before and after each range, as far as its video goes."""
    videos = np.searchsorted(starts, spans.begins, side="right") - 1
    before, after = margins
    begins = np.maximum(spans.begins - before, starts[:-1][videos])
    return Spans(begins, np.minimum(spans.ends + after, starts[1:][videos]))


class Padded(NamedTuple):
    """The frames of B windows as arrays of L columns; the values behind the end of a window are 0.

    Attributes:
        values: (B, L, D), of the type of the features.
        gaps: float32 (B, L).
        mask: bool (B, L).
    """

    values: Array
    gaps: Array
    mask: Array


def pad_windows(sequence: FrameSequence, gaps: Array, spans: Spans, columns: int | None = None) -> Padded:
    """Reads the features of windows.

    Args:
        sequence: The frames.
        gaps: Those of `measure_gaps`.
        spans: The windows, at least one.
        columns: Frames of the longest window, or more; None for those of the longest one here.
    """
    lengths = spans.ends - spans.begins
    positions = np.arange(lengths.max() if columns is None else columns)
    mask = positions < lengths[:, None]
    frames = (spans.begins[:, None] + positions)[mask]
    found = sequence.take(frames)
    if mask.all():
        return Padded(found.reshape(*mask.shape, -1), gaps[frames].reshape(mask.shape), mask)
    values = np.zeros((*mask.shape, found.shape[1]), found.dtype)
    distances = np.zeros(mask.shape, np.float32)
    values[mask], distances[mask] = found, gaps[frames]
    return Padded(values, distances, mask)


@torch.inference_mode()
def infer_sequence(
    network: SequenceNetwork,
    sequence: FrameSequence,
    device: torch.device,
    *,
    kept: int = KEPT,
    between: Callable[[int], None] | None = None,
) -> Probabilities:
    """Runs a network over all frames of a sequence.

    Each window reads the network's margins before and after the frames whose predictions are kept, so that `kept`
    changes nothing but rounding for ``frame``, ``tcn`` and ``transformer``. What ``lstm`` and ``bigru`` remember
    from beyond their margin is lost.

    Args:
        network: On `device`; is put into evaluation mode.
        sequence: The frames.
        device: Of the network.
        kept: Frames of a window whose predictions are kept, at least 1.
        between: Called after each pass with the number of frames that are done; may raise an error to stop.

    Returns:
        Those of each frame, in the order of the sequence.
    """
    network.eval()
    starts, gaps = sequence.starts, measure_gaps(sequence)
    answers = np.zeros((int(starts[-1]), sum(OUTPUTS.values())), np.float32)
    own = cut_videos(starts, kept)
    wide = widen(own, starts, network.config.margins)
    dtype = next(network.parameters()).dtype
    done = 0
    for chosen in _group_windows(wide):
        spans, inner = (Spans(each.begins[chosen], each.ends[chosen]) for each in (wide, own))
        padded = pad_windows(sequence, gaps, spans)
        frames, rows = _find_window_rows(spans, inner, padded.mask.shape[1])
        tensors = [torch.from_numpy(each) for each in (*padded, rows)]
        values, *rest = (upload(pin_memory(each, device), device) for each in tensors)
        with use_exact_float32():
            answers[frames] = make_probabilities(network(Windows(values.to(dtype), *rest))).wait().numpy()
        done += len(frames)
        if between:
            between(done)
    return split_columns(answers)


def _group_windows(spans: Spans) -> Iterator[Array]:
    """Windows of similar length, as many as fit into a pass."""
    lengths = spans.ends - spans.begins
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        count = max(1, _BATCH // int(lengths[order[first]]))
        while count > 1 and lengths[order[min(first + count, len(order)) - 1]] * count > _BATCH:
            count = max(1, count * 3 // 4)
        yield order[first : first + count]
        first += count


def _find_window_rows(spans: Spans, inner: Spans, length: int) -> tuple[Array, Array]:
    """The frames that are kept, int64 (n,), and their positions among the padded ones, int64 (n,)."""
    counts = inner.ends - inner.begins
    windows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(windows)) - np.repeat(np.cumsum(counts) - counts, counts)
    frames = inner.begins[windows] + within
    return frames, windows * length + frames - spans.begins[windows]
