"""One split, from an official file, a custom table, or the joined single-task tracks of an older edition."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abawkit.errors import ConfigError, DataError, DataWarning, printable
from abawkit.formats.editions import (
    ABAW3VA,
    ABAW5VA,
    ABAW3ActionUnits,
    ABAW3Expression,
    ABAW5ActionUnits,
    ABAW5Expression,
)
from abawkit.formats.per_video import VIDEO_FILE_SUFFIX
from abawkit.formats.readers import read_annotations
from abawkit.frame_columns import count_occurrences, rank_videos, split_names
from abawkit.labels import FIELDS, TASKS, Answer, Task
from abawkit.system.files import sha256, sha256_of
from abawkit.tables import Annotations, Array

if TYPE_CHECKING:  # it imports pandas, which only custom tables need
    from abawkit.formats.custom_table import TableColumns

TRACKS: Final = (ABAW3VA(), ABAW3Expression(), ABAW3ActionUnits())
FLAT_TRACKS: Final = (ABAW5VA(), ABAW5Expression(), ABAW5ActionUnits())

_HEADER_BYTES: Final = 4096


@dataclass(frozen=True)
class SplitSource:
    """A split as read from its files.

    Attributes:
        annotations: Its rows.
        tasks: The tasks that the files have columns for.
        missing: For each column of a custom table with missing values, how often each mark occurs.
    """

    annotations: Annotations
    tasks: tuple[Task, ...] = TASKS
    missing: dict[str, dict[str, int]] = field(default_factory=dict)


def read_split(paths: Sequence[Path], columns: "TableColumns | None" = None) -> SplitSource:
    """Reads a split.

    Args:
        paths: One annotation file; or one to three single-task tracks, each a folder with a file for each video, as in
            ABAW3, or a file with a row for each frame, as in ABAW5. Tracks are joined by image: a row has the labels of
            all of them, and no label of a track that does not have its frame.
        columns: The columns of a custom table; then there is one path.

    Raises:
        ConfigError: If two paths hold the same task, or there are several paths with `columns`.
        DataError: If a path is none of these.
        ProblemsError: If any cell is invalid; it has every problem of a file or a folder.
    """
    if columns:
        if len(paths) != 1:
            raise ConfigError("--columns describes one table a split; give --train and --validation once each")
        from abawkit.formats.custom_table import read_custom_table

        table = read_custom_table(paths[0], columns)
        return SplitSource(table.annotations, columns.tasks, table.missing)
    parts = [(path, *_read_track(path)) for path in paths]
    held: dict[Task, Path] = {}
    for path, _, tasks in parts:
        for task in tasks:
            if task in held:
                both = f"{held[task]} and {path} both hold {task}"
                raise ConfigError(f"{both}; give each single-task track once, or one file of all tasks")
            held[task] = path
    annotations = parts[0][1] if len(parts) == 1 else join_tracks([table for _, table, _ in parts])
    return SplitSource(annotations, tuple(task for task in TASKS if task in held))


def join_tracks(tables: Sequence[Annotations]) -> Annotations:
    """Joins annotations of different tasks by image; where images repeat, the first row joins the first, and so on.

    Args:
        tables: At least one; no task is annotated in two.

    Returns:
        A row for each image of any of them, by the name of its video and its frame. A row's line is that in the first
        table that has it.
    """
    keys = [_make_row_keys(table) for table in tables]
    joined = pc.unique(pa.concat_arrays(keys))
    rows = [pc.index_in(each, value_set=joined).to_numpy() for each in keys]
    n = len(joined)
    if len(tables) > 1 and n == sum(map(len, tables)):
        firsts = ", ".join(printable(table.images[0].as_py()) for table in tables)
        warnings.warn(f"the tracks have no image in common (their first: {firsts})", DataWarning, stacklevel=3)
    # In reverse, so that names and lines are those of the first table that has a row.
    names = np.empty(n, dtype=object)
    columns: dict[str, Array] = {}
    for table, where in zip(reversed(tables), reversed(rows), strict=True):
        names[where] = np.array(table.images.to_pylist(), dtype=object)
        for name, values in ((each.name, getattr(table, each.name)) for each in fields(table) if each.name != "images"):
            column = columns.setdefault(name, np.zeros((n, *values.shape[1:]), dtype=values.dtype))
            if name == "lines":
                column[where] = values
            else:  # 0 and False where a table does not annotate the task
                column[where] += values
    images = pa.array(names, pa.string())
    order = np.lexsort((split_names(images)[1], rank_videos(images)))
    return Annotations(images=images.take(pa.array(order)), **{name: column[order] for name, column in columns.items()})


def digest_source(path: Path) -> str:
    """The SHA-256 digest of a file; of a folder, that of its files' names and digests."""
    if not path.is_dir():
        return sha256_of(path)
    entries = [f"{sha256_of(file)} {file.name}" for file in sorted(path.iterdir()) if file.is_file()]
    return sha256("\n".join(entries).encode("utf-8", "surrogateescape"))


def _read_track(path: Path) -> tuple[Annotations, tuple[Task, ...]]:
    """One file or folder, and the tasks that it holds."""
    if path.is_dir():
        track = _find_track(path)
        return track.read_truth(path), _select_tasks(track.tasks)
    header, row = _read_first_lines(path)
    for flat in FLAT_TRACKS:
        if _split_names(header)[1:] == _split_names(flat.header)[1:] and len(_split_names(row)) != len(FIELDS):
            annotations = flat.read_truth(path)
            assert isinstance(annotations, Annotations)  # noqa: S101 - only compound expressions have none
            return annotations, _select_tasks(flat.tasks)
    return read_annotations(path), TASKS


def _find_track(folder: Path) -> ABAW3VA | ABAW3Expression | ABAW3ActionUnits:
    """The track whose header the first file with a known one has; other files are then refused by its reader."""
    for file in sorted(folder.glob(f"*{VIDEO_FILE_SUFFIX}")):
        names = _split_names(_read_first_lines(file)[0])
        for track in TRACKS:
            if names == _split_names(track.header):
                return track
    headers = ", ".join(f"'{track.header}'" for track in TRACKS)
    raise DataError(
        f"{folder}: no file VIDEO{VIDEO_FILE_SUFFIX} in this folder has the header of a track ({headers}); give the "
        "folder with a file for each video, or an annotation file"
    )


def _select_tasks(tasks: Sequence[Answer]) -> tuple[Task, ...]:
    return tuple(task for task in TASKS if task in tasks)


def _read_first_lines(path: Path) -> tuple[str, str]:
    """The first two lines of a text; empty where there are none, or where its reader gives an error."""
    try:
        with path.open("rb") as file:
            lines = file.read(_HEADER_BYTES).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        lines = []
    first, second, *_ = [*lines, "", ""]
    return first, second


def _split_names(line: str) -> list[str]:
    return [name.strip() for name in line.split(",")]


def _make_row_keys(table: Annotations) -> pa.StringArray:
    """A unique name for each row of a table: its image, and how often that occurs before."""
    before = pc.cast(pa.array(count_occurrences(table.images)), pa.string())
    return pc.binary_join_element_wise(before, table.images, " ")
