"""Repairs a submission: a defect with exactly one correction is corrected; every other one is reported."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from abawkit.errors import ConfigError, DataError, Problem
from abawkit.formats.base import Column, SubmissionFormat
from abawkit.formats.check import check_content
from abawkit.formats.repair_lines import Repair, RepairedText, repair_text
from abawkit.formats.row_order import find_always_increasing, find_longest_increasing, make_keys
from abawkit.formats.rows import REAL, shorten
from abawkit.formats.text import read_text
from abawkit.frame_columns import find_videos
from abawkit.tables import Array, FrameList


@dataclass(frozen=True)
class RowOrder:
    """The order of a file's rows that the list asks for.

    Attributes:
        rows: For each row of the list the row of the file that belongs there, int64, shape (n,).
        moved: Rows of the file that have to move, the fewest that there can be, in order.
        doubts: Why rows can't be told apart, with the row of the file as their line; empty where the order is certain.
    """

    rows: Array
    moved: Array
    doubts: list[Problem]


def find_row_order(rows: list[str], listed: pa.StringArray) -> RowOrder | None:
    """Matches rows with a list by image and occurrence.

    Rows of one image with different values can't be told apart by name: their positions are certain only where their
    video's rows can't have been moved past them. Rows of other videos may stand anywhere between. `rows` are
    comma-separated text that begins with the image.

    Returns:
        The order; None where a row is missing or one is too many, or where all is in place.
    """
    names = [row.partition(",")[0] for row in rows]
    images = pa.array(names, pa.string())
    if images.equals(listed) or Counter(names) != Counter(listed.to_pylist()):
        return None
    place = {key: row for row, key in enumerate(make_keys(listed))}
    places = np.array([place[key] for key in make_keys(images)], dtype=np.int64)
    moved = np.setdiff1d(np.arange(len(rows)), find_longest_increasing(places))
    return RowOrder(np.argsort(places), moved, _find_doubts(rows, names, places))


def _find_doubts(rows: list[str], names: list[str], places: Array) -> list[Problem]:
    """Rows of one image that differ, in videos whose rows are not in order among themselves."""
    same = defaultdict(list)
    for row, name in enumerate(names):
        same[name].append(row)
    repeated = [group for group in same.values() if len(group) > 1]
    differing = [group for group in repeated if len({_normalise_row(rows[row]) for row in group}) > 1]
    if not differing:
        return []
    videos = find_videos(pa.array(names, pa.string())).dictionary_encode().indices.to_numpy()
    settled = np.ones(len(rows), dtype=bool)
    for video in np.unique(videos[[group[0] for group in differing]]).tolist():
        members = np.flatnonzero(videos == video)
        settled[members] = find_always_increasing(places[members])
    return [
        Problem(
            row,
            "image",
            f"'{shorten(names[row])}' is in {len(group)} rows with different values, and rows of its video are "
            "out of order; the order of these rows is unknown",
        )
        for group in differing
        if not settled[group].all()
        for row in group
    ]


def _normalise_row(row: str) -> tuple[float | str, ...]:
    """The values of a row, however its numbers are written."""
    return tuple(float(cell) if REAL.fullmatch(cell) else cell for cell in row.split(",")[1:])


@dataclass(frozen=True)
class RepairedSubmission:
    """A submission after its repair.

    Attributes:
        content: The repaired file, or the files of a folder by name.
        repairs: What was corrected.
        problems: Defects without one correction, with lines of the original submission; while there is any, `content`
            is not valid.
    """

    content: bytes | dict[str, bytes]
    repairs: list[Repair]
    problems: list[Problem]


def repair_content(path: Path, frames: FrameList, plugin: SubmissionFormat) -> RepairedSubmission:
    """Repairs a submission in memory, and has its format check the result.

    Corrected are a byte-order mark, ends of lines, blank lines, blanks and quotes around cells, commas behind a row and
    behind the name of an image, a header that is absent or written otherwise, integers written ``3.0``, ``+3`` or
    ``03``, the order of rows where they are just those of the list, and the layouts of `abawkit.formats.layout`. No
    value is ever changed.

    Args:
        path: The submission; it is only read.
        frames: The list that it answers.
        plugin: Its format.

    Raises:
        ConfigError: If the format has no ``header`` and ``columns``.
        DataError: If there is no such submission, or it is not text.
    """
    header, columns = _get_form(plugin)
    if plugin.container == "folder":
        return _repair_folder(path, frames, plugin, header, columns)
    file = _repair_content(path, header, columns, frames.images.to_pylist())
    doubts = [Problem(file.numbers[0], "", file.doubt)] if file.doubt else []
    order = find_row_order(file.rows, frames.images)
    if order and order.doubts:
        doubts += [replace(doubt, line=file.numbers[doubt.line + 1]) for doubt in order.doubts]
    elif order:
        _reorder_rows(file, order)
    found = check_content(path, file.content, frames, plugin)
    problems = [replace(problem, line=file.line_before(problem.line)) for problem in found]
    return RepairedSubmission(file.content, file.notes.repairs(), sorted(problems + doubts))


def _repair_folder(
    path: Path, frames: FrameList, plugin: SubmissionFormat, header: str, columns: Sequence[Column]
) -> RepairedSubmission:
    """The same, file by file."""
    before = plugin.check(path, frames)
    files = {}
    for file in sorted(entry for entry in path.iterdir() if entry.is_file()):
        with suppress(DataError):  # what is no text stays a problem of the folder
            files[file.name] = _repair_content(file, header, columns)
    content = {name: file.content for name, file in files.items()}
    found = [problem for problem in before if problem.file not in files and (path / problem.file).exists()]
    found += [Problem(file.numbers[0], "", file.doubt, name) for name, file in files.items() if file.doubt]
    for problem in check_content(path, content, frames, plugin):
        if problem.file in files:
            found.append(replace(problem, line=files[problem.file].line_before(problem.line)))
        elif not (path / problem.file).exists():
            found.append(problem)
    repairs = [repair for name, file in files.items() for repair in file.notes.repairs(name)]
    return RepairedSubmission(content, repairs, sorted(found, key=lambda problem: (problem.file, problem)))


def _get_form(plugin: SubmissionFormat) -> tuple[str, Sequence[Column]]:
    """The header and the columns of a format; raises ConfigError if it has none."""
    header, columns = getattr(plugin, "header", None), getattr(plugin, "columns", None)
    if not isinstance(header, str) or not columns:
        raise ConfigError(
            f"--repair: the format {plugin.name} can't be repaired, as it has no header and columns; "
            "abawkit check without --repair names every defect"
        )
    return header, columns


def _repair_content(path: Path, header: str, columns: Sequence[Column], images: Sequence[str] = ()) -> RepairedText:
    read_text(path, f"a submission with the header '{header}'")  # refuses what is no text
    raw = path.read_bytes()
    return repair_text(gzip.decompress(raw) if path.suffix == ".gz" else raw, header, columns, images)


def _reorder_rows(file: RepairedText, order: RowOrder) -> None:
    places = np.argsort(order.rows)
    for row in order.moved.tolist():
        name = shorten(file.rows[row].partition(",")[0])
        file.notes.add(f"'{name}' moved to row {places[row] + 1:,}, its place in the list", file.numbers[row + 1])
    file.rows = [file.rows[row] for row in order.rows.tolist()]
    file.numbers[1:] = [file.numbers[row + 1] for row in order.rows.tolist()]
