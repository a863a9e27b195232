"""Rows of comma-separated cells that are each checked: those of annotations and of every edition's submissions.

Official files are plain: no quotes, no escapes, a fixed number of fields. A reader that guesses (an index, a type, a
missing value) loses rows in silence, so every cell is checked. A file without anything unusual goes through Arrow's
reader; any other is read cell by cell, which is slower and names the line and column of each defect. Both agree
wherever the first one succeeds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import csv

from abawkit.errors import Problem, format_count
from abawkit.frame_columns import are_plain_names
from abawkit.frame_names import find_name_defect
from abawkit.labels import VA_MAX, VA_MIN
from abawkit.tables import Array

REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""A number as data formats write it: no nan, no infinity, no hexadecimal, no underscores, ASCII digits only.

There is one way to match a run of digits, so that a long one costs no more than its length.
"""

INTEGER = re.compile(r"[+-]?[0-9]+")
INTEGER_WITH_POINT = re.compile(r"[+-]?[0-9]+(?:\.0*)?")

_PLAIN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./,\n"
_HEXADECIMAL = (b",0x", b",0X", b"\n0x", b"\n0X")  # Arrow reads such cells as integers


@dataclass(frozen=True)
class Field:
    """The values that the cells of a column may have.

    Attributes:
        name: Its name in messages.
        missing: The mark of a value that was not annotated.
        top: The highest integer, counted from 0; None for reals in -1..1.
    """

    name: str
    missing: float
    top: int | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return (VA_MIN, VA_MAX) if self.top is None else (0, self.top)


@dataclass(frozen=True)
class Rows:
    """The cells of a file.

    Attributes:
        images: Image names, Arrow strings, length n; empty where rows have none.
        lines: Line of each row, counted from 1, int64, shape (n,).
        values: Values of the c other columns, float64, shape (n, c); 0 where missing or invalid.
        present: True where a value is given, shape (n, c).
    """

    images: pa.StringArray
    lines: Array
    values: Array
    present: Array


def make_no_rows(columns: int) -> Rows:
    """The rows of a file none of whose rows can be read, with this number of columns of values."""
    nothing = np.zeros((0, columns))
    return Rows(pa.array([], pa.string()), np.zeros(0, dtype=np.int64), nothing, nothing.astype(bool))


def read_rows(
    content: bytes, fields: Sequence[Field], *, skip_lines: int, missing: bool, named: bool = True
) -> tuple[Rows, list[Problem]]:
    r"""Reads and checks the rows of a file.

    Args:
        content: UTF-8 text with ``\n`` behind every line.
        fields: The columns of values.
        skip_lines: Lines at the start that are not rows: the header.
        missing: Whether values may be marked as missing, as in annotations; then ``2.0`` is also read as the integer
            2. A submission has neither.
        named: Whether an image name precedes the values.

    Returns:
        The rows that have as many fields as there are columns, and every problem found, in the order of lines.
    """
    rows = _read_with_arrow(content, fields, skip_lines, missing=missing, named=named)
    return (rows, []) if rows else _read_by_cell(content, fields, skip_lines, missing=missing, named=named)


def find_name_problems(images: pa.StringArray, lines: Array, column: str = "image") -> list[Problem]:
    """The rows whose image name has a defect; `lines` has the line of each, `column` is named in the messages."""
    if are_plain_names(images):
        return []
    return [
        Problem(int(line), column, f"{defect}: '{shorten(name)}'")
        for line, name in zip(lines, images.to_pylist(), strict=True)
        if (defect := find_name_defect(name))
    ]


def make_width_problem(line: int, width: int, expected: int) -> Problem:
    """The problem of a row with another number of fields than it should have; a blank line has 0."""
    got = format_count(width, "field") if width else "a blank line"
    return Problem(line, "", f"got {got}, expected {format_count(expected, 'field')}")


