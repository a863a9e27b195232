"""The annotation files of the multi-task track: ``image,valence,arousal,expression,`` and twelve action units."""

import warnings
from dataclasses import replace
from pathlib import Path

from abawkit.errors import DataWarning, Problem, ProblemsError, format_count
from abawkit.formats.answers import annotations_of, fields_of
from abawkit.formats.base import find_formats
from abawkit.formats.column_names import find_other_track, order_columns
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.lists import first_fields, holds_names_alone
from abawkit.formats.rows import read_rows
from abawkit.labels import FIELDS, TASKS
from abawkit.tables import Annotations

EXPECTED = "an annotation file of 16 fields a row (image,valence,arousal,expression and 12 action units)"


def read_annotations(path: Path) -> Annotations:
    """Reads an annotation file and checks every cell of it.

    Columns are read by the names in the header, in any order. A header may name fewer columns than rows have, or
    ``aus`` for all units, as the official one does. A pair of valence and arousal of which one is missing is missing;
    so is a row of action units of which some are.

    Args:
        path: Comma-separated text; missing values are -5 (valence, arousal) and -1 (expression, action units).

    Returns:
        The annotations in the order of the file, repeats kept.

    Raises:
        DataError: If the file can't be read as annotations at all.
        ProblemsError: If the header names other columns, or any row is not what it must be; it holds every problem of
            the file.
    """
    content = read_text(path, EXPECTED)
    skip_lines = header_lines(path, content, EXPECTED)
    columns = _columns(path, content) if skip_lines else FIELDS[1:]
    fields = {field.name: field for field in fields_of(TASKS)}
    rows, problems = read_rows(content, [fields[name] for name in columns], skip_lines=skip_lines, missing=True)
    if problems and skip_lines and (other := find_other_track(_header(content), TASKS)):
        what = f"the header is that of {' or '.join(find_formats(other))}, expected {EXPECTED}"
        raise ProblemsError(path, [Problem(1, "", what)], "give the annotations of the multi-task track")
    if problems and holds_names_alone(frames := first_fields(content, skip_lines)):
        what = f"its {len(frames):,} rows hold names alone: this is a list of frames, expected {EXPECTED}"
        raise ProblemsError(path, [Problem(0, "", what)], "give the annotations")
    if problems:
        raise ProblemsError(path, problems, _advice(problems))
    if columns != FIELDS[1:]:
        order = [columns.index(name) for name in FIELDS[1:]]
        rows = replace(rows, values=rows.values[:, order], present=rows.present[:, order])
    return annotations_of(rows.images, rows, TASKS)


def _columns(path: Path, content: bytes) -> tuple[str, ...]:
    """The columns of a file behind that of the images, as its header names them."""
    try:
        order = order_columns(_header(content))
    except ValueError as error:
        official = ",".join([*FIELDS[:4], "aus"])
        advice = f"correct line 1; the header of columns in the official order is '{official}'"
        raise ProblemsError(path, [Problem(1, "", str(error))], advice) from error
    if order.remark:
        warnings.warn(f"{path}: {order.remark}", DataWarning, stacklevel=3)
    return order.columns


def _header(content: bytes) -> str:
    return content[: content.index(b"\n")].decode()


def _advice(problems: list[Problem]) -> str:
    count = format_count(len(problems), "problem")
    return f"{count} found; correct the lines named, or fetch the file anew, and run this again"
