"""Stored probabilities, as `abawkit predict` leaves them and as other systems can hand them in.

``.npz``: ``images`` (n names), and of each task that the system knows ``va`` (n, 2), ``expression`` (n, 8) or ``au``
(n, 12), in any floating-point type. ``dimensions``, ``expressions`` and ``action_units`` may name their columns, which
are then put in order by name; ``list_digest``, where it is given, must be that of `images`. What abawkit writes has it,
and float32.

``.csv`` and ``.parquet``: a row for each frame and columns by name, in any order: ``image``, and of each task all or
none: ``valence,arousal``, ``Neutral,...,Other``, ``AU1,...,AU26``.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

from abawkit.errors import DataError, format_count, printable
from abawkit.formats.rows import REAL, shorten
from abawkit.formats.text import read_text
from abawkit.frame_names import find_name_defect
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, VA_MAX, VA_MIN, Task
from abawkit.tables import Array, Predictions

if TYPE_CHECKING:
    import pandas as pd


COLUMNS: Final[Mapping[Task, tuple[str, ...]]] = {"va": DIMENSIONS, "expression": EXPRESSIONS, "au": ACTION_UNITS}
"""The columns of each task's array, in order."""

NEUTRAL: Final[Mapping[Task, float]] = {"va": 0.0, "expression": 1 / len(EXPRESSIONS), "au": 0.5}
"""What fills the columns of a task of which nothing is known."""

RANGES: Final[Mapping[Task, tuple[float, float]]] = {"va": (VA_MIN, VA_MAX), "expression": (0.0, 1.0), "au": (0.0, 1.0)}
"""The least and the greatest value of each task's columns."""


class Cells(NamedTuple):
    """What a file holds, before its values are checked.

    Attributes:
        images: Image names, n.
        columns: Of each task that it holds, in the order of `COLUMNS`, any floating-point type, shape (n, c).
        listed: The digest of the list that it names; None where it names none.
        first_line: Line of the first row, counted from 1; 0 in a file without lines.
    """

    images: Sequence[str]
    columns: Mapping[Task, Array]
    listed: str | None = None
    first_line: int = 0


def assemble(images: pa.StringArray, columns: Mapping[Task, Array]) -> Predictions:
    """Predictions of these columns, float32, with `NEUTRAL` ones for the tasks that are absent."""
    filled = {
        task: columns[task] if task in columns else np.full((len(images), len(names)), NEUTRAL[task], np.float32)
        for task, names in COLUMNS.items()
    }
    return Predictions(images, **filled)


MAX_BYTES: Final = 1 << 30
"""Most that an archive may unpack to: a hundred times the probabilities of the official test list."""

MAX_ROWS: Final = 1 << 23
"""More rows than all frames of Aff-Wild2."""

_ORDERS: Final[Mapping[str, Task]] = {"dimensions": "va", "expressions": "expression", "action_units": "au"}
NOTE_ARRAYS: Final = ("list_digest", *_ORDERS)
"""Arrays of an archive beside images and tasks."""

_NAMES: Final = ("images", *TASKS, *NOTE_ARRAYS)
_FORM: Final = "expected the .npz of `abawkit predict`, or images and any of va (n, 2), expression (n, 8), au (n, 12)"


