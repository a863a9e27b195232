"""Frames by video and number, for formats with a file per video and a line per frame."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, Problem
from abawkit.formats.rows import shorten
from abawkit.frame_columns import are_plain_names, split_names
from abawkit.frame_names import find_name_defect
from abawkit.tables import Array, FrameList

MAX_FRAMES: Final = 10_000_000
"""Largest number of lines of a submission. Aff-Wild2 has 2.8 million frames (https://arxiv.org/abs/1811.07770); a list
that asks for more has a wrong frame number, and would fill the disk."""


def find_frame_problems(frames: FrameList) -> list[Problem]:
    """The names of a list that have no line in a file per video, in the order of rows.

    Where there are none, all names are safe as names of files.
    """
    _, numbers = split_names(frames.images)
    if (
        len(numbers)
        and numbers.min() >= 1
        and are_plain_names(frames.images)
        and not _count_excess_frames(frames.images, numbers)
    ):
        return []
    if total := _count_excess_frames(frames.images, numbers):
        what = f"the last frames of the videos add up to {total:,}, expected at most {MAX_FRAMES:,} in all"
        return [Problem(0, "image", f"{what}: a frame number is wrong")]
    return [
        Problem(int(line), "image", f"{defect}: '{shorten(name)}'")
        for line, name, number in zip(frames.lines, frames.images.to_pylist(), numbers.tolist(), strict=True)
        if (defect := find_name_defect(name) or (_describe_unnumbered(name) if number < 1 else None))
    ]


def assign_rows(images: pa.StringArray, frames: Mapping[str, int] | None = None) -> dict[str, Array]:
    """For each line of each video, the row that answers it.

    A line has a frame from 1 to the last one listed of its video, or to its last frame where that is known. A frame
    that is not listed takes the answer of the nearest one that is, and of two equally near the earlier; of rows that
    repeat a frame, the first answers.

    Args:
        images: Names without a `find_frame_problems`.
        frames: Number of frames of each video, as far as they are known and more than are listed.

    Returns:
        By video, in the order of the list: row numbers, int64, shape (last frame,).
    """
    known = frames or {}
    groups = _group_by_video(images)
    return {video: _find_nearest_rows(rows, numbers, known.get(video, 0)) for video, rows, numbers in groups}


def list_video_frames(frames: FrameList) -> dict[str, Array]:
    """The frames of each video that a list has.

    Returns:
        By video, in the order of the list: frame numbers without repeats, ascending, int64.

    Raises:
        DataError: If a name has a `find_frame_problems`.
    """
    if problems := find_frame_problems(frames):
        raise DataError(f"line {problems[0].line:,} of the list: {problems[0].message}; give another list")
    return {video: np.unique(numbers) for video, _, numbers in _group_by_video(frames.images)}


def _group_by_video(images: pa.StringArray) -> Iterator[tuple[str, Array, Array]]:
    """Each video with its rows in the order of frames, and the number of each row's frame."""
    videos, numbers = split_names(images)
    coded = videos.dictionary_encode()
    codes = coded.indices.to_numpy()
    order = np.lexsort((numbers, codes))  # stable: of equal frames, the first row stays first
    bounds = np.searchsorted(codes[order], np.arange(len(coded.dictionary) + 1))
    for video, start, end in zip(coded.dictionary.to_pylist(), bounds[:-1], bounds[1:], strict=True):
        rows = order[start:end]
        yield video, rows, numbers[rows]


def _find_nearest_rows(rows: Array, numbers: Array, frames: int) -> Array:
    """For each frame from 1 to the last of these or of the video, ascending: the row of the nearest one."""
    listed, first = np.unique(numbers, return_index=True)
    lines = np.arange(1, max(listed[-1], frames) + 1)
    after = np.minimum(np.searchsorted(listed, lines), len(listed) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(listed[after] - lines) < np.abs(lines - listed[before])
    return np.asarray(rows[first[np.where(nearer, after, before)]])


def _count_excess_frames(images: pa.StringArray, numbers: Array) -> int:
    """The sum of the videos' last frames, where it is more than `MAX_FRAMES`; else 0."""
    if not len(images) or numbers.max(initial=0) * len(images) <= MAX_FRAMES:
        return 0
    codes = split_names(images)[0].dictionary_encode().indices.to_numpy(zero_copy_only=False)
    known = numbers > 0
    last = np.zeros(len(images), dtype=np.int64)
    np.maximum.at(last, codes[known].astype(np.int64), numbers[known])
    return int(last.sum()) if last.sum() > MAX_FRAMES else 0


def _describe_unnumbered(name: str) -> str:
    if name.count("/") > 1:
        return "got a video in a folder of another, expected VIDEO/00001.jpg, as a file is named by its video"
    return "got a name without a frame number from 1, expected VIDEO/00001.jpg"
