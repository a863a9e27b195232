"""Whether the rows of a submission are those of the list: none missing, added or moved, repeated rows kept."""

from bisect import bisect_left
from collections import Counter
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.errors import SHOWN_PROBLEMS, Problem, format_count
from abawkit.formats.rows import shorten
from abawkit.frame_columns import count_occurrences
from abawkit.tables import Array, FrameList


def find_longest_increasing(values: Array) -> Array:
    """Indices of a longest strictly increasing subsequence of integers, shape (n,), in order."""
    chain: list[int] = []
    lengths = _measure_increasing(values.tolist())
    wanted = max(lengths, default=0)
    for index in range(len(values) - 1, -1, -1):
        if lengths[index] == wanted and (not chain or values[index] < values[chain[-1]]):
            chain.append(index)
            wanted -= 1
    return np.array(chain[::-1], dtype=np.int64)


def find_always_increasing(values: Array) -> Array:
    """True for the integers, shape (n,), that are in every longest strictly increasing subsequence; shape (n,)."""
    ending = np.array(_measure_increasing(values.tolist()), dtype=np.int64)
    starting = np.array(_measure_increasing((-values[::-1]).tolist())[::-1], dtype=np.int64)
    member = ending + starting - 1 == max(ending, default=0)  # of one of them at least, as its `ending`-th
    rivals = np.bincount(ending[member], minlength=len(values) + 1)
    return np.asarray(member & (rivals[ending] == 1))


def _measure_increasing(values: list[int]) -> list[int]:
    """Length of the longest strictly increasing subsequence that ends at each value.

    Source: patience sorting, C. Schensted, Longest increasing and decreasing subsequences, 1961; O(n log n).
    """
    ends: list[int] = []  # ends[k]: the smallest value that ends an increasing subsequence of k + 1
    lengths = []
    for value in values:
        length = bisect_left(ends, value)
        ends[length : length + 1] = [value]
        lengths.append(length + 1)
    return lengths


_OTHER_LIST: Final = "this is the list of another track or split, or names are written otherwise"


def find_order_problems(rows: FrameList, frames: FrameList) -> list[Problem]:
    """Compares the rows of a file with the list, row by row, and names each difference once.

    A row is the pair of image and occurrence. The rows after a missing one are not wrong: they are matched with the
    list in the way that reports the fewest rows as moved.

    Returns:
        Problems without order. A missing row has the line at which it should be. Where no name of the file is in the
        list, as in that of another track or split, there is one problem. Where fewer than half of the rows are, and
        there are many problems, one more says so for the file as a whole.
    """
    if rows.images.equals(frames.images):
        return []
    if len(rows) and len(frames) and not set(rows.images.to_pylist()) & set(frames.images.to_pylist()):
        return [_describe_other_list(rows, frames)]
    listed = {key: row for row, key in enumerate(make_keys(frames.images))}
    position = np.array([listed.get(key, -1) for key in make_keys(rows.images)], dtype=np.int64)
    known = np.flatnonzero(position >= 0)
    kept = known[find_longest_increasing(position[known])]
    moved = np.setdiff1d(known, kept)
    missing = np.setdiff1d(np.arange(len(frames)), position[known])
    times = Counter(frames.images.to_pylist())
    problems = [_describe_extra_row(rows, times, row) for row in np.flatnonzero(position < 0).tolist()]
    for row in moved.tolist():
        place = f"its place in the list is row {position[row] + 1:,} (line {frames.lines[position[row]]:,} of the list)"
        problems.append(
            Problem(int(rows.lines[row]), "image", f"got '{shorten(rows.images[row].as_py())}' out of order; {place}")
        )
    for row in missing.tolist():
        before = int(np.searchsorted(position[kept], row))
        line = int(rows.lines[kept[before - 1]]) + 1 if before else int(rows.lines[0] if len(rows) else 2)
        name = shorten(frames.images[row].as_py())
        problems.append(Problem(line, "image", f"row missing: '{name}' (line {frames.lines[row]:,} of the list)"))
    if len(known) < len(rows) / 2 and len(problems) > SHOWN_PROBLEMS:
        what = f"only {len(known):,} of its {len(rows):,} rows name one of the {len(frames):,} listed frames"
        problems.append(Problem(0, "image", f"{what}; {_OTHER_LIST}"))
    return problems


def make_keys(images: pa.StringArray) -> list[tuple[str, int]]:
    """The identity of each row: the image, and how many rows before have it, from 0."""
    return list(zip(images.to_pylist(), count_occurrences(images).tolist(), strict=True))


def _describe_other_list(rows: FrameList, frames: FrameList) -> Problem:
    named, listed = (shorten(table.images[0].as_py()) for table in (rows, frames))
    return Problem(
        0,
        "image",
        f"none of its {len(rows):,} rows names one of the {len(frames):,} listed frames: it begins with '{named}', the "
        f"list with '{listed}'; {_OTHER_LIST}",
    )


def _describe_extra_row(rows: FrameList, times: Counter[str], row: int) -> Problem:
    name = rows.images[row].as_py()
    listed = times[name]
    often = format_count(listed, "time")
    reason = f"the list has it {often}, this is one more" if listed else "the list does not have it"
    return Problem(int(rows.lines[row]), "image", f"got '{shorten(name)}', {reason}")
