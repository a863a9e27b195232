"""Annotations in a custom table, CSV or Parquet, whose columns are named with ``--columns``.

Nothing is guessed: only named columns are read, a value that is neither a label nor a mark of a missing one is a
problem with its line and column, and every mark of a missing value is counted.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from abawkit.errors import ConfigError, DataError, Problem, ProblemsError, format_count, list_first, printable
from abawkit.formats.label_columns import ANSWER_COLUMNS, make_annotations, make_fields
from abawkit.formats.rows import (
    INTEGER_WITH_POINT,
    REAL,
    Field,
    Rows,
    find_name_problems,
    make_width_problem,
    shorten,
)
from abawkit.formats.text import read_text
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS, Task
from abawkit.tables import Annotations, Array

IMAGE: Final = "image"

MISSING_TEXTS: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "<na>"})
"""How tables write that a value is missing, in small letters: by pandas, R, JSON and Python."""

_EXPECTED_TABLE: Final = "a table with a header, as CSV or Parquet"

_SEPARATORS: Final = (",", "\t", ";", "|")
_MAX_FIELDS: Final = 10_000
_EXPRESSION_NUMBERS: Final = {name.lower(): number for number, name in enumerate(EXPRESSIONS)}


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table.

    Attributes:
        names: The column of each field: ``image``, and all fields of each task that is annotated.
        missing: Texts that mark a missing value, besides those that always do.
    """

    names: dict[str, str]
    missing: frozenset[str] = frozenset()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have columns."""
        return tuple(task for task in TASKS if ANSWER_COLUMNS[task][0] in self.names)


@dataclass(frozen=True)
class CustomTable:
    """A custom table that was read.

    Attributes:
        annotations: The rows, in the order of the file; tasks without columns are not annotated.
        missing: For each column with missing values, how often each mark occurs.
    """

    annotations: Annotations
    missing: dict[str, dict[str, int]] = field(default_factory=dict)


def parse_columns(texts: Sequence[str], missing: Sequence[str] = ()) -> TableColumns:
    """Reads the values of ``--columns``.

    Args:
        texts: Each ``FIELD=COLUMN,FIELD=COLUMN,...``, or just ``FIELD`` for a column of that name. A part that holds a
            comma is put in double quotes.
        missing: Texts that mark a missing value.

    Raises:
        ConfigError: If a field is unknown, given twice, or without its task's others; if two share a column; if there
            is no image, or no task.

    Example:
        >>> parse_columns(["image=path,valence=v,arousal=a"]).names
        {'image': 'path', 'valence': 'v', 'arousal': 'a'}
    """
    names: dict[str, str] = {}
    known = (IMAGE, *(name for task in TASKS for name in ANSWER_COLUMNS[task]))
    official = {name.lower(): name for name in known}
    for part in next(csv.reader([",".join(texts)], skipinitialspace=True), []):
        given, equals, column = part.partition("=")
        name = official.get(given.strip().lower(), "")
        column = column.strip() if equals else given.strip()
        if not name or not column:
            raise ConfigError(
                f"--columns: got '{printable(part)}', expected FIELD=COLUMN with one of {', '.join(known)}"
            )
        if name in names:
            raise ConfigError(f"--columns: {name} is given twice ({printable(names[name])}, {printable(column)})")
        if column in names.values():
            raise ConfigError(f"--columns: the column '{printable(column)}' is given twice; a column holds one field")
        names[name] = column
    if IMAGE not in names:
        raise ConfigError("--columns: needs the column of image names, as image=NAME")
    for task in TASKS:
        absent = [name for name in ANSWER_COLUMNS[task] if name not in names]
        if 0 < len(absent) < len(ANSWER_COLUMNS[task]):
            raise ConfigError(f"--columns: {', '.join(absent)} not given; a task has all of its columns or none")
    columns = TableColumns(names, frozenset(missing))
    if not columns.tasks:
        raise ConfigError("--columns: names no labels; give valence and arousal, expression, or AU1 to AU26")
    return columns


def read_custom_table(path: Path, columns: TableColumns) -> CustomTable:
    """Reads annotations from a table.

    Valence and arousal are numbers in -1..1, an expression is a number 0..7 in the order of `EXPRESSIONS` or its name,
    an action unit is 0 or 1 (or false, true). Missing are empty cells, `MISSING_TEXTS`, -5 (valence, arousal), -1
    (expression, action units), and the texts that `columns` has for it.

    Args:
        path: Text with a header, fields apart by commas, tabs, semicolons or bars; or Parquet, in which the line of a
            row is its number from 1.
        columns: The columns to read; others are ignored.

    Raises:
        DataError: If the file can't be read as a table, or lacks a column.
        ProblemsError: If any row is invalid; it has every problem of the file.
    """
    frame, lines, problems = _read_parquet(path, columns) if _is_parquet(path) else _read_csv(path, columns)
    images = _read_image_names(frame[columns.names[IMAGE]], columns.names[IMAGE], lines, problems)
    fields = make_fields(columns.tasks)
    values, missing = [], {}
    for each in fields:
        column = columns.names[each.name]
        cells, marks = _read_column(frame[column], column, each, columns.missing, lines, problems)
        values.append(cells)
        if marks:
            missing[each.name] = dict(sorted(marks.items()))
    if problems:
        advice = f"{format_count(len(problems), 'problem')} found; correct the rows named, or give other --columns"
        raise ProblemsError(path, problems, advice)
    table = np.stack(values, axis=1)
    present = ~np.isnan(table)
    rows = Rows(images=images, lines=lines, values=np.where(present, table, 0.0), present=present)
    return CustomTable(make_annotations(images, rows, columns.tasks), missing)


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False  # reading it as text gives the error


def _read_parquet(path: Path, columns: TableColumns) -> tuple[pd.DataFrame, Array, list[Problem]]:
    try:
        schema = pq.read_schema(path)
        _refuse_missing_columns(path, columns, schema.names)
        frame = pd.read_parquet(path, engine="pyarrow", columns=list(columns.names.values()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read as a Parquet table ({error}); expected {_EXPECTED_TABLE}") from error
    if frame.index.names != [None]:  # a column that pandas wrote as its index
        frame = frame.reset_index()
    if frame.empty:
        raise DataError(f"{path}: holds no rows; expected {_EXPECTED_TABLE}")
    return frame, np.arange(len(frame), dtype=np.int64) + 1, []


def _read_csv(path: Path, columns: TableColumns) -> tuple[pd.DataFrame, Array, list[Problem]]:
    """All cells as text, the line of each row, and rows of another width than the header's, which are left out."""
    content = read_text(path, _EXPECTED_TABLE)
    separator = _find_separator(content[: content.index(b"\n")].decode(), columns)
    lines, widths = _measure_rows(path, content.decode(), separator)
    if widths.max() > _MAX_FIELDS:
        line = int(lines[widths.argmax()])
        raise DataError(f"{path}:{line}: got {widths.max():,} fields, expected at most {_MAX_FIELDS:,}")
    try:
        # Names for as many fields as any row has: pandas then neither shifts nor drops a cell.
        cells = pd.read_csv(
            io.BytesIO(content),
            sep=separator,
            header=None,
            names=range(int(widths.max())),
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, ValueError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path}: can't be read as a table ({reason}); check its quotes and separators") from error
    if len(cells) != len(lines):
        raise DataError(f"{path}: can't be read as a table (quotes that do not pair); check its quotes")
    header = [str(name).strip() for name in cells.iloc[0, : int(widths[0])]]
    _refuse_missing_columns(path, columns, header)
    if len(cells) == 1:
        raise DataError(f"{path}: holds a header and no rows; expected {_EXPECTED_TABLE}")
    # `read_text` takes the tabs at the end of a line for blanks: with tabs, what is absent there was empty.
    good = (widths == len(header)) | ((separator == "\t") & (widths < len(header)) & (widths > 0))
    good[0] = False
    problems = [
        make_width_problem(line, width, len(header))
        for line, width, fine in zip(lines[1:].tolist(), widths[1:].tolist(), good[1:].tolist(), strict=True)
        if not fine
    ]
    frame = cells.loc[good, : len(header) - 1].fillna("").set_axis(header, axis=1)
    return frame, lines[good], problems


