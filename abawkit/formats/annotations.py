"""The annotation files of the multi-task track: ``image,valence,arousal,expression,`` and twelve action units."""

from pathlib import Path

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.answers import annotations_of, fields_of
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.rows import read_rows
from abawkit.labels import TASKS
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
    skip_lines = header_lines(path, content, EXPECTED)
    rows, problems = read_rows(content, fields_of(TASKS), skip_lines=skip_lines, missing=True)
    if problems:
        raise ProblemsError(path, problems, _advice(problems))
    return annotations_of(rows.images, rows, TASKS)


def _advice(problems: list[Problem]) -> str:
    count = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}"
    return f"{count} found; correct the lines named, or fetch the file anew, and run this again"
