"""The frames whose features are extracted: those of a curated set, or of a list, in the order of their table."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from abawkit.curation.curated_set import SPLITS, CuratedSet
from abawkit.errors import DataError, DataWarning, format_count, list_first
from abawkit.frames.crops import FrameSummary
from abawkit.frames.hints import describe_failures
from abawkit.frames.paths import FramesRoot, make_frame_folders
from abawkit.frames.reader import read_frames
from abawkit.system.files import count_processors, sha256_of
from abawkit.tables import Array


class FrameRows(Protocol):
    """Rows of a table and their frames.

    Attributes:
        names: The image name of each row.
    """

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102

    def read(self, start: int, size: int, part: tuple[int, int] = (0, 1)) -> Iterator[Array]:
        """Reads the frames from a row on.

        Args:
            start: The first row.
            size: Rows of each chunk but for the last, which may have fewer.
            part: The chunks to read: of (r, n) every n-th one, from chunk r on.

        Yields:
            The pixels of consecutive rows, RGB, (size, 112, 112, 3) uint8.

        Raises:
            DataError: If a frame can't be read.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Where the rows are from, for the manifest."""
        ...


@dataclass(frozen=True)
class ListedRows:
    """The frames of a list, or all images of folders.

    Attributes:
        path: The list; None where there is none.
        root: Where the frames are.
        names: The image name of each row.
    """

    path: Path | None
    root: FramesRoot
    names: Sequence[str]

    def read(self, start: int, size: int, part: tuple[int, int] = (0, 1)) -> Iterator[Array]:
        """Reads and decodes; see `FrameRows.read`. Every frame must be there.

        Raises:
            DataError: If a folder is absent, a name leads out of it, a frame is missing or unreadable, or more than a
                small share of the frames are no aligned crops.

        Warns:
            DataWarning: If frames were resized or converted.
        """
        rows = [row for first in _list_chunks(start, len(self.names), size, part) for row in first]
        rest = [self.names[row] for row in rows]
        if not rest:
            return
        summary = FrameSummary.begin(self.root, rest)
        for chunk in read_frames(rest, self.root, workers=count_processors(), size=size):
            summary.add(chunk)
            if chunk.failures:
                shown = list_first([f"row {rows[f.row] + 1:,}: {f.text}" for f in chunk.failures], 10)
                hints = describe_failures(self.root, chunk.failures)
                advice = "copy these frames again, give the right --frames, or take their rows out of the list"
                raise DataError("\n".join(["frames of the list can't be read:", *shown, *hints, advice]))
            yield chunk.pixels
        summary.finish()
        summary.warn()

    def describe(self) -> dict[str, Any]:
        """List and folders."""
        listed = {"list": str(self.path), "list_sha256": sha256_of(self.path)} if self.path else {}
        return {**listed, "folders": make_frame_folders(self.root).as_json()}


class CuratedRows:
    """The rows of a curated set that have a frame: those of training, then those of validation, in the table's order.

    Attributes:
        curated: The set.
        names: The image name of each row.
        without_frame: Rows that are left out, as their image is missing or unreadable.
    """

    def __init__(self, curated: CuratedSet) -> None:
        """Opens the packed frames and reads them through, to compare their digest.

        Raises:
            DataError: If there are none, they are damaged or of another set, or no row has one.

        Warns:
            DataWarning: If rows have no frame.
        """
        self.curated = curated
        self._store = curated.open_frames()
        splits = [curated.splits[name] for name in SPLITS]
        images = [name for split in splits for name in split.annotations.images.to_pylist()]
        frames = np.concatenate([split.frames for split in splits])
        self._frames = frames[frames >= 0]
        self.names = [images[row] for row in np.flatnonzero(frames >= 0)]
        self.without_frame = len(frames) - len(self._frames)
        if not self.names:
            raise DataError(f"{curated.folder}: no row has a frame; make the set again with `abawkit curate`")
        if self.without_frame:
            rows = format_count(self.without_frame, "row")
            verb = "has" if self.without_frame == 1 else "have"
            warnings.warn(
                f"{curated.folder}: {rows} of {len(frames):,} {verb} no frame, so no features are extracted for them",
                DataWarning,
                stacklevel=3,
            )

    def read(self, start: int, size: int, part: tuple[int, int] = (0, 1)) -> Iterator[Array]:
        """Reads packed frames; see `FrameRows.read`."""
        for rows in _list_chunks(start, len(self._frames), size, part):
            yield self._store.take(self._frames[rows.start : rows.stop])

    def describe(self) -> dict[str, Any]:
        """Set and digests."""
        return {
            "data": str(self.curated.folder),
            "table_sha256": self.curated.digest,
            "frames_sha256": self.curated.frames_digest,
            "without_frame": self.without_frame,
        }


def _list_chunks(start: int, total: int, size: int, part: tuple[int, int]) -> list[range]:
    """The rows of each chunk of a part; see `FrameRows.read`."""
    number, parts = part
    return [range(first, min(first + size, total)) for first in range(start + number * size, total, size * parts)]
