"""The rows that annotations and submissions share: an image name, valence, arousal, expression, twelve action units.

Official files are plain: no quotes, no escapes, sixteen fields. A reader that guesses (an index, a type, a missing
value) loses rows in silence, so every cell is checked. A file without anything unusual goes through Arrow's reader;
any other is read cell by cell, which is slower and names the line and column of each defect. Both agree wherever the
first one answers.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from abawkit.errors import Problem
from abawkit.labels import (
    ACTION_UNITS,
    DIMENSIONS,
    EXPRESSIONS,
    FIELDS,
    MISSING_AU,
    MISSING_EXPRESSION,
    MISSING_VA,
    VA_MAX,
    VA_MIN,
)
from abawkit.names import image_defect
from abawkit.tables import Array

REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""A number as data formats write it: no nan, no infinity, no hexadecimal, no underscores, ASCII digits only.

There is one way to match a run of digits, so that a long one costs no more than its length.
"""

INTEGER = re.compile(r"[+-]?[0-9]+")
INTEGER_WITH_POINT = re.compile(r"[+-]?[0-9]+(?:\.0*)?")

_PLAIN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./,\n"
_HEXADECIMAL = (b",0x", b",0X")  # Arrow reads such cells as integers
_PLAIN_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+\.jpg$"


@dataclass(frozen=True)
class Rows:
    """Cells of a file, before it is known what they are for.

    Attributes:
        images: Image names, Arrow strings, length n.
        lines: Line of each row, counted from 1, int64, shape (n,).
        va: Valence and arousal, float64, shape (n, 2); 0 where missing or bad, as in all that follow.
        va_present: True where a value is given, shape (n, 2).
        expression: Class index, int8, shape (n,).
        expression_present: True where a class is given, shape (n,).
        au: Action units, int8, shape (n, 12).
        au_present: True where a value is given, shape (n, 12).
    """

    images: pa.StringArray
    lines: Array
    va: Array
    va_present: Array
    expression: Array
    expression_present: Array
    au: Array
    au_present: Array


def read_rows(content: bytes, *, skip_lines: int, missing: bool) -> tuple[Rows, list[Problem]]:
    r"""Reads and checks the rows of a file.

    Args:
        content: UTF-8 text with ``\n`` behind every line.
        skip_lines: Lines at the start that are not rows: the header.
        missing: Whether values may be marked as missing, as in annotations; then ``2.0`` is also read as the integer
            2. A submission has neither.

    Returns:
        The rows that have sixteen fields, and every problem found, in the order of lines.
    """
    rows = _quick(content, skip_lines, missing=missing)
    return (rows, []) if rows else _careful(content, skip_lines, missing=missing)


def plain_names(images: pa.StringArray) -> bool:
    """Whether all are image names with nothing unusual in them; then none of them has a defect."""
    return bool(pc.all(pc.match_substring_regex(images, _PLAIN_NAME)).as_py())


def _quick(content: bytes, skip_lines: int, *, missing: bool) -> Rows | None:
    """All rows of a file in which nothing is unusual; None for any other."""
    if content.translate(None, _PLAIN_BYTES) or any(
        start[-1:] in content and start in content for start in _HEXADECIMAL
    ):
        return None
    integers = {name: pa.int8() for name in FIELDS[3:]}
    reals = dict.fromkeys(DIMENSIONS, pa.float64())
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(skip_rows=skip_lines, column_names=FIELDS),
            csv.ParseOptions(quote_char=False, double_quote=False, escape_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types={"image": pa.string(), **reals, **integers}, null_values=[], strings_can_be_null=False
            ),
        ).combine_chunks()
    except pa.ArrowInvalid:
        return None
    images = table.column("image").combine_chunks()
    if not plain_names(images):
        return None
    va = np.stack([table.column(name).to_numpy() for name in DIMENSIONS], axis=1)
    expression = table.column("expression").to_numpy()
    au = np.stack([table.column(name).to_numpy() for name in ACTION_UNITS], axis=1)
    va_present = (va >= VA_MIN) & (va <= VA_MAX)  # false for NaN and infinities too
    expression_present = (expression >= 0) & (expression < len(EXPRESSIONS))
    au_present = (au == 0) | (au == 1)
    good = (
        (va_present.all() and expression_present.all() and au_present.all())
        if not missing
        else (va_present | (va == MISSING_VA)).all()
        and (expression_present | (expression == MISSING_EXPRESSION)).all()
        and (au_present | (au == MISSING_AU)).all()
    )
    if not good:
        return None
    return Rows(
        images=images,
        lines=np.arange(len(images), dtype=np.int64) + skip_lines + 1,
        va=np.where(va_present, va, 0.0),
        va_present=va_present,
        expression=np.where(expression_present, expression, np.int8(0)),
        expression_present=expression_present,
        au=np.where(au_present, au, np.int8(0)),
        au_present=au_present,
    )


