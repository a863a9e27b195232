"""The annotation files of the multi-task track: ``image,valence,arousal,expression,`` and twelve action units."""

from pathlib import Path

import numpy as np

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.rows import read_rows
from abawkit.tables import Annotations

EXPECTED = "an annotation file of 16 fields a row (image,valence,arousal,expression and 12 action units)"


def read_annotations(path: Path) -> Annotations:
    """Reads an annotation file and checks every cell of it.

    The header may be of any width; only its first field is looked at. A pair of valence and arousal of which one is
    missing is missing; so is a row of action units of which some are.

    Args:
        path: Comma-separated text; missing values are -5 (valence, arousal) and -1 (expression, action units).

    Returns:
        The annotations in the order of the file, repeats kept.

    Raises:
        DataError: If the file can't be read as annotations at all.
        ProblemsError: If any row is not what it must be; it holds every problem of the file.
    """
    content = read_text(path, EXPECTED)
    rows, problems = read_rows(content, skip_lines=header_lines(path, content, EXPECTED), missing=True)
    if problems:
        raise ProblemsError(path, problems, _advice(problems))
    va_valid, au_valid = np.all(rows.va_present, axis=1), np.all(rows.au_present, axis=1)
    return Annotations(
        images=rows.images,
        lines=rows.lines,
        va=np.where(va_valid[:, None], rows.va, 0.0),
        expression=rows.expression,
        au=np.where(au_valid[:, None], rows.au, np.int8(0)),
        va_valid=va_valid,
        expression_valid=rows.expression_present,
        au_valid=au_valid,
        va_partial=np.any(rows.va_present, axis=1) & ~va_valid,
        au_partial=np.any(rows.au_present, axis=1) & ~au_valid,
    )


def _advice(problems: list[Problem]) -> str:
    count = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}"
    return f"{count} found; correct the lines named, or fetch the file anew, and run this again"
