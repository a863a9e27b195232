"""What is predicted: the frames of a test list, or the rows of a curated split."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from abawkit.choices import Missing, Split
from abawkit.curation.table import CuratedSet
from abawkit.errors import DataError
from abawkit.files import processors, sha256_of
from abawkit.frames.reader import FrameFailure, read_frames
from abawkit.prediction.missing import refuse_missing
from abawkit.tables import Array

CHUNK: Final = 256
"""Frames held at a time."""


class PixelChunk(NamedTuple):
    """Some rows of a list and their frames.

    Attributes:
        rows: Row numbers, int64 (n,).
        pixels: RGB, (n, 112, 112, 3) uint8.
    """

    rows: Array
    pixels: Array


@dataclass(frozen=True)
class ListedFrames:
    """The frames of a test list, in a folder.

    Attributes:
        path: The list.
        root: Folder of the frames.
        images: Image names, in order.
        digest: Digest of the names in their order.
    """

    path: Path
    root: Path
    images: list[str]
    digest: str

    def chunks(self, missing: Missing, failures: list[FrameFailure]) -> Iterator[PixelChunk]:
        """Frames in the list's order; those that can't be had are refused at once, or added to `failures`."""
        if missing == "refuse":
            refuse_missing(self._absent(), len(self.images))
        for chunk in read_frames(self.images, self.root, workers=processors(), size=CHUNK):
            failures.extend(chunk.failures)
            if missing == "refuse":
                refuse_missing(failures)
            yield PixelChunk(chunk.rows, chunk.pixels)

    def source(self) -> dict[str, Any]:
        """For the manifest."""
        return {"list": str(self.path), "list_sha256": sha256_of(self.path), "frames": str(self.root)}

    def _absent(self) -> list[FrameFailure]:
        """Frames without a file, found before the first network runs."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; give the folder of the list's frames with --frames")
        rows = enumerate(self.images)
        return [
            FrameFailure(row, image, "missing", "no such file")
            for row, image in rows
            if not os.path.exists(f"{self.root}/{image}")  # noqa: PTH110 - a Path for each of 51,159 names takes longer
        ]


@dataclass(frozen=True)
class CuratedFrames:
    """The rows of a curated split, from the packed store.

    Attributes:
        curated: The set.
        split: The split.
    """

    curated: CuratedSet
    split: Split

    @property
    def images(self) -> list[str]:
        """Image names, in order."""
        names: list[str] = self.curated.splits[self.split].annotations.images.to_pylist()
        return names

    @property
    def digest(self) -> str:
        """Digest of the names in their order."""
        return self.curated.splits[self.split].annotations.digest

    def chunks(self, missing: Missing, failures: list[FrameFailure]) -> Iterator[PixelChunk]:
        """Frames in the table's order; rows without a frame are refused at once, or added to `failures`."""
        frames = self.curated.splits[self.split].frames
        if not len(frames):
            raise DataError(f"{self.curated.folder}: its {self.split} split has no rows; nothing to predict")
        store = self.curated.open_frames()
        names = self.images
        absent = np.flatnonzero(frames < 0).tolist()
        failures += [FrameFailure(row, names[row], "missing", "not in the packed frames") for row in absent]
        if missing == "refuse":
            refuse_missing(failures)
        rows = np.flatnonzero(frames >= 0)
        for start in range(0, len(rows), CHUNK):
            chosen = rows[start : start + CHUNK]
            yield PixelChunk(chosen, store.take(frames[chosen]))

    def source(self) -> dict[str, Any]:
        """For the manifest."""
        return {"data": str(self.curated.folder), "split": self.split, "table_sha256": self.curated.digest}
