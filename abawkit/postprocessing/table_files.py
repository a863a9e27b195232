"""Probabilities as tables with named columns, ``.csv`` or ``.parquet``: see `abawkit.postprocessing.stored`."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from abawkit.errors import DataError, format_count, printable
from abawkit.formats.lines import read_text
from abawkit.formats.rows import REAL, shortened
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.columns import COLUMNS, Cells
from abawkit.tables import Array, Predictions

if TYPE_CHECKING:
    import pandas as pd

_TABLE: Final = "expected image,valence,arousal,Neutral,...,Other,AU1,...,AU26"


def read_csv(path: Path) -> Cells:
    """Reads a ``.csv``.

    Raises:
        DataError: If it does not have the form; with the line and the column.
    """
    lines = read_text(path, "probabilities as CSV").decode().split("\n")[:-1]
    header = [name.strip() for name in lines[0].split(",")]
    tasks = _tasks_of(f"{path}:1", header)
    if len(lines) < 2:
        raise DataError(f"{path}: holds a header and no rows; {_TABLE}")
    rows = [[cell.strip(" \t") for cell in line.split(",")] for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}:{number}: has {format_count(len(row), 'field')}, the header has {len(header)}")
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    columns = {task: np.stack([_numbers(path, name, cells[name]) for name in COLUMNS[task]], axis=1) for task in tasks}
    return Cells(cells["image"], columns, first_line=2)


def read_parquet(path: Path) -> Cells:
    """Reads a ``.parquet``.

    Raises:
        DataError: If it does not have the form; with the column.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected probabilities as Parquet") from error
    except Exception as error:  # a damaged or hostile file can end in many ways
        reason = printable(str(error).splitlines()[0][:200]) if str(error) else type(error).__name__
        raise DataError(f"{path}: can't be read as Parquet ({reason})") from error
    tasks = _tasks_of(str(path), [str(name) for name in frame.columns])
    images = frame["image"].tolist()
    if not all(isinstance(image, str) for image in images):
        raise DataError(f"{path}: column 'image': expected names of images, one a row")
    for name in (name for task in tasks for name in COLUMNS[task]):
        if frame[name].dtype.kind != "f":
            raise DataError(f"{path}: column '{name}': holds {frame[name].dtype}, expected floating-point numbers")
    return Cells(images, {task: frame[list(COLUMNS[task])].to_numpy() for task in tasks})


def write_csv(file: IO[bytes], predictions: Predictions, tasks: Sequence[Task]) -> None:
    """Writes what `read_csv` reads, bit for bit: each float32 in as few digits as tell it apart from all others."""
    _frame_of(predictions, tasks).to_csv(file, index=False, lineterminator="\n")


def write_parquet(file: IO[bytes], predictions: Predictions, tasks: Sequence[Task]) -> None:
    """Writes what `read_parquet` reads: names as strings, values as float32."""
    _frame_of(predictions, tasks).to_parquet(file, index=False)


def _frame_of(predictions: Predictions, tasks: Sequence[Task]) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, object] = {"image": predictions.images.to_pylist()}
    for task in TASKS:
        if task in tasks:
            columns |= dict(zip(COLUMNS[task], getattr(predictions, task).T, strict=True))
    return pd.DataFrame(columns)


def _tasks_of(where: str, header: Sequence[str]) -> list[Task]:
    """The tasks whose columns a header names, all of each.

    Raises:
        DataError: If a name is unknown or stands twice, or a task has some of its columns; it begins with `where`.
    """
    known = {"image", *(name for names in COLUMNS.values() for name in names)}
    for i, name in enumerate(header):
        if name not in known or name in header[:i]:
            kind = "twice" if name in known else "which is no column of probabilities"
            raise DataError(f"{where}: got '{shortened(name)}' {kind}; {_TABLE}")
    tasks = [task for task, names in COLUMNS.items() if any(name in header for name in names)]
    if "image" not in header or not tasks:
        raise DataError(f"{where}: names no {'probabilities' if 'image' in header else 'column image'}; {_TABLE}")
    for task in tasks:
        if absent := [name for name in COLUMNS[task] if name not in header]:
            raise DataError(f"{where}: has no {', '.join(absent)}; give all columns of {task} or none")
    return tasks


def _numbers(path: Path, name: str, cells: Sequence[str]) -> Array:
    for line, cell in enumerate(cells, start=2):
        if not REAL.fullmatch(cell):
            raise DataError(f"{path}:{line}: column '{name}': got '{shortened(cell)}', expected a number")
    return np.array(cells, dtype=np.float64)
