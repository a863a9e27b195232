"""Checks a submission: every defect, those with one cause once, and dummy values that were not replaced."""

import functools
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.errors import DataError, DataWarning, Problem
from abawkit.formats.base import Column, SubmissionFormat
from abawkit.formats.layout import Deviation, normalise_layout
from abawkit.formats.readers import read_first_fields
from abawkit.formats.rows import REAL, shorten
from abawkit.formats.text import read_text
from abawkit.tables import FrameList

MANY_FRAMES: Final = 5
"""Frames with the same answer from which on a warning is given."""

MANY_SHARE: Final = 0.05
"""The same as a share of all frames, where rows have real numbers: two frames hardly ever share every digit."""


class DummyRows(NamedTuple):
    """Rows that seem to hold dummy values, not predictions.

    Attributes:
        what: What they hold, as in ``hold just the values of the list``.
        lines: Their lines, counted from 1, ascending; empty where they are in several files.
        rows: How many they are.
    """

    what: str
    lines: tuple[int, ...]
    rows: int


def find_dummy_rows(path: Path, frames: FrameList, plugin: SubmissionFormat) -> list[DummyRows]:
    """Looks for dummy values in a submission that has no defect.

    Some lists have dummy values behind each name, and entrants copy them where a frame could not be answered. Real
    numbers are compared as numbers. Where rows hold classes alone, a correct row may equal that of the list: only one
    value in all rows, or that of the list in at least half of them, is reported.

    Args:
        path: The submission.
        frames: The list that it answers.
        plugin: Its format; without ``columns``, nothing is found.

    Raises:
        DataError: If a file can't be read.
    """
    columns: Sequence[Column] | None = getattr(plugin, "columns", None)
    if not columns:
        return []
    if plugin.container == "folder":
        return _find_constant_lines(path, columns)
    rows = read_first_fields(read_text(path, "a submission"), 1)
    texts: list[str] = rows.examples.to_pylist() if rows.examples is not None else []
    listed: list[str] = frames.examples.to_pylist() if frames.examples is not None else []
    exact = _has_reals(columns)
    same = [
        row
        for row, (text, dummy) in enumerate(zip(texts, listed, strict=False))
        if dummy and _have_equal_numbers(text, dummy)
    ]
    if not exact and (len(same) < len(texts) / 2 or (len(set(listed)) > 1 and len(same) < len(texts))):
        same = []
    found = []
    if same:
        lines = tuple(int(rows.lines[row]) for row in same)
        found.append(DummyRows("hold just the values of the list", lines, len(lines)))
    images = rows.images.to_pylist()
    others = dict.fromkeys(images[row] for row in sorted(set(range(len(texts))) - set(same)))
    answers = {image: text for image, text in zip(images, texts, strict=True) if image in others}
    text = _find_constant(list(answers.values()), exact=exact)
    if text is not None:
        lines = tuple(int(rows.lines[row]) for row, other in enumerate(texts) if other == text)
        found.append(DummyRows(f"hold one and the same answer, '{shorten(text)}'", lines, len(lines)))
    return found


def _find_constant_lines(path: Path, columns: Sequence[Column]) -> list[DummyRows]:
    """One answer for many frames of a folder.

    Lines that follow each other count once: a frame that was not listed takes the answer of one that was.
    """
    files = {file.name: read_text(file, "a video's answers").decode().split("\n")[1:-1] for file in path.iterdir()}
    runs = [text for lines in files.values() for text, _ in groupby(lines)]
    text = _find_constant(runs, exact=_has_reals(columns))
    if len(files) > 1 and len(set(runs)) == 1 and _has_reals(columns):
        text = runs[0]
    if text is None:
        return []
    count = sum(lines.count(text) for lines in files.values())
    where = sum(text in lines for lines in files.values())
    return [DummyRows(f"hold one and the same answer, '{shorten(text)}', in {where:,} files", (), count)]


def _find_constant(texts: Sequence[str], *, exact: bool) -> str | None:
    """The answer that too many frames have; None where there is none."""
    if len(texts) < MANY_FRAMES:
        return None
    ((text, count),) = Counter(texts).most_common(1)
    enough = max(MANY_FRAMES, MANY_SHARE * len(texts)) if exact else len(texts)
    return text if count >= enough else None


def _has_reals(columns: Sequence[Column]) -> bool:
    return any(column.kind == "real" for column in columns)


def _have_equal_numbers(text: str, dummy: str) -> bool:
    """Whether two rows hold the same numbers, however they are written."""
    values = _parse_dummy(dummy)
    if not values:
        return False
    first, _, _ = text.partition(",")
    return float(first) == values[0] and _parse_numbers(text) == values


@functools.lru_cache(maxsize=1024)
def _parse_dummy(dummy: str) -> tuple[float, ...]:
    return _parse_numbers(dummy.rstrip(","))


def _parse_numbers(text: str) -> tuple[float, ...]:
    cells = text.split(",")
    return tuple(map(float, cells)) if all(REAL.fullmatch(cell) for cell in cells) else ()


def find_problems(path: Path, frames: FrameList, plugin: SubmissionFormat) -> list[Problem]:
    """Every defect of a submission.

    A layout that differs from the official one throughout, such as semicolons between cells or a folder before every
    name, is one defect: those that follow from it are not reported.

    Raises:
        DataError: If it can't be read as text at all, or a folder not as a folder.
    """
    refused: DataError | None = None
    try:
        problems = plugin.check(path, frames)
    except DataError as error:
        problems, refused = [], error
    if refused or problems:
        content, deviations = _normalise_submission(path, frames, plugin)
        if deviations:
            return [*deviations, *check_content(path, content, frames, plugin)]
    if refused:
        raise refused
    return problems


def check_content(
    path: Path, content: bytes | dict[str, bytes], frames: FrameList, plugin: SubmissionFormat
) -> list[Problem]:
    """Every defect of a submission that is not on disk.

    Args:
        path: The submission that it replaces, for messages; it is not read.
        content: A file, or the files of a folder by name.
        frames: The list that it answers.
        plugin: Its format.

    Raises:
        DataError: If the content can't be read as a submission at all.
    """
    with tempfile.TemporaryDirectory(prefix="abawkit-check-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the file as it was, they would name one that is gone
        copy = Path(folder) / (path.name.removesuffix(".gz") or "submission")
        if isinstance(content, bytes):
            copy.write_bytes(content)
        else:
            copy.mkdir()
            for name, text in content.items():
                (copy / name).write_bytes(text)
        try:
            return plugin.check(copy, frames)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), str(path))) from error


def _normalise_submission(
    path: Path, frames: FrameList, plugin: SubmissionFormat
) -> tuple[bytes | dict[str, bytes], list[Problem]]:
    """A submission in the official layout, with a problem for each way in which it is not; no problem where it is."""
    columns = getattr(plugin, "columns", None)
    if not columns:
        return b"", []
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    images = () if path.is_dir() else frames.images.to_pylist()
    content: dict[str, bytes] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            text = read_text(file, "a submission")
        except DataError:
            return b"", []  # the check of the format reports it
        lines, deviations = normalise_layout(text.decode().split("\n")[:-1], columns, images)
        content[file.name] = "".join(f"{line}\n" for line in lines).encode()
        problems += [
            replace(_make_problem(deviation), file=file.name if path.is_dir() else "") for deviation in deviations
        ]
    return (content if path.is_dir() else content[path.name]), problems


def _make_problem(deviation: Deviation) -> Problem:
    return Problem(deviation.rows[0] + 1, "", f"{deviation.problem}; --repair OUT corrects it")
