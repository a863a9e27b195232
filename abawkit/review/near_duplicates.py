"""Frames that are nearly the same, found among neighbours in time and among crops that occur again elsewhere.

Crops of one video are all alike, so a short hash can't tell a smile from a neutral face: a hash only finds candidates
elsewhere, and pictures are compared as grey thumbnails, in which each pixel is the mean of 4 x 4.

Source: the hash is a difference hash (of each two neighbouring means, which is brighter): N. Krawetz, "Kind of like
that" (2013), https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html, with 4 x 14 means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from abawkit.errors import DataError
from abawkit.frame_columns import Timeline, rank_videos
from abawkit.frames.packed import PackedFrames
from abawkit.tables import Annotations, Array

SAME_MEAN: Final = 1.5
"""Mean difference of two thumbnails, of 255, from which on they are not nearly the same."""
SAME_MOST: Final = 10
"""The same of their largest difference: a mouth that opens changes a part of the picture alone."""

_SIDE: Final = 28
_FRAMES_AT_ONCE: Final = 1024
_GREY_WEIGHTS: Final = np.array([299, 587, 114], np.float32) / 1000


@dataclass(frozen=True)
class SimilarRows:
    """Pairs of rows whose frames are nearly the same.

    Attributes:
        first: A row of each pair, int64, shape (m,).
        second: The other row.
        difference: Mean difference of their thumbnails, 0 to below `SAME_MEAN`, float64, shape (m,).
    """

    first: Array
    second: Array
    difference: Array


def make_thumbnails(pixels: Array) -> Array:
    """Grey thumbnails of frames, (n, 112, 112, 3) uint8 to (n, 28, 28) uint8."""
    grey = pixels @ _GREY_WEIGHTS
    size = grey.shape[1] // _SIDE
    means: Array = grey.reshape(len(grey), _SIDE, size, _SIDE, size).mean(axis=(2, 4))
    return np.rint(means).astype(np.uint8)


def hash_thumbnails(thumbnails: Array) -> Array:
    """A difference hash of each thumbnail: uint64, shape (n,), of which 52 bits are used."""
    means = thumbnails.reshape(len(thumbnails), 4, 7, 14, 2).mean(axis=(2, 4))
    bits = (means[:, :, 1:] > means[:, :, :-1]).reshape(len(thumbnails), 52)
    return np.asarray(bits @ (np.uint64(1) << np.arange(52, dtype=np.uint64)), dtype=np.uint64)


def find_similar_rows(
    annotations: Annotations,
    frames: Array,
    store: PackedFrames,
    progress: Callable[[int, int], None] | None = None,
) -> SimilarRows:
    """Finds pairs of rows whose frames are nearly the same: neighbours in time, and frames of one hash.

    Args:
        annotations: The rows, n of them.
        frames: Index of each row's frame in `store`, -1 where it has none, int64, shape (n,).
        store: The packed frames.
        progress: Called with the frames read and the frames in all.
    """
    there = np.flatnonzero(frames >= 0)
    used, of_row = np.unique(frames[there], return_inverse=True)
    thumbnails = np.empty((len(used), _SIDE, _SIDE), np.uint8)
    for start in range(0, len(used), _FRAMES_AT_ONCE):
        thumbnails[start : start + _FRAMES_AT_ONCE] = make_thumbnails(store.take(used[start : start + _FRAMES_AT_ONCE]))
        if progress:
            progress(min(start + _FRAMES_AT_ONCE, len(used)), len(used))
    rows = annotations.select(there)
    pairs = {*_pair_neighbours(rows), *_pair_hashes(hash_thumbnails(thumbnails)[of_row])}
    if not pairs:
        nothing = np.zeros(0, np.int64)
        return SimilarRows(nothing, nothing, np.zeros(0))
    first, second = np.array(sorted(pairs), dtype=np.int64).T
    differences = [_compare(thumbnails[of_row[a]], thumbnails[of_row[b]]) for a, b in zip(first, second, strict=True)]
    mean, most = np.array(differences).T
    same = (mean < SAME_MEAN) & (most < SAME_MOST)
    return SimilarRows(there[first[same]], there[second[same]], mean[same])


def _compare(a: Array, b: Array) -> tuple[float, float]:
    difference = np.abs(a.astype(np.int16) - b)
    return float(difference.mean()), float(difference.max())


def _pair_neighbours(rows: Annotations) -> list[tuple[int, int]]:
    """Each row with the next one of its video in time; in the order of the list where names have no numbers."""
    videos = rank_videos(rows.images)
    try:
        order = Timeline.of(rows.images).order
    except DataError:
        order = np.argsort(videos, kind="stable")
    together = videos[order[1:]] == videos[order[:-1]]
    return _make_pairs(order[:-1][together], order[1:][together])


def _pair_hashes(hashes: Array) -> list[tuple[int, int]]:
    """Each row with the next one of its hash, in the order of rows."""
    order = np.argsort(hashes, kind="stable")
    together = hashes[order[1:]] == hashes[order[:-1]]
    return _make_pairs(order[:-1][together], order[1:][together])


def _make_pairs(a: Array, b: Array) -> list[tuple[int, int]]:
    return list(zip(np.minimum(a, b).tolist(), np.maximum(a, b).tolist(), strict=True))
