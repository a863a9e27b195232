"""Probabilities in a ``.csv``: see `abawkit.postprocessing.stored` for its form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from abawkit.errors import DataError
from abawkit.formats.lines import read_text
from abawkit.formats.rows import REAL, shortened
from abawkit.labels import Task
from abawkit.postprocessing.columns import COLUMNS, Cells
from abawkit.tables import Array

_TABLE: Final = "expected image,valence,arousal,Neutral,...,Other,AU1,...,AU26"


def read_table(path: Path) -> Cells:
    """Reads a ``.csv``.

    Raises:
        DataError: If it does not have the form; with the line and the column.
    """
    lines = read_text(path, "probabilities as CSV").decode().split("\n")[:-1]
    header = [name.strip() for name in lines[0].split(",")]
    tasks = _tasks_of(path, header)
    if len(lines) < 2:
        raise DataError(f"{path}: holds a header and no rows; {_TABLE}")
    rows = [[cell.strip(" \t") for cell in line.split(",")] for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}:{number}: has {len(row)} fields, the header has {len(header)}")
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    columns = {task: np.stack([_numbers(path, name, cells[name]) for name in COLUMNS[task]], axis=1) for task in tasks}
    return Cells(cells["image"], columns, first_line=2)


def _tasks_of(path: Path, header: Sequence[str]) -> list[Task]:
    """The tasks whose columns a header names, all of each."""
    known = {"image", *(name for names in COLUMNS.values() for name in names)}
    for i, name in enumerate(header):
        if name not in known or name in header[:i]:
            kind = "twice" if name in known else "which is no column of probabilities"
            raise DataError(f"{path}:1: got '{shortened(name)}' {kind}; {_TABLE}")
    tasks = [task for task, names in COLUMNS.items() if any(name in header for name in names)]
    if "image" not in header or not tasks:
        raise DataError(f"{path}:1: names no {'probabilities' if 'image' in header else 'column image'}; {_TABLE}")
    for task in tasks:
        if absent := [name for name in COLUMNS[task] if name not in header]:
            raise DataError(f"{path}:1: has no {', '.join(absent)}; give all columns of {task} or none")
    return tasks


def _numbers(path: Path, name: str, cells: Sequence[str]) -> Array:
    for line, cell in enumerate(cells, start=2):
        if not REAL.fullmatch(cell):
            raise DataError(f"{path}:{line}: column '{name}': got '{shortened(cell)}', expected a number")
    return np.array(cells, dtype=np.float64)