def _read_with_arrow(
    content: bytes, fields: Sequence[Field], skip_lines: int, *, missing: bool, named: bool
) -> Rows | None:
    """All rows of a file in which nothing is unusual; None for any other."""
    if content.translate(None, _PLAIN_BYTES) or content[:2].lower() == b"0x":
        return None
    if any(start[-1:] in content and start in content for start in _HEXADECIMAL):
        return None
    types = {"image": pa.string()} if named else {}
    types |= {field.name: pa.float64() if field.top is None else pa.int8() for field in fields}
    # A copy that is Arrow's own: a thread of its that lets go of Python's bytes last needs the interpreter for it, and
    # aborts the process where it is just ending.
    own = pa.BufferOutputStream()
    own.write(content)
    try:
        table = csv.read_csv(
            pa.BufferReader(own.getvalue()),
            csv.ReadOptions(skip_rows=skip_lines, column_names=list(types)),
            csv.ParseOptions(quote_char=False, double_quote=False, escape_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        ).combine_chunks()
    except pa.ArrowInvalid:
        return None
    images = table.column("image").combine_chunks() if named else pa.array([], pa.string())
    if named and not are_plain_names(images):
        return None
    columns = [table.column(field.name).to_numpy() for field in fields]
    present = np.empty((len(fields), len(table)), dtype=bool)  # a column after the other: as it is read and compared
    for field, column, good in zip(fields, columns, present, strict=True):
        low, high = field.bounds
        good[:] = (column >= low) & (column <= high)  # false for NaN and infinities too
        if not good.all() and not (missing and (good | (column == field.missing)).all()):
            return None
    values = np.stack(columns, dtype=np.float64)
    if not present.all():
        values[~present] = 0.0
    lines = np.arange(len(table), dtype=np.int64) + skip_lines + 1
    return Rows(images=images, lines=lines, values=values.T, present=present.T)


def _read_by_cell(
    content: bytes, fields: Sequence[Field], skip_lines: int, *, missing: bool, named: bool
) -> tuple[Rows, list[Problem]]:
    """All rows with as many fields as there are columns, and every problem of the file."""
    problems: list[Problem] = []
    images: list[str] = []
    lines: list[int] = []
    values: list[list[float]] = []
    check = _CellReader(missing, problems)
    width = len(fields) + named
    for line, text in enumerate(content.decode().split("\n")[:-1], start=1):
        cells = text.split(",")
        if line <= skip_lines:
            continue
        if len(cells) != width:
            problems.append(make_width_problem(line, len(cells) if text else 0, width))
            continue
        if named:
            images.append(check.image(line, cells[0]))
        lines.append(line)
        values.append([check.number(line, field, cell) for field, cell in zip(fields, cells[named:], strict=True)])
    table = np.array(values, dtype=np.float64).reshape(-1, len(fields))
    present = ~np.isnan(table)
    return Rows(
        images=pa.array(images, pa.string()),
        lines=np.array(lines, dtype=np.int64),
        values=np.where(present, table, 0.0),
        present=present,
    ), problems


class _CellReader:
    """Reads single cells; missing and invalid ones are NaN, and invalid ones are added to the problems."""

    def __init__(self, missing: bool, problems: list[Problem]) -> None:
        self.missing = missing
        self.problems = problems
        self.integer = INTEGER_WITH_POINT if missing else INTEGER

    def image(self, line: int, name: str) -> str:
        defect = find_name_defect(name)
        if defect:
            self.problems.append(Problem(line, "image", f"{defect}: '{shorten(name)}'"))
        return name

    def number(self, line: int, field: Field, cell: str) -> float:
        pattern = REAL if field.top is None else self.integer
        value = float(cell) if pattern.fullmatch(cell) else float("nan")
        low, high = field.bounds
        if low <= value <= high:
            return value
        if not (self.missing and value == field.missing):
            got = f"'{shorten(cell)}'" if cell else "nothing"
            what = "a number" if field.top is None else "an integer"
            alternative = f", or {field.missing:g} (missing)" if self.missing else ""
            self.problems.append(
                Problem(line, field.name, f"got {got}, expected {what} in {low:g}..{high:g}{alternative}")
            )
        return float("nan")


def shorten(text: str, length: int = 60) -> str:
    """Text cut to `length` characters for a message."""
    return text if len(text) <= length else f"{text[:length]}..."
