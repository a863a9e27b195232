"""Dummy values left in a submission: rows that hold just what the list has, and one row for many frames."""

import functools
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.formats.base import Column, SubmissionFormat
from abawkit.formats.lines import read_text
from abawkit.formats.lists import first_fields
from abawkit.formats.rows import REAL, shortened
from abawkit.tables import FrameList

MANY_FRAMES: Final = 5
"""Frames from which on one row for all of them is worth a warning."""

MANY_SHARE: Final = 0.05
"""Share of the frames from which on one row for them is worth a warning, where rows have real numbers: those of two
frames are hardly ever the same to the last digit."""


class DummyRows(NamedTuple):
    """Rows that hold what nobody predicted, as it seems.

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
    numbers are compared as numbers. Where rows hold classes alone, a row may well be right though it is that of the
    list: then only one value for all rows, or that of the list for half of them, is named.

    Args:
        path: The submission.
        frames: The list that it answers.
        plugin: Its format; of one that does not say its columns, nothing is known.

    Raises:
        DataError: If a file can't be read.
    """
    columns: Sequence[Column] | None = getattr(plugin, "columns", None)
    if not columns:
        return []
    if plugin.container == "folder":
        return _constant_files(path, columns)
    rows = first_fields(read_text(path, "a submission"), 1)
    texts: list[str] = rows.examples.to_pylist() if rows.examples is not None else []
    listed: list[str] = frames.examples.to_pylist() if frames.examples is not None else []
    exact = _has_reals(columns)
    same = [row for row, (text, dummy) in enumerate(zip(texts, listed, strict=False)) if dummy and _equal(text, dummy)]
    if not exact and (len(same) < len(texts) / 2 or (len(set(listed)) > 1 and len(same) < len(texts))):
        same = []
    found = []
    if same:
        lines = tuple(int(rows.lines[row]) for row in same)
        found.append(DummyRows("hold just the values of the list", lines, len(lines)))
    images = rows.images.to_pylist()
    others = dict.fromkeys(images[row] for row in sorted(set(range(len(texts))) - set(same)))
    answers = {image: text for image, text in zip(images, texts, strict=True) if image in others}
    text = _constant(list(answers.values()), exact=exact)
    if text is not None:
        lines = tuple(int(rows.lines[row]) for row, other in enumerate(texts) if other == text)
        found.append(DummyRows(f"hold one and the same answer, '{shortened(text)}'", lines, len(lines)))
    return found


def _constant_files(path: Path, columns: Sequence[Column]) -> list[DummyRows]:
    """One answer for many frames of a folder.

    Lines that follow each other count once: a frame that was not listed takes the answer of one that was.
    """
    files = {file.name: read_text(file, "a video's answers").decode().split("\n")[1:-1] for file in path.iterdir()}
    runs = [text for lines in files.values() for text, _ in groupby(lines)]
    text = _constant(runs, exact=_has_reals(columns))
    if len(files) > 1 and len(set(runs)) == 1 and _has_reals(columns):
        text = runs[0]
    if text is None:
        return []
    count = sum(lines.count(text) for lines in files.values())
    where = sum(text in lines for lines in files.values())
    return [DummyRows(f"hold one and the same answer, '{shortened(text)}', in {where:,} files", (), count)]


def _constant(texts: Sequence[str], *, exact: bool) -> str | None:
    """The answer that too many frames have; None where there is none."""
    if len(texts) < MANY_FRAMES:
        return None
    ((text, count),) = Counter(texts).most_common(1)
    enough = max(MANY_FRAMES, MANY_SHARE * len(texts)) if exact else len(texts)
    return text if count >= enough else None


def _has_reals(columns: Sequence[Column]) -> bool:
    return any(column.kind == "real" for column in columns)


def _equal(text: str, dummy: str) -> bool:
    """Whether two rows hold the same numbers, however they are written."""
    values = _values(dummy)
    if not values:
        return False
    first, _, _ = text.partition(",")
    return float(first) == values[0] and _numbers(text) == values


@functools.lru_cache(maxsize=1024)
def _values(dummy: str) -> tuple[float, ...]:
    return _numbers(dummy.rstrip(","))


def _numbers(text: str) -> tuple[float, ...]:
    cells = text.split(",")
    return tuple(map(float, cells)) if all(REAL.fullmatch(cell) for cell in cells) else ()
