"""Import of features that another program computed: joined to a table by name and occurrence, and stored."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abawkit.choices import Missing
from abawkit.curation.curated_set import SPLITS, open_curated
from abawkit.errors import ConfigError, DataError, DataWarning, format_count, list_first, printable
from abawkit.features.foreign_files import FeaturePart
from abawkit.features.store import FeatureStore, StoredType, match_names
from abawkit.features.store_writer import StoreWriter
from abawkit.formats.base import get_format
from abawkit.frame_columns import find_nearest_rows, make_frame_keys
from abawkit.system.files import sha256_of
from abawkit.tables import Array, VideoList

_ROWS_AT_A_TIME: Final = 8192
_SHOWN_ROWS: Final = 10


def import_rows(
    parts: Sequence[FeaturePart],
    images: pa.StringArray,
    out: Path,
    *,
    optional: Array | None = None,
    by_frame: bool = False,
    drop_extra: bool = False,
    missing: Missing = "refuse",
    dtype: StoredType = "float16",
    source: Mapping[str, Any],
    frames: Mapping[str, Any],
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Stores the features of a table's rows, in the order of the table.

    Args:
        parts: The rows of each file; all have the same dimension.
        images: The image name of each row of the table, n.
        out: The store to write; its lock must be held.
        optional: Rows of the table that may have no features and are then left out, a mask (n,).
        by_frame: Whether rows are joined by video and frame number, and rows of the table that repeat a frame take the
            same features; else by name and occurrence.
        drop_extra: Whether rows of the files whose image is not in the table are left out.
        missing: ``refuse`` rows of the table that must have features and have none, or give them those of their
            ``neighbour``: the nearest frame of their video. The manifest names these rows.
        dtype: Type of the stored numbers.
        source: What the files are, for the manifest.
        frames: What the table is, for the manifest.
        force: Whether stored features at `out` are replaced.
        progress: Called with the number of rows done and of all rows.

    Raises:
        DataError: If rows of the table have no features and no neighbour, rows of the files are not in the table
            (without `drop_extra`) or more often than there, or numbers are not finite or too large for `dtype`.

    Warns:
        DataWarning: If rows are left out, or have the features of another frame.
    """
    known = pa.concat_arrays([part.images for part in parts])
    rows = _match_frames(images, known) if by_frame else match_names(images, known)
    absent = np.flatnonzero((rows < 0) if optional is None else (rows < 0) & ~optional)
    filled: dict[int, int] = {}
    if missing == "neighbour" and (rows >= 0).any():
        filled = find_nearest_rows(images.to_pylist(), absent, rows >= 0, "has features")
        rows[absent] = rows[[filled[row] for row in absent.tolist()]]
        _warn_of_filled(parts, images, filled)
    else:
        _refuse_missing(parts, images, absent, known)
    _refuse_unlisted(parts, images, rows, known, drop_extra=drop_extra)
    kept = rows >= 0
    if not kept.all():
        count = f"{format_count(int((~kept).sum()), 'row')} without a frame"
        warnings.warn(f"{parts[0].path}: has no features for {count}; they are left out", DataWarning, stacklevel=3)
    names, chosen = images.filter(pa.array(kept)).to_pylist(), rows[kept]
    writer = StoreWriter(
        out,
        names,
        parts[0].values.shape[1],
        dtype,
        source=source,
        frames={**frames, **({"filled": _describe_filled(images, filled)} if filled else {})},
        preprocessing={},
        versions={package: version(package) for package in ("abawkit", "numpy", "pyarrow")},
    )
    starts = np.cumsum([0, *(len(part.values) for part in parts)])
    try:
        while writer.remaining:
            writer.append(_gather(parts, starts, chosen[writer.written : writer.written + _ROWS_AT_A_TIME]))
            if progress:
                progress(writer.written, writer.manifest.rows)
    except DataError:  # the same file will be refused again
        writer.discard()
        raise
    return writer.finish(force=force)


class TableImages(NamedTuple):
    """The rows of a table that features are imported for.

    Attributes:
        images: The image name of each row, n.
        optional: Rows that may have no features, a mask (n,); None where each must have.
        description: What the table is, for the manifest.
    """

    images: pa.StringArray
    optional: Array | None
    description: dict[str, Any]


def read_curated_images(folder: Path) -> TableImages:
    """The rows of a curated set: those of training, then those of validation; rows without a frame are optional.

    Raises:
        DataError: If there is none, or it is damaged.
    """
    curated = open_curated(folder)
    splits = [curated.splits[name] for name in SPLITS]
    images = pa.concat_arrays([split.annotations.images for split in splits])
    absent = np.concatenate([split.frames for split in splits]) < 0
    description = {"data": str(folder), "table_sha256": curated.digest}
    return TableImages(images, absent if curated.frames_digest else None, description)


def read_listed_images(path: Path, format_name: str) -> TableImages:
    """The rows of a list of frames.

    Args:
        path: The list.
        format_name: Format of the submission that it is for.

    Raises:
        ConfigError: If there is no such format, or the list names videos, of which it does not say how long they are.
        DataError: If it is no such list.
    """
    listed = get_format(format_name).read_list(path)
    if isinstance(listed, VideoList):
        raise ConfigError(f"{path}: lists videos, expected a list of frames; give one with --list, or --data")
    return TableImages(listed.images, None, {"list": str(path), "list_sha256": sha256_of(path)})