def _measure_rows(path: Path, text: str, separator: str) -> tuple[Array, Array]:
    """The first line of each row and its number of fields, 0 for a blank line; a quoted cell may hold line breaks."""
    if '"' not in text:
        rows = text.split("\n")[:-1]
        widths = [row.count(separator) + 1 if row else 0 for row in rows]
        return np.arange(len(rows), dtype=np.int64) + 1, np.array(widths, dtype=np.int64)
    lines, widths, line = [], [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            lines.append(line)
            widths.append(len(row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{line}: can't be read as a table ({error}); check its quotes") from error
    return np.array(lines, dtype=np.int64), np.array(widths, dtype=np.int64)


def _find_separator(header: str, columns: TableColumns) -> str:
    """The separator with which the header has all named columns; else the most frequent one."""
    wanted = set(columns.names.values())
    for separator in _SEPARATORS:
        if wanted <= {name.strip() for name in next(csv.reader([header], delimiter=separator), [])}:
            return separator
    return max(_SEPARATORS, key=header.count)


def _refuse_missing_columns(path: Path, columns: TableColumns, header: Sequence[str]) -> None:
    """Raises ProblemsError for a column that the table does not have, or has twice."""
    counts = Counter(header)
    problems = [
        Problem(1, column, f"is {'not in the table' if not counts[column] else 'twice in the table'}, for {name}")
        for name, column in columns.names.items()
        if counts[column] != 1
    ]
    if problems:
        shown = ", ".join(list_first([shorten(printable(name), 30) for name in header], 30))
        raise ProblemsError(path, problems, f"its columns are: {shown}; give --columns with these names")


def _read_image_names(cells: "pd.Series[Any]", column: str, lines: Array, problems: list[Problem]) -> pa.StringArray:
    names = [cell if isinstance(cell, str) else "" if _is_null(cell) else str(cell) for cell in cells.tolist()]
    images = pa.array(names, pa.string())
    problems += find_name_problems(images, lines, column)
    return images


def _read_column(
    cells: "pd.Series[Any]", column: str, what: Field, marks: frozenset[str], lines: Array, problems: list[Problem]
) -> tuple[Array, Counter[str]]:
    """The numbers of a column, NaN where missing or invalid, and how often each mark of a missing value occurs."""
    try:
        codes, distinct = pd.factorize(cells.astype(object), use_na_sentinel=True)
    except TypeError:  # lists and the like, which Parquet can hold
        problems.append(Problem(0, column, f"holds {type(cells.iloc[0]).__name__}s, expected {_describe_values(what)}"))
        return np.full(len(cells), np.nan), Counter()
    read = [_read_cell(value, what, marks) for value in distinct]
    numbers = np.array([*(n if isinstance(n, float) else math.nan for n in read), math.nan])  # the last one for null
    counts = np.bincount(codes + 1, minlength=len(read) + 1)
    missing: Counter[str] = Counter()
    for mark, rows_with_it in zip([_MissingMark(""), *read], counts.tolist(), strict=True):
        if isinstance(mark, _MissingMark) and rows_with_it:
            missing[mark.text or "empty"] += rows_with_it
    defects = {k: defect for k, defect in enumerate(read) if isinstance(defect, str)}
    if defects:
        rows = np.flatnonzero(np.isin(codes, list(defects))).tolist()
        problems += [Problem(int(lines[row]), column, defects[int(codes[row])]) for row in rows]
    return numbers[codes], missing


@dataclass(frozen=True)
class _MissingMark:
    """A mark of a missing value."""

    text: str


def _read_cell(value: Any, what: Field, marks: frozenset[str]) -> "float | _MissingMark | str":
    """The value of a cell: a number, a mark of a missing value, or, as text, what is wrong with it."""
    text = value.strip() if isinstance(value, str) else str(value)
    if text.lower() in MISSING_TEXTS or text in marks:
        return _MissingMark(text)
    number = math.nan
    if isinstance(value, bool | np.bool_):
        number = float(value) if what.name in ACTION_UNITS else math.nan
    elif isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
    elif isinstance(value, str):
        pattern = REAL if what.top is None else INTEGER_WITH_POINT
        if pattern.fullmatch(text):
            number = float(text)
        elif what.name == "expression":
            number = float(_EXPRESSION_NUMBERS.get(text.lower(), math.nan))
        elif what.name in ACTION_UNITS:
            number = {"true": 1.0, "false": 0.0}.get(text.lower(), math.nan)
    if number == what.missing:
        return _MissingMark(f"{number:g}")
    if same := [mark for mark in marks if REAL.fullmatch(mark) and float(mark) == number]:
        return _MissingMark(same[0])
    low, high = what.bounds
    if low <= number <= high and (what.top is None or number == int(number)):
        return number
    decimal = "; write a decimal point" if REAL.fullmatch(text.replace(",", ".", 1)) and "," in text else ""
    return f"got '{shorten(text)}', expected {_describe_values(what)}{decimal}"


def _describe_values(what: Field) -> str:
    low, high = what.bounds
    kind = "a number" if what.top is None else "an integer"
    names = " or the name of an expression" if what.name == "expression" else ""
    return f"{kind} in {low:g}..{high:g}{names}, or {what.missing:g} or nothing (missing)"


def _is_null(cell: Any) -> bool:
    check: Callable[[Any], Any] = pd.isna
    return cell is None or (not isinstance(cell, list | np.ndarray) and bool(check(cell)))