def _careful(content: bytes, skip_lines: int, *, missing: bool) -> tuple[Rows, list[Problem]]:
    """All rows with sixteen fields, and every problem of the file."""
    problems: list[Problem] = []
    images: list[str] = []
    lines: list[int] = []
    values: list[list[float]] = []
    cells = _Cells(missing, problems)
    for line, text in enumerate(content.decode().split("\n")[:-1], start=1):
        fields = text.split(",")
        if line <= skip_lines:
            continue
        if len(fields) != len(FIELDS):
            got = f"{len(fields)} field{'s' if len(fields) > 1 else ''}" if text else "a blank line"
            problems.append(Problem(line, "", f"got {got}, expected {len(FIELDS)} fields"))
            continue
        images.append(cells.image(line, fields[0]))
        lines.append(line)
        reals = [cells.real(line, name, cell) for name, cell in zip(DIMENSIONS, fields[1:3], strict=True)]
        values.append(
            [*reals, *(cells.integer(line, name, cell) for name, cell in zip(FIELDS[3:], fields[3:], strict=True))]
        )
    table = np.array(values, dtype=np.float64).reshape(-1, len(FIELDS) - 1)
    present = ~np.isnan(table)
    table = np.where(present, table, 0.0)
    rows = Rows(
        images=pa.array(images, pa.string()),
        lines=np.array(lines, dtype=np.int64),
        va=table[:, :2],
        va_present=present[:, :2],
        expression=table[:, 2].astype(np.int8),
        expression_present=present[:, 2],
        au=table[:, 3:].astype(np.int8),
        au_present=present[:, 3:],
    )
    return rows, problems


class _Cells:
    """Reads single cells; what is missing or bad is NaN, and what is bad is also added to the problems."""

    def __init__(self, missing: bool, problems: list[Problem]) -> None:
        self.missing = missing
        self.problems = problems
        self.pattern = INTEGER_WITH_POINT if missing else INTEGER

    def image(self, line: int, name: str) -> str:
        defect = image_defect(name)
        if defect:
            self.problems.append(Problem(line, "image", f"{defect}: '{shortened(name)}'"))
        return name

    def real(self, line: int, column: str, cell: str) -> float:
        value = float(cell) if REAL.fullmatch(cell) else float("nan")
        if VA_MIN <= value <= VA_MAX:
            return value
        if not (self.missing and value == MISSING_VA):
            self._bad(line, column, cell, f"a number in {VA_MIN:g}..{VA_MAX:g}", MISSING_VA)
        return float("nan")

    def integer(self, line: int, column: str, cell: str) -> float:
        top = len(EXPRESSIONS) - 1 if column == "expression" else 1
        value = float(cell) if self.pattern.fullmatch(cell) else float("nan")
        if 0 <= value <= top:
            return value
        absent = MISSING_EXPRESSION if column == "expression" else MISSING_AU
        if not (self.missing and value == absent):
            self._bad(line, column, cell, f"an integer in 0..{top}", absent)
        return float("nan")

    def _bad(self, line: int, column: str, cell: str, expected: str, absent: float) -> None:
        got = f"'{shortened(cell)}'" if cell else "nothing"
        alternative = f", or {absent:g} (missing)" if self.missing else ""
        self.problems.append(Problem(line, column, f"got {got}, expected {expected}{alternative}"))


def shortened(text: str, length: int = 60) -> str:
    """Text cut to `length` characters for a message."""
    return text if len(text) <= length else f"{text[:length]}..."
