"""Stored probabilities, as `abawkit predict` leaves them and as other systems can hand them in.

``.npz``: ``images`` (n names), and of each task that the system knows ``va`` (n, 2), ``expression`` (n, 8) or ``au``
(n, 12), in any floating-point type. ``dimensions``, ``expressions`` and ``action_units`` may name their columns, which
are then put in order by name; ``list_digest``, where it is given, must be that of `images`. What abawkit writes has it,
and float32.

``.csv`` and ``.parquet``: a row for each frame and columns by name, in any order: ``image``, and of each task all or
none: ``valence,arousal``, ``Neutral,...,Other``, ``AU1,...,AU26``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, printable
from abawkit.labels import TASKS, Task
from abawkit.names import image_defect
from abawkit.postprocessing.archive import read_archive
from abawkit.postprocessing.columns import COLUMNS, RANGES, Cells, assembled
from abawkit.postprocessing.table_files import read_csv, read_parquet
from abawkit.tables import Array, Predictions

SUM_TOLERANCE: Final = 1e-3
"""How far the eight probabilities of a row may sum to something else than 1: half precision loses half of it."""

SLACK: Final = 1e-6
"""How far a value may lie outside its range, as rounding brings it about; it is cut to the range then."""

_HINTS: Final[Mapping[Task, str]] = {
    "va": "",
    "expression": "; these look like logits: store their softmax",
    "au": "; these look like logits: store their sigmoid",
}


class Stored(NamedTuple):
    """What a file says.

    Attributes:
        predictions: Its rows; the columns of absent tasks are neutral.
        tasks: The tasks that it holds, in the order of `TASKS`.
        own: Whether it has the form that abawkit writes: float32, with the digest of its list.
    """

    predictions: Predictions
    tasks: tuple[Task, ...]
    own: bool


def read_stored(path: Path) -> Stored:
    """Reads stored probabilities; ``.csv`` (or ``.csv.gz``) and ``.parquet`` are tables, any other name an archive.

    Raises:
        DataError: If the file does not hold probabilities in one of these forms: with the column and row at fault.
    """
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        cells = read_csv(path)
    else:
        cells = read_parquet(path) if name.endswith(".parquet") else read_archive(path)
    if not len(cells.images):
        raise DataError(f"{path}: does not hold probabilities: it has no rows")
    for row, name in enumerate(cells.images):
        if defect := image_defect(name):
            raise DataError(f"{_at(path, cells, row)}{defect}")
    columns = {task: _checked(path, cells, task) for task in TASKS if task in cells.columns}
    predictions = assembled(pa.array(cells.images, pa.string()), columns)
    if cells.listed is not None and cells.listed != predictions.digest:
        said = printable(cells.listed[:64])
        raise DataError(f"{path}: names the list {said}, its rows are those of {predictions.digest}")
    single = all(column.dtype == np.float32 for column in cells.columns.values())
    return Stored(predictions, tuple(columns), cells.listed is not None and single)


def _checked(path: Path, cells: Cells, task: Task) -> Array:
    """A task's values as float32, all of them in range."""
    values, (low, high) = cells.columns[task], RANGES[task]
    bad = ~((values >= low - SLACK) & (values <= high + SLACK))  # true for NaN too
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        more = f" ({int(bad.any(axis=1).sum()):,} such rows)" + (_HINTS[task] if np.isfinite(values).all() else "")
        got = f"column '{COLUMNS[task][column]}': got {values[row, column]:.6g}, expected {low:g}..{high:g}"
        raise DataError(f"{_at(path, cells, row)}{got}{more}")
    found: Array = np.ascontiguousarray(np.clip(values, low, high), dtype=np.float32)
    sums = found.sum(axis=1, dtype=np.float64)
    if task == "expression" and (off := np.abs(sums - 1) > SUM_TOLERANCE).any():
        row = int(off.argmax())
        raise DataError(
            f"{_at(path, cells, row)}expression: got eight probabilities that sum to {sums[row]:.6g}, expected 1 "
            f"({int(off.sum()):,} such rows); these look like logits, or like independent sigmoids: store a softmax"
        )
    return found


def _at(path: Path, cells: Cells, row: int) -> str:
    return f"{path}:{row + cells.first_line}: " if cells.first_line else f"{path}: row {row + 1:,}: "