def read_archive(path: Path) -> Cells:
    """Reads an ``.npz``; nothing is unpickled, and nothing is unpacked that would be too large.

    Raises:
        DataError: If it does not have the form.
    """
    found = _arrays(path)
    if "images" not in found or not any(task in found for task in TASKS):
        raise _refusal(path, f"it has {', '.join(sorted(found)) or 'nothing'}")
    images = _texts(path, "images", found["images"])
    columns: dict[Task, Array] = {}
    for task in TASKS:
        if task in found:
            column, shape = found[task], (len(images), len(COLUMNS[task]))
            if column.shape != shape or column.dtype.kind != "f":
                raise _refusal(path, f"{task} is {column.dtype} {column.shape}, expected floats {shape}")
            columns[task] = column
    for what, task in _ORDERS.items():
        if what in found and task not in columns:
            raise _refusal(path, f"it has {what}, which names the columns of {task}, and no {task}")
        if what in found:
            columns[task] = columns[task][:, _order(path, what, _texts(path, what, found[what]), COLUMNS[task])]
    listed = None
    if "list_digest" in found:
        listed = ", ".join(_texts(path, "list_digest", np.atleast_1d(found["list_digest"])))
    return Cells(images, columns, listed)


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of an archive; nothing is unpickled."""
    try:
        with path.open("rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in entries}
            if len(sizes) < len(entries):
                raise ValueError("it has two arrays of one name")
            if unknown := sorted(set(sizes) - set(_NAMES)):
                raise ValueError(f"it has '{printable(unknown[0][:60])}'")
            if sum(sizes.values()) > MAX_BYTES:
                raise ValueError(f"it unpacks to {sum(sizes.values()):,} bytes")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in sizes}
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); {_FORM}") from error
    except Exception as error:  # a damaged or hostile archive can end in many ways: compression, encryption, sizes
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "allow_pickle" in reason:
            reason = "it holds Python objects; store names as np.array(names, dtype=str), numbers as floats"
        raise _refusal(path, reason) from error


def _texts(path: Path, name: str, column: Array) -> list[str]:
    if column.ndim != 1 or column.dtype.kind not in "US" or len(column) > MAX_ROWS:
        raise _refusal(path, f"{name} is {column.dtype} {column.shape}, expected names, one a row")
    try:
        texts = [text.decode() if isinstance(text, bytes) else text for text in column.tolist()]
        "".join(texts).encode()
    except UnicodeError as error:
        raise _refusal(path, f"{name} holds text that is not Unicode") from error
    return texts


def _order(path: Path, what: str, named: Sequence[str], expected: Sequence[str]) -> list[int]:
    """Where each label's column is; every label must be named once."""
    if sorted(named) != sorted(expected):
        got = printable(", ".join(named)[:200])
        raise _refusal(path, f"{what} names {got}; expected each of {', '.join(expected)} once")
    return [named.index(name) for name in expected]


def _refusal(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: does not hold probabilities ({printable(reason)}); {_FORM}")


_TABLE: Final = "expected image,valence,arousal,Neutral,...,Other,AU1,...,AU26"


def read_csv(path: Path) -> Cells:
    """Reads a ``.csv``.

    Raises:
        DataError: If it does not have the form; with the line and the column.
    """
    lines = read_text(path, "probabilities as CSV").decode().split("\n")[:-1]
    header = [name.strip() for name in lines[0].split(",")]
    tasks = _find_tasks(f"{path}:1", header)
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
    tasks = _find_tasks(str(path), [str(name) for name in frame.columns])
    images = frame["image"].tolist()
    if not all(isinstance(image, str) for image in images):
        raise DataError(f"{path}: column 'image': expected names of images, one a row")
    for name in (name for task in tasks for name in COLUMNS[task]):
        if frame[name].dtype.kind != "f":
            raise DataError(f"{path}: column '{name}': holds {frame[name].dtype}, expected floating-point numbers")
    return Cells(images, {task: frame[list(COLUMNS[task])].to_numpy() for task in tasks})


def write_csv(file: IO[bytes], predictions: Predictions, tasks: Sequence[Task]) -> None:
    """Writes what `read_csv` reads, bit for bit: each float32 in as few digits as tell it apart from all others."""
    _make_frame(predictions, tasks).to_csv(file, index=False, lineterminator="\n")


def write_parquet(file: IO[bytes], predictions: Predictions, tasks: Sequence[Task]) -> None:
    """Writes what `read_parquet` reads: names as strings, values as float32."""
    _make_frame(predictions, tasks).to_parquet(file, index=False)


def _make_frame(predictions: Predictions, tasks: Sequence[Task]) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, object] = {"image": predictions.images.to_pylist()}
    for task in TASKS:
        if task in tasks:
            columns |= dict(zip(COLUMNS[task], getattr(predictions, task).T, strict=True))
    return pd.DataFrame(columns)


def _find_tasks(where: str, header: Sequence[str]) -> list[Task]:
    """The tasks whose columns a header names, all of each.

    Raises:
        DataError: If a name is unknown or stands twice, or a task has some of its columns; it begins with `where`.
    """
    known = {"image", *(name for names in COLUMNS.values() for name in names)}
    for i, name in enumerate(header):
        if name not in known or name in header[:i]:
            kind = "twice" if name in known else "which is no column of probabilities"
            raise DataError(f"{where}: got '{shorten(name)}' {kind}; {_TABLE}")
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
            raise DataError(f"{path}:{line}: column '{name}': got '{shorten(cell)}', expected a number")
    return np.array(cells, dtype=np.float64)


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
        if defect := find_name_defect(name):
            raise DataError(f"{_at(path, cells, row)}{defect}")
    columns = {task: _checked(path, cells, task) for task in TASKS if task in cells.columns}
    predictions = assemble(pa.array(cells.images, pa.string()), columns)
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