def _gather(parts: Sequence[FeaturePart], starts: Array, rows: Array) -> Array:
    """The features of some rows of all files together, float32 or wider, checked to be finite."""
    number = np.searchsorted(starts, rows, side="right") - 1
    values = np.empty((len(rows), parts[0].values.shape[1]), np.result_type(*(part.values.dtype for part in parts)))
    for i in np.unique(number):
        here = number == i
        values[here] = parts[i].values[rows[here] - starts[i]]
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        part = parts[number[row]]
        where = part.locate(int(rows[row] - starts[number[row]]))
        more = format_count(int(bad.any(axis=1).sum()), "such row")
        raise DataError(
            f"{where}: number {column + 1:,} is {values[row, column]:.6g}, expected a finite one ({more} among "
            f"{format_count(len(rows), 'row')} from there on); nothing was imported"
        )
    return values


def _match_frames(images: pa.StringArray, known: pa.StringArray) -> Array:
    """For each row the known row of its video and frame number, int64, (n,); -1 where there is none."""
    keys = [make_frame_keys(column) for column in (images, known)]
    return np.asarray(pc.fill_null(pc.index_in(keys[0], value_set=keys[1]), -1).to_numpy().astype(np.int64))


def _describe_filled(images: pa.StringArray, filled: Mapping[int, int]) -> list[dict[str, Any]]:
    return [
        {"row": row + 1, "image": images[row].as_py(), "from": images[other].as_py()} for row, other in filled.items()
    ]


def _warn_of_filled(parts: Sequence[FeaturePart], images: pa.StringArray, filled: Mapping[int, int]) -> None:
    if not filled:
        return
    pairs = [
        printable(f"{each['image']} as {each['from']}")
        for each in _describe_filled(images, dict(list(filled.items())[: _SHOWN_ROWS + 1]))
    ]
    shown = [*pairs[:_SHOWN_ROWS], *(["..."] if len(pairs) > _SHOWN_ROWS else [])]
    count = f"{len(filled):,} of {format_count(len(images), 'row')}"
    text = f"has no features for {count}, which take those of the nearest frame of their video: {', '.join(shown)}"
    warnings.warn(f"{_name_files(parts)}: {text}", DataWarning, stacklevel=4)


def _refuse_missing(parts: Sequence[FeaturePart], images: pa.StringArray, absent: Array, known: pa.StringArray) -> None:
    if not len(absent):
        return
    names = images.take(pa.array(absent))
    shown = ", ".join(list_first([printable(name) for name in names.to_pylist()], _SHOWN_ROWS))
    count = f"{len(absent):,} of {format_count(len(images), 'row')}"
    less = int(pc.sum(pc.is_in(names, value_set=known)).as_py() or 0)
    note = f" ({less:,} of them are there, but less often than in the table)" if less else ""
    advice = "; --missing neighbour gives them those of the nearest frame of their video"
    if len(absent) == len(images):
        note, advice = f"; its first name is {printable(repr(known[0].as_py()))}", ""
    raise DataError(f"{_name_files(parts)}: has no features for {count}: {shown}{note}; nothing was imported{advice}")


def _refuse_unlisted(
    parts: Sequence[FeaturePart], images: pa.StringArray, rows: Array, known: pa.StringArray, *, drop_extra: bool
) -> None:
    unused = np.ones(len(known), dtype=bool)
    unused[rows[rows >= 0]] = False
    if not unused.any():
        return
    positions = np.flatnonzero(unused)
    listed = pc.is_in(known.take(pa.array(positions)), value_set=images).to_numpy(zero_copy_only=False)
    repeated, unlisted = positions[listed], positions[~listed]
    if len(repeated):
        what, advice = "repeated more often than in the table", "keep one row for each row of the table"
        raise _make_unused_error(parts, known, repeated, what, advice)
    if not drop_extra:
        what, advice = "not in the table", "leave them out with --drop-extra, or give the table that has them"
        raise _make_unused_error(parts, known, unlisted, what, advice)
    count = format_count(len(unlisted), "row")
    verb = "is" if len(unlisted) == 1 else "are"
    text = f"{_name_files(parts)}: {count} of features {verb} not in the table, and left out"
    warnings.warn(text, DataWarning, stacklevel=4)


def _make_unused_error(
    parts: Sequence[FeaturePart], known: pa.StringArray, rows: Array, what: str, advice: str
) -> DataError:
    names = ", ".join(list_first([printable(name) for name in known.take(pa.array(rows)).to_pylist()], _SHOWN_ROWS))
    count, verb = format_count(len(rows), "row"), "is" if len(rows) == 1 else "are"
    where = _locate_row(parts, int(rows[0]))
    return DataError(f"{where}: {count} of features {verb} {what}: {names}; {advice}; nothing was imported")


def _locate_row(parts: Sequence[FeaturePart], row: int) -> str:
    for part in parts:
        if row < len(part.images):
            return part.locate(row)
        row -= len(part.images)
    raise IndexError(row)


def _name_files(parts: Sequence[FeaturePart]) -> str:
    return str(parts[0].path if len(parts) == 1 else parts[0].path.parent)
