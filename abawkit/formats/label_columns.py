"""Answers in files: the names in a header, the columns, and the conversion of their cells from and to tables."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError
from abawkit.formats.base import Column
from abawkit.formats.rows import Field, Rows
from abawkit.labels import (
    ACTION_UNITS,
    COMPOUND_EXPRESSIONS,
    DIMENSIONS,
    EXPRESSIONS,
    MISSING_AU,
    MISSING_EXPRESSION,
    MISSING_VA,
    Answer,
)
from abawkit.tables import DECIMALS, Annotations, Array, Submission

HEADER_NAMES: Final[dict[Answer, tuple[str, ...]]] = {
    "va": DIMENSIONS,
    "expression": EXPRESSIONS,
    "au": ACTION_UNITS,
    "compound": tuple(COMPOUND_EXPRESSIONS),
}
"""The names that the header of a single-task file has. Where they are those of classes, a row has one index."""

ANSWER_FIELDS: Final[dict[Answer, tuple[Field, ...]]] = {
    "va": tuple(Field(name, MISSING_VA) for name in DIMENSIONS),
    "expression": (Field("expression", MISSING_EXPRESSION, len(EXPRESSIONS) - 1),),
    "au": tuple(Field(name, MISSING_AU, 1) for name in ACTION_UNITS),
    "compound": (Field("compound", MISSING_EXPRESSION, len(COMPOUND_EXPRESSIONS) - 1),),
}
"""The columns of values of each answer."""

ANSWER_COLUMNS: Final = {answer: tuple(field.name for field in fields) for answer, fields in ANSWER_FIELDS.items()}
"""Their names."""


def make_fields(tasks: Sequence[Answer]) -> list[Field]:
    """The columns of rows that hold these answers, one after the other."""
    return [field for answer in tasks for field in ANSWER_FIELDS[answer]]


def make_columns(tasks: Sequence[Answer]) -> list[Column]:
    """The same, by name and kind alone."""
    return [Column(field.name, "real" if field.top is None else "integer") for field in make_fields(tasks)]


def format_label_cells(submission: Submission, tasks: Sequence[Answer], name: str) -> list[str]:
    """The cells of each row, joined by commas: valence and arousal with six decimals, integers for all else.

    Raises:
        DataError: If the submission does not hold the answers `tasks`; the message names the format by `name`.
    """
    held = {*submission.tasks, *(["compound"] if submission.compound is not None else [])}
    absent = [answer for answer in tasks if answer not in held]
    if absent:
        raise DataError(
            f"{name}: needs {', '.join(absent)}, and these decisions are of {', '.join(sorted(held))} alone; write them"
            " in the format that they were read in, or give probabilities of all tasks"
        )
    parts = [_format_answer(submission, answer) for answer in tasks]
    return parts[0] if len(parts) == 1 else [",".join(cells) for cells in zip(*parts, strict=True)]


def _format_answer(submission: Submission, answer: Answer) -> list[str]:
    if answer == "va":
        return [f"{v:.{DECIMALS}f},{a:.{DECIMALS}f}" for v, a in submission.va.tolist()]
    if answer == "au":
        return [",".join(row) for row in np.where(submission.au == 1, "1", "0").tolist()]
    indices: Array = getattr(submission, answer)
    return [str(index) for index in indices.tolist()]


def make_submission(images: pa.StringArray, rows: Rows, tasks: Sequence[Answer]) -> Submission:
    """A submission from the rows of a file, whose columns are those of `tasks` in this order."""
    values = _split_by_answer(rows.values, tasks)  # copied: a view would keep all of them, 8 bytes a cell
    columns = {
        answer: cells.copy() if answer == "va" else (cells if answer == "au" else cells[:, 0]).astype(np.int8)
        for answer, cells in values.items()
    }
    return Submission.of(images, **columns)


def make_annotations(images: pa.StringArray, rows: Rows, tasks: Sequence[Answer]) -> Annotations:
    """Annotations from the rows of a file, whose columns are those of `tasks` in this order; others are not annotated.

    A pair of valence and arousal of which one is missing is missing; so is a row of action units of which some are.
    """
    given = _split_by_answer(rows.present, tasks)
    nothing = np.zeros(len(images), dtype=bool)
    valid: dict[Answer, Any] = {task: cells.all(axis=1) for task, cells in given.items()}
    some: dict[Answer, Any] = {task: cells.any(axis=1) for task, cells in given.items()}
    answers = make_submission(images, rows, tasks)
    va, expression, au = (valid.get(task, nothing) for task in ("va", "expression", "au"))
    return Annotations(
        images=images,
        lines=rows.lines,
        va=np.where(va[:, None], answers.va, 0.0),
        expression=answers.expression,
        au=np.where(au[:, None], answers.au, np.int8(0)),
        va_valid=va,
        expression_valid=expression,
        au_valid=au,
        va_partial=some.get("va", nothing) & ~va,
        au_partial=some.get("au", nothing) & ~au,
    )


def _split_by_answer(cells: Array, tasks: Sequence[Answer]) -> dict[Answer, Array]:
    """The cells of each answer, shape (n, c) each."""
    ends = np.cumsum([len(ANSWER_FIELDS[answer]) for answer in tasks])[:-1]
    return dict(zip(tasks, np.split(cells, ends, axis=1), strict=True))
