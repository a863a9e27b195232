"""One file, one row for each row of the list, in its order, repeats kept: the container of all editions but the third.

An edition's format is a subclass that has its name, its header and the answers of its rows.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from abawkit.errors import DataError, Problem, ProblemsError
from abawkit.formats.base import Column, Container, SubmissionFormat, find_formats
from abawkit.formats.column_names import OTHER_TRACK, find_other_track
from abawkit.formats.label_columns import (
    HEADER_NAMES,
    format_label_cells,
    make_annotations,
    make_columns,
    make_fields,
    make_submission,
)
from abawkit.formats.readers import holds_names_alone, read_annotations, read_first_fields, read_list
from abawkit.formats.row_order import find_order_problems
from abawkit.formats.rows import Rows, make_no_rows, read_rows, shorten
from abawkit.formats.text import count_header_lines, read_text
from abawkit.labels import FIELDS, Answer
from abawkit.tables import Annotations, FrameList, Submission

_ROWS_AT_ONCE: Final = 1 << 16
"""Rows that are encoded at a time."""


class FlatFile:
    """A file with a header over rows of an image name and its answers, in the order of `tasks`.

    Attributes:
        image_column_names: Names of a header's first field that give no warning; the first is the official one.
        strict_header: Whether a blank behind a comma of the header is a defect. The text of some editions prints one
            where the line is long.
    """

    name: str
    summary: str
    tasks: tuple[Answer, ...]
    image_column_names: Sequence[str] = ("image_location", "image")
    strict_header: bool = False
    container: Container = "file"

    @property
    def header(self) -> str:
        """The first line: of a single task, ``image_location`` and the names of its answer."""
        return ",".join(["image_location", *HEADER_NAMES[self.tasks[0]]])

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of a row."""
        return (Column("image", "image"), *make_columns(self.tasks))

    def read_list(self, path: Path) -> FrameList:
        """Reads the list of frames; rows may end in nothing, in a comma or in dummy values.

        Raises:
            DataError: If the file is no list, or its header names the answers of another track.
            ProblemsError: If an image name is not what it must be.
        """
        return read_list(path, self.image_column_names, name=self.name, tasks=self.tasks, header=self.header)

    def encode(self, submission: Submission) -> bytes:
        r"""The official file: V and A with six decimals, integers for classes and action units.

        Raises:
            DataError: If the submission does not hold these answers.

        Example:
            >>> from abawkit.formats.editions import ABAW5VA
            >>> path = Path("submission.txt")
            >>> _ = path.write_text("image_location,valence,arousal\nv/00001.jpg,0.25,-1\n")
            >>> submission = ABAW5VA().read(path)
            >>> ABAW5VA().encode(submission)
            b'image_location,valence,arousal\nv/00001.jpg,0.250000,-1.000000\n'
        """
        parts = [f"{self.header}\n".encode()]
        # Block by block, as text in strings of Python takes five times its bytes.
        for start in range(0, max(1, len(submission)), _ROWS_AT_ONCE):
            block = submission.select(np.arange(start, min(start + _ROWS_AT_ONCE, len(submission))))
            cells = format_label_cells(block, self.tasks, self.name)
            rows = [f"{image},{text}\n" for image, text in zip(block.images.to_pylist(), cells, strict=True)]
            parts.append("".join(rows).encode())
        return b"".join(parts)

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every way in which the file differs from what the organisers' script reads."""
        images, _, problems = self._parse(path)
        return sorted([*problems, *find_order_problems(images, frames)])

    def read(self, path: Path) -> Submission:
        """Reads a submission and checks every cell; `check` compares its order with the list.

        Raises:
            ProblemsError: If the header or any cell is not what it must be.
        """
        _, rows, problems = self._parse(path)
        if problems:
            raise ProblemsError(path, problems, describe_width_error(path, self.name))
        return make_submission(rows.images, rows, self.tasks)

    def read_truth(self, path: Path) -> Annotations | Submission:
        """Reads what a submission is scored against.

        Args:
            path: An annotation file of sixteen columns, or a file of this format's form, in which -5 (valence, arousal)
                and -1 mark what is not annotated. Compound expressions are in no annotation file: for them, a file of
                this form in which every row has its class.

        Raises:
            DataError: If it is neither.
            ProblemsError: If the header or any cell is not what it must be.
        """
        if "compound" in self.tasks:
            return self.read(path)
        if len(make_fields(self.tasks)) == len(FIELDS) - 1 or _count_fields(path) == len(FIELDS):
            return read_annotations(path)
        _, rows, problems = self._parse(path, missing=True)
        if problems:
            what_to_do = "give annotations of these rows, in a file of 16 columns or in this form"
            raise ProblemsError(path, problems, what_to_do)
        return make_annotations(rows.images, rows, self.tasks)

    def _parse(self, path: Path, *, missing: bool = False) -> tuple[FrameList, Rows, list[Problem]]:
        """The images of all rows with their lines, the rows of the right width, and every problem of the file."""
        fields = make_fields(self.tasks)
        expected = f"a submission with the header '{self.header}' and {len(fields) + 1} fields a row"
        content = read_text(path, expected)
        skip_lines = count_header_lines(path, content, expected, self.image_column_names)
        problems: list[Problem] = []
        header = content[: content.index(b"\n")].decode() if skip_lines else ""
        if defect := find_header_defect(header, self, strict=self.strict_header):
            problems.append(Problem(1, "", defect.message))
            if defect.other_track:
                return read_first_fields(content, skip_lines), make_no_rows(len(fields)), problems
        rows, found = read_rows(content, fields, skip_lines=skip_lines, missing=missing)
        if not found:
            return FrameList(images=rows.images, lines=rows.lines), rows, problems
        frames = read_first_fields(content, skip_lines)
        if len(frames) and holds_names_alone(frames):
            what = f"its {len(frames):,} rows hold names alone: this is a list of frames, not an answer to it"
            return frames, rows, [*problems, Problem(0, "", what)]
        # a row of another width still counts in the order
        named = np.array([bool(name) for name in frames.images.to_pylist()], dtype=bool)
        return frames.select(named), rows, problems + found


class HeaderDefect(NamedTuple):
    """What is wrong with a header, and whether it is that of another track, whose rows have other columns."""

    message: str
    other_track: bool


def find_header_defect(header: str, plugin: SubmissionFormat, *, strict: bool = False) -> HeaderDefect | None:
    """Compares a first line with the header of a format.

    Args:
        header: The line; ``""`` where the file has no header.
        plugin: The format, which has a ``header``.
        strict: Whether a blank behind a comma is a defect.
    """
    official: str = getattr(plugin, "header", "")
    if official in (header, "" if strict else re.sub(", +", ",", header)):
        return None
    named = header if plugin.container == "file" else f"image,{header}"
    other = find_other_track(named, plugin.tasks) if header else None
    hint = OTHER_TRACK + " or ".join(find_formats(other, plugin.container)) if other else ""
    got = f"got the header '{shorten(header)}'" if header else "got no header"
    return HeaderDefect(f"{got}, expected '{official}'{hint}", other is not None)


def describe_width_error(path: Path, name: str) -> str:
    """How to see all defects of a submission."""
    named = "" if name == "abaw7" else f" --format {name}"  # abaw7 is the default
    return f"abawkit check {path}{named} --list LIST names every defect"


def _count_fields(path: Path) -> int:
    """Fields of the first row; headers are of any width."""
    try:
        content = read_text(path, "annotations")
    except DataError:
        return 0  # its reader gives the error
    return content.split(b"\n")[1].count(b",") + 1
