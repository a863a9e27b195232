"""Repairing a submission: what has one right answer is put right and named, the rest is named and left."""

import gzip
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from abawkit.errors import ConfigError, DataError, Problem
from abawkit.formats.base import Column, SubmissionFormat
from abawkit.formats.check import check_content
from abawkit.formats.lines import read_text
from abawkit.formats.mending import Mended, Repair, mended
from abawkit.formats.reorder import Order, order_of
from abawkit.formats.rows import shortened
from abawkit.tables import FrameList


@dataclass(frozen=True)
class Repaired:
    """What became of a submission.

    Attributes:
        content: The repaired file, or the files of a folder by name.
        repairs: What was put right.
        problems: What has no one right answer, with lines of the submission as it was; while there is any, `content`
            is not ready to hand in.
    """

    content: bytes | dict[str, bytes]
    repairs: list[Repair]
    problems: list[Problem]


def repaired(path: Path, frames: FrameList, plugin: SubmissionFormat) -> Repaired:
    """Repairs a submission in memory, and has its format check the result.

    Put right are a byte-order mark, ends of lines, blank lines, blanks and quotes around cells, commas behind a row and
    behind the name of an image, a header that is absent or written otherwise, integers written ``3.0``, ``+3`` or
    ``03``, the order of rows where they are just those of the list, and the layouts of `abawkit.formats.layout`. No
    value is ever changed.

    Args:
        path: The submission; it is only read.
        frames: The list that it answers.
        plugin: Its format.

    Raises:
        ConfigError: If the format does not say what its files look like.
        DataError: If there is no such submission, or it is no text at all.
    """
    header, columns = _form_of(plugin)
    if plugin.container == "folder":
        return _repaired_folder(path, frames, plugin, header, columns)
    file = _mended(path, header, columns, frames.images.to_pylist())
    doubts = [Problem(file.numbers[0], "", file.doubt)] if file.doubt else []
    order = order_of(file.rows, frames.images)
    if order and order.doubts:
        doubts += [replace(doubt, line=file.numbers[doubt.line + 1]) for doubt in order.doubts]
    elif order:
        _put_in_order(file, order)
    found = check_content(path, file.content, frames, plugin)
    problems = [replace(problem, line=file.line_before(problem.line)) for problem in found]
    return Repaired(file.content, file.notes.repairs(), sorted(problems + doubts))


def _repaired_folder(
    path: Path, frames: FrameList, plugin: SubmissionFormat, header: str, columns: Sequence[Column]
) -> Repaired:
    """The same, file by file."""
    before = plugin.check(path, frames)
    files = {}
    for file in sorted(entry for entry in path.iterdir() if entry.is_file()):
        with suppress(DataError):  # what is no text stays a problem of the folder
            files[file.name] = _mended(file, header, columns)
    content = {name: file.content for name, file in files.items()}
    found = [problem for problem in before if problem.file not in files and (path / problem.file).exists()]
    found += [Problem(file.numbers[0], "", file.doubt, name) for name, file in files.items() if file.doubt]
    for problem in check_content(path, content, frames, plugin):
        if problem.file in files:
            found.append(replace(problem, line=files[problem.file].line_before(problem.line)))
        elif not (path / problem.file).exists():
            found.append(problem)
    repairs = [repair for name, file in files.items() for repair in file.notes.repairs(name)]
    return Repaired(content, repairs, sorted(found, key=lambda problem: (problem.file, problem)))


def _form_of(plugin: SubmissionFormat) -> tuple[str, Sequence[Column]]:
    """The header and the columns of a format.

    Raises:
        ConfigError: If it does not say them.
    """
    header, columns = getattr(plugin, "header", None), getattr(plugin, "columns", None)
    if not isinstance(header, str) or not columns:
        raise ConfigError(
            f"--repair: the format {plugin.name} does not say what its files look like (it has no header and columns); "
            "abawkit check without --repair names every defect"
        )
    return header, columns


def _mended(path: Path, header: str, columns: Sequence[Column], images: Sequence[str] = ()) -> Mended:
    read_text(path, f"a submission with the header '{header}'")  # refuses what is no text
    raw = path.read_bytes()
    return mended(gzip.decompress(raw) if path.suffix == ".gz" else raw, header, columns, images)


def _put_in_order(file: Mended, order: Order) -> None:
    places = np.argsort(order.rows)
    for row in order.moved.tolist():
        name = shortened(file.rows[row].partition(",")[0])
        file.notes.add(f"'{name}' moved to row {places[row] + 1:,}, its place in the list", file.numbers[row + 1])
    file.rows = [file.rows[row] for row in order.rows.tolist()]
    file.numbers[1:] = [file.numbers[row + 1] for row in order.rows.tolist()]
