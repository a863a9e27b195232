"""Labels that are dropped on request: reads the lists of `abawkit review`, checks them, and blanks these labels.

A list is CSV. Each line is about the labels of one task in one row of the annotations: ``split,line,image,task,label``
say which, ``label`` repeats what is annotated there as ``FIELD=VALUE`` pairs, and ``reason`` says why it is listed. So
a list that belongs to other annotations is noticed before anything is changed.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, cast

import numpy as np

from abawkit.choices import Split
from abawkit.curation.cells import escape_cell
from abawkit.curation.curated_set import SPLITS
from abawkit.errors import DataError, format_count
from abawkit.formats.rows import REAL, shorten
from abawkit.formats.text import read_text
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.system.files import replacing
from abawkit.tables import Annotations, Array

REVIEW_COLUMNS: Final = ("split", "line", "image", "task", "label", "suggestion", "reason", "strength", "detail")
"""The columns of a list, in the order in which they are written."""

NEEDED_COLUMNS: Final = ("split", "line", "image", "task", "label", "reason")
"""Those that a list must have to be dropped; they can stand in any order."""

_REASON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")
_LINE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_FIELDS: Final[Mapping[Task, tuple[str, ...]]] = {"va": DIMENSIONS, "expression": ("expression",), "au": ACTION_UNITS}


class LabelDrop(NamedTuple):
    """A line of a list.

    Attributes:
        path: The list.
        number: Line in the list, counted from 1.
        split: The split of the annotations.
        line: Line in the annotations, counted from 1.
        image: The image there, as `abawkit.curation.cells.escape_cell` writes it.
        task: Whose labels are dropped.
        label: What is annotated, as `format_label` writes it.
        reason: Why.
    """

    path: Path
    number: int
    split: Split
    line: int
    image: str
    task: Task
    label: str
    reason: str

    def refuse(self, message: str) -> DataError:
        """The error that names this line of the list."""
        return DataError(f"{self.path}:{self.number}: {message}")


@dataclass(frozen=True)
class DroppedLabels:
    """A split whose listed labels are not annotated any more.

    Attributes:
        annotations: All its rows.
        rows: True for each row that lost a label, shape (n,).
        counts: For each task how many rows lost its labels, by reason; a row that several lines list counts for the
            first.
    """

    annotations: Annotations
    rows: Array
    counts: dict[Task, dict[str, int]]


def format_label(annotations: Annotations, row: int, task: Task, fields: Sequence[str] | None = None) -> str:
    """Labels of a row as ``valence=0.5 arousal=-0.25``, ``expression=Fear`` or ``AU4=1 AU6=0``.

    Args:
        annotations: The rows.
        row: Number of the row.
        task: Whose labels.
        fields: Which of them, by default all.
    """
    cells = {
        "va": annotations.va[row].tolist(),
        "expression": [EXPRESSIONS[annotations.expression[row]]],
        "au": annotations.au[row].tolist(),
    }[task]
    values = dict(zip(_FIELDS[task], cells, strict=True))
    return " ".join(f"{field}={values[field]}" for field in fields or _FIELDS[task])


def read_label_drops(paths: Sequence[Path]) -> list[LabelDrop]:
    """Reads lists of labels to drop.

    Args:
        paths: Files that `abawkit review` wrote, with fewer lines or with further ones in the same form.

    Raises:
        DataError: If one is not of this form, or a task of a row is listed twice for the same reason; it names the
            line.
    """
    drops = [drop for path in paths for drop in _read_list(path)]
    seen: dict[tuple[object, ...], LabelDrop] = {}
    for drop in drops:
        earlier = seen.setdefault((drop.split, drop.line, drop.image, drop.task, drop.reason), drop)
        if earlier is not drop:
            raise drop.refuse(
                f"repeats {earlier.path}:{earlier.number}: the same row, task and reason; list each label once"
            )
    return drops


def drop_labels(annotations: Annotations, drops: Sequence[LabelDrop], source: Path, split: Split) -> DroppedLabels:
    """Makes listed labels ones that are not annotated; rows stay, and so do their other labels.

    Args:
        annotations: All rows of a split.
        drops: What is listed; lines of another split are passed over.
        source: The annotation file, for messages.
        split: The split.

    Raises:
        DataError: If the list is about other annotations: a line with another image, without that label, or not there.
    """
    lost = np.zeros(len(annotations), dtype=bool)
    drops = [drop for drop in drops if drop.split == split]
    if not drops:
        return DroppedLabels(annotations, lost, {})
    rows_of_line: dict[int, list[int]] = {}
    for row, line in enumerate(annotations.lines.tolist()):
        rows_of_line.setdefault(line, []).append(row)
    masks = {task: mask.copy() for task, mask in annotations.valid.items()}
    counts: dict[Task, dict[str, int]] = {}
    for drop in drops:
        row = _find_row(annotations, rows_of_line, drop, source)
        if masks[drop.task][row]:
            masks[drop.task][row] = False
            by_reason = counts.setdefault(drop.task, {})
            by_reason[drop.reason] = by_reason.get(drop.reason, 0) + 1
            lost[row] = True
    reduced = replace(
        annotations,
        va=np.where(masks["va"][:, None], annotations.va, 0.0),
        expression=np.where(masks["expression"], annotations.expression, 0).astype(annotations.expression.dtype),
        au=np.where(masks["au"][:, None], annotations.au, 0).astype(annotations.au.dtype),
        va_valid=masks["va"],
        expression_valid=masks["expression"],
        au_valid=masks["au"],
    )
    return DroppedLabels(reduced, lost, {task: counts[task] for task in TASKS if task in counts})


def write_dropped_labels(path: Path, drops: Sequence[LabelDrop]) -> None:
    """Writes ``split,line,image,task,label,reason`` for every label that was dropped, split after split."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NEEDED_COLUMNS)
    for split in SPLITS:
        writer.writerows([getattr(drop, name) for name in NEEDED_COLUMNS] for drop in drops if drop.split == split)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _read_list(path: Path) -> list[LabelDrop]:
    expected = f"a list of labels to drop, as `abawkit review` writes it: {','.join(REVIEW_COLUMNS)}"
    # Cells may be quoted, and so hold a newline: a file is read as a whole, and its reader counts the lines.
    reader = csv.reader(io.StringIO(read_text(path, expected).decode(), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header)
        return [_read_line(path, reader.line_num, header, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: is no CSV ({error}); expected {expected}") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    unknown = next((name for i, name in enumerate(header) if name not in REVIEW_COLUMNS or name in header[:i]), None)
    if unknown is not None:
        kind = " twice" if unknown in REVIEW_COLUMNS else ", which is none of its columns"
        advice = "; separate cells by commas" if len(header) == 1 and re.search("[;\t]", unknown) else ""
        raise DataError(f"{path}:1: got '{shorten(unknown)}'{kind}; expected {','.join(REVIEW_COLUMNS)}{advice}")
    if absent := [name for name in NEEDED_COLUMNS if name not in header]:
        raise DataError(f"{path}:1: has no column {' and no '.join(absent)}; expected {','.join(REVIEW_COLUMNS)}")


def _read_line(path: Path, number: int, header: Sequence[str], cells: Sequence[str]) -> LabelDrop:
    def refuse(message: str) -> DataError:
        return DataError(f"{path}:{number}: {message}")

    if len(cells) != len(header):
        raise refuse(f"has {format_count(len(cells), 'field')}, the header has {len(header)}")
    found = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for name, known in (("split", SPLITS), ("task", TASKS)):
        if found[name] not in known:
            raise refuse(f"column '{name}': got '{shorten(found[name])}', expected {' or '.join(known)}")
    if not _LINE_NUMBER.fullmatch(found["line"]):
        raise refuse(f"column 'line': got '{shorten(found['line'])}', expected a line of the annotations, from 1")
    if not _REASON.fullmatch(found["reason"]):
        raise refuse(f"column 'reason': got '{shorten(found['reason'])}', expected a word such as contradicted")
    strength = found.get("strength", "")
    if strength and not (REAL.fullmatch(strength) and 0 <= float(strength) <= 1):
        raise refuse(f"column 'strength': got '{shorten(strength)}', expected a number in 0..1")
    split, task = cast("Split", found["split"]), cast("Task", found["task"])
    return LabelDrop(path, number, split, int(found["line"]), found["image"], task, found["label"], found["reason"])


def _find_row(
    annotations: Annotations, rows_of_line: Mapping[int, Sequence[int]], drop: LabelDrop, source: Path
) -> int:
    """The row that a line of a list is about; lines of a folder with a file for each video are told apart by image."""
    rows = rows_of_line.get(drop.line, ())
    names = {escape_cell(annotations.images[row].as_py()).strip(): row for row in rows}
    advice = f"this list is not about these annotations ({source}): review the set that was curated from them"
    if not names:
        raise drop.refuse(f"line {drop.line:,} is no row of the {drop.split} annotations; {advice}")
    if drop.image not in names:
        found = shorten(next(iter(names)))
        raise drop.refuse(
            f"line {drop.line:,} of the {drop.split} annotations is '{found}', not '{shorten(drop.image)}'; {advice}"
        )
    row = names[drop.image]
    if not annotations.valid[drop.task][row]:
        raise drop.refuse(f"'{shorten(drop.image)}' is not annotated with {drop.task}; {advice}")
    given = [part.partition("=") for part in drop.label.split()]
    known = dict(part.split("=") for part in format_label(annotations, row, drop.task).split())
    if not given or any(known.get(field) != value for field, _, value in given):
        whole = format_label(annotations, row, drop.task)
        raise drop.refuse(
            f"column 'label': got '{shorten(drop.label)}', annotated is '{shorten(whole, 100)}'; {advice}"
        )
    return row
