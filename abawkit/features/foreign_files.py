"""Features that other programs wrote: an ``.npz``, an ``.npy`` with names, a CSV or Parquet table, or a file per video.

Nothing is guessed: names and numbers are where `FORMS` says, or the file is refused.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from abawkit.errors import ConfigError, DataError, format_count, printable
from abawkit.features.store import read_names
from abawkit.formats.text import read_text
from abawkit.frame_names import format_frame_name
from abawkit.system.files import sha256, sha256_of
from abawkit.tables import Array

FORMS: Final = (
    "expected .npz with the arrays `images` (n names) and `features` (n, dimension), .npy (n, dimension) with --names, "
    ".csv or .parquet with a column `image` and a column for each number, or a folder with such a file for each video"
)
"""The forms that are read, for messages."""

_FOREIGN_SUFFIXES: Final = (".npz", ".npy", ".csv", ".csv.gz", ".parquet")
_ARROW_ROW: Final = re.compile(r"(?:In CSV column #(\d+): )?(?:CSV parse error: )?Row #(\d+): (.*)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class FeaturePart:
    """The rows of one file.

    Attributes:
        path: The file.
        images: Image names, n.
        values: Their features, (n, dimension), any floating-point type.
        first_line: Line of the first row, counted from 1; 0 in a file without lines.
        columns: Names of the numbers of a row, in their order; none where a file does not name them.
    """

    path: Path
    images: pa.StringArray
    values: Array
    first_line: int = 0
    columns: tuple[str, ...] = ()

    def locate(self, row: int) -> str:
        """Where a row is, for messages."""
        return f"{self.path}:{row + self.first_line}" if self.first_line else f"{self.path}: row {row + 1:,}"


def read_foreign_features(path: Path, names: Path | None = None, first_frame: int | None = None) -> list[FeaturePart]:
    """Reads features that another program wrote.

    Args:
        path: The file, or a folder with a file for each video.
        names: The image names of an ``.npy``, one a line.
        first_frame: Number of the frame in the first row of each ``VIDEO.npy`` of a folder; the next row is the next
            frame.

    Returns:
        The rows of each file, at least one; all have the same dimension.

    Raises:
        ConfigError: If an option is missing that the form needs, or given that it does not need.
        DataError: If a file is absent, damaged, of another form or of another dimension than the first.
    """
    if not path.is_dir():
        if first_frame is not None:
            raise ConfigError(f"--first-frame: is for a folder with a VIDEO.npy for each video, and {path} is none")
        return [_read_part(path, names)]
    if names:
        raise ConfigError(f"--names: is for one .npy, and {path} is a folder")
    files = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    if odd := [entry.name for entry in files if not entry.name.endswith(_FOREIGN_SUFFIXES) or not entry.is_file()]:
        raise DataError(f"{path}: holds '{printable(odd[0])}', which is no file of features; {FORMS}")
    if not files:
        raise DataError(f"{path}: is an empty folder; {FORMS}")
    arrays = [entry for entry in files if entry.suffix == ".npy"]
    if arrays and first_frame is None:
        raise ConfigError(
            f"{arrays[0]}: has no names; give --first-frame, the number of the frame in the first row of each VIDEO.npy"
        )
    if first_frame is not None and len(arrays) < len(files):
        odd = [entry.name for entry in files if entry not in arrays]
        raise ConfigError(f"--first-frame: is for a folder of VIDEO.npy alone, and {path} holds '{printable(odd[0])}'")
    parts = [_read_video(entry, first_frame) if first_frame is not None else _read_part(entry, None) for entry in files]
    return [_arrange_columns(part, parts[0]) for part in parts]


def _arrange_columns(part: FeaturePart, first: FeaturePart) -> FeaturePart:
    """The numbers of a file in the order in which the first file names them."""
    if part.values.shape[1] != first.values.shape[1]:
        found, expected = (format_count(each.values.shape[1], "number") for each in (part, first))
        raise DataError(f"{part.path}: has {found} a row, and {first.path.name} has {expected}")
    if part.columns == first.columns:
        return part
    if not part.columns or not first.columns:
        named, other = (part, first) if part.columns else (first, part)
        raise DataError(f"{named.path}: names its numbers, and {other.path.name} does not; give files of one form")
    if odd := [name for name in part.columns if name not in first.columns]:
        absent = next(name for name in first.columns if name not in part.columns)
        found, expected = (printable(name[:60]) for name in (odd[0], absent))
        raise DataError(f"{part.path}: has a column '{found}' and no '{expected}', which {first.path.name} has")
    order = [part.columns.index(name) for name in first.columns]
    return replace(part, values=part.values[:, order], columns=first.columns)


def digest_foreign_features(path: Path) -> dict[str, str]:
    """The digest of a file, or of all files of a folder, for manifests."""
    if not path.is_dir():
        return {"sha256": sha256_of(path)}
    files = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    return {"files_sha256": sha256("\n".join(f"{sha256_of(entry)} {entry.name}" for entry in files).encode())}


def _read_part(path: Path, names: Path | None) -> FeaturePart:
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; {FORMS}")
    name = path.name.lower()
    if name.endswith(".npy"):
        if not names:
            raise ConfigError(f"{path}: has no names; give --names FILE, a text file with the image name of each row")
        return _make_part(path, _make_names(names, read_names(names)), _read_array(path))
    if names:
        raise ConfigError(f"--names: is for an .npy, and {path} has names of its own")
    if name.endswith(".npz"):
        return _read_archive_part(path)
    if name.endswith((".csv", ".csv.gz")):
        return _read_csv_part(path)
    if name.endswith(".parquet"):
        return _read_parquet_part(path)
    raise DataError(f"{path}: has another ending; {FORMS}")


def _read_video(path: Path, first: int) -> FeaturePart:
    values = _read_array(path)
    names = [format_frame_name(path.stem, first + row) for row in range(len(values))]
    return FeaturePart(path, _make_names(path, names), values)


def _read_array(path: Path) -> Array:
    try:
        values: Array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); {FORMS}") from error
    except ValueError as error:
        raise DataError(f"{path}: is no .npy of numbers ({_shorten_message(error)}); {FORMS}") from error
    return _check_values(path, "it", values)


def _read_archive_part(path: Path) -> FeaturePart:
    held: dict[str, Array] = {}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = set(archive.files)
            if names == {"images", "features"}:
                held = {name: archive[name] for name in names}
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); {FORMS}") from error
    except Exception as error:  # a damaged or hostile archive can end in many ways: compression, encryption, sizes
        reason = _shorten_message(error)
        if "allow_pickle" in reason:
            reason = "it holds Python objects; store names as np.array(names, dtype=str), numbers as floats"
        raise DataError(f"{path}: is no .npz of names and numbers ({reason}); {FORMS}") from error
    if not held:
        text = ", ".join(f"'{name}'" for name in sorted(names)) or "nothing"
        raise DataError(f"{path}: holds {printable(text[:200])}, expected 'features' and 'images' alone; {FORMS}")
    images, values = held["images"], held["features"]
    if images.ndim != 1 or images.dtype.kind != "U":
        raise DataError(f"{path}: images is {images.dtype} {images.shape}, expected names, one a row; {FORMS}")
    return _make_part(path, _make_names(path, images.tolist()), _check_values(path, "features", values))


def _read_csv_part(path: Path) -> FeaturePart:
    content = read_text(path, "features as CSV")
    header = content[: content.index(b"\n")].decode().split(",")
    _check_columns(f"{path}:1", header)
    types = {name: pa.string() if name == "image" else pa.float32() for name in header}
    try:
        table = pyarrow.csv.read_csv(
            BytesIO(content),
            pyarrow.csv.ReadOptions(use_threads=False),
            pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if not (found := _ARROW_ROW.match(str(error))):
            raise DataError(f"{path}: can't be read as CSV ({_shorten_message(error)})") from error
        column, line, reason = found.groups()
        where = f"column '{header[int(column)]}': " if column else ""
        raise DataError(f"{path}:{line}: {where}{printable(reason[:200])}") from error
    if not table.num_rows:
        raise DataError(f"{path}: holds a header and no rows; {FORMS}")
    images = _make_names(path, table["image"].to_pylist())
    return FeaturePart(path, images, _stack_columns(table), first_line=2, columns=_list_columns(table))


def _read_parquet_part(path: Path) -> FeaturePart:
    try:
        with pa.OSFile(os.fsencode(path)) as file:
            table = pyarrow.parquet.read_table(file, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as Parquet ({_shorten_message(error)}); {FORMS}") from error
    _check_columns(str(path), table.column_names)
    for field in table.schema:  # an absent number is NaN, which is refused where its row is needed
        kind, expected, fits = str(field.type), "floating-point numbers", pa.types.is_floating(field.type)
        if field.name == "image":
            fits = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
            expected = "names"
            if absent := table[field.name].null_count:
                kind, fits = f"{kind}, {absent:,} of them absent", False
        if not fits:
            raise DataError(f"{path}: column '{printable(field.name)}': holds {kind}, expected {expected}")
    if not table.num_rows:
        raise DataError(f"{path}: has no rows; {FORMS}")
    images = _make_names(path, table["image"].to_pylist())
    return FeaturePart(path, images, _stack_columns(table), columns=_list_columns(table))


def _list_columns(table: pa.Table) -> tuple[str, ...]:
    return tuple(name for name in table.column_names if name != "image")


def _stack_columns(table: pa.Table) -> Array:
    names = _list_columns(table)
    values: Array = np.empty((table.num_rows, len(names)), np.float32)
    with np.errstate(over="ignore"):  # what is too large is found when it is not finite
        for i, name in enumerate(names):
            values[:, i] = table[name].to_numpy()
    return values


def _check_columns(where: str, header: Sequence[str]) -> None:
    """Refuses a header without the column of images, without another, or with one that may be no feature."""
    for i, name in enumerate(header):
        if not name.strip() or name.startswith(("__index_level_", "Unnamed:")):
            raise DataError(f"{where}: column {i + 1:,} has no name, as an index that pandas wrote; leave it out")
        if name in header[:i]:
            raise DataError(f"{where}: column '{printable(name[:60])}' is there twice; {FORMS}")
    if "image" not in header or len(header) < 2:
        named = printable(", ".join(header)[:80])
        raise DataError(f"{where}: has the columns {named}, expected `image` and at least one number; {FORMS}")


def _make_part(path: Path, images: pa.StringArray, values: Array) -> FeaturePart:
    if len(images) != len(values):
        rows = format_count(len(values), "row")
        raise DataError(f"{path}: has {format_count(len(images), 'name')} and {rows} of numbers; {FORMS}")
    return FeaturePart(path, images, values)


def _make_names(path: Path, names: Sequence[str]) -> pa.StringArray:
    try:
        return pa.array(names, pa.string())
    except (UnicodeError, pa.ArrowException) as error:
        raise DataError(f"{path}: holds names that are not Unicode; {FORMS}") from error


def _check_values(path: Path, what: str, values: Any) -> Array:
    if values.ndim != 2 or values.dtype.kind != "f" or not all(values.shape):
        raise DataError(f"{path}: {what} is {values.dtype} {values.shape}, expected floats (n, dimension); {FORMS}")
    found: Array = values
    return found


def _shorten_message(error: Exception) -> str:
    return printable((str(error) or type(error).__name__).splitlines()[0][:200])
