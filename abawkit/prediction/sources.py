"""What is predicted: the frames of a test list or of a folder, or the rows of a curated split."""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from abawkit.choices import Missing, Split
from abawkit.curation.curated_set import CuratedSet, open_curated
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.frame_counts import list_crops
from abawkit.frames.crops import FrameSummary
from abawkit.frames.listing import list_images
from abawkit.frames.paths import FrameFolders, FramesRoot, find_frame_paths, make_frame_folders
from abawkit.frames.reader import FrameFailure, read_frames
from abawkit.prediction.missing import refuse_missing
from abawkit.run_names import BEST
from abawkit.system.files import count_processors, sha256_of
from abawkit.tables import Array, FrameList, VideoList

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
    """The frames of a test list, in a folder or several.

    Attributes:
        path: The list.
        root: Where the frames are.
        images: Image names, in order.
        digest: Digest of the names in their order.
    """

    path: Path
    root: FramesRoot
    images: list[str]
    digest: str

    def chunks(
        self, missing: Missing, failures: list[FrameFailure], counts: FrameSummary | None = None
    ) -> Iterator[PixelChunk]:
        """Frames in the list's order; those that can't be had are refused at once, or added to `failures`.

        Args:
            missing: What becomes of frames that can't be had.
            failures: Filled with them.
            counts: Of `begin`; filled with what the frames were.

        Raises:
            DataError: If a frame can't be had and may not be missing, if none can be had, or if more than a small share
                of them are no aligned crops.
        """
        counts = counts or self.begin()
        if missing == "refuse":
            refuse_missing(self._absent(), len(self.images), self.root)
        for chunk in read_frames(self.images, self.root, workers=count_processors(), size=CHUNK):
            counts.add(chunk)
            failures.extend(chunk.failures)
            if missing == "refuse":
                refuse_missing(failures, root=self.root)
            yield PixelChunk(chunk.rows, chunk.pixels)
        if failures and not counts.read:
            refuse_missing(failures, len(self.images), self.root)
        counts.finish()
        counts.warn()

    def begin(self) -> FrameSummary:
        """Counts of what the frames are, before the first is read.

        Raises:
            DataError: If a folder of frames is absent, or a name leads out of it.
        """
        return FrameSummary.begin(self.root, self.images)

    def source(self) -> dict[str, Any]:
        """For the manifest."""
        frames = make_frame_folders(self.root).as_json()
        return {"list": str(self.path), "list_sha256": sha256_of(self.path), "frames": frames}

    def _absent(self) -> list[FrameFailure]:
        """Frames without a file, found before the first network runs."""
        for folder in make_frame_folders(self.root).folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
        paths = find_frame_paths(self.root, self.images)
        return [
            FrameFailure(row, image, "missing", "no such file")
            for row, (image, path) in enumerate(zip(self.images, paths, strict=True))
            if not os.path.exists(path)  # noqa: PTH110 - a Path for each of 51,159 names takes longer
        ]


@dataclass(frozen=True)
class UnlistedFrames(ListedFrames):
    """All images of folders, where there is no list; its path is the first folder."""

    def source(self) -> dict[str, Any]:
        """For the manifest."""
        return {"frames": make_frame_folders(self.root).as_json()}


def list_folder_frames(root: FramesRoot, plugin: SubmissionFormat) -> UnlistedFrames:
    """All images of folders in natural order, for those who have no list.

    Args:
        root: The folders.
        plugin: The format that is written.

    Raises:
        ConfigError: If the format needs a list: in a file per video, line k + 1 is frame k, and crops do not say how
            many frames a video has.
        DataError: If there are no images, or one can't be a row.

    Warns:
        DataWarning: If other files were left out.
    """
    if plugin.container == "folder":
        raise ConfigError(
            f"--format {plugin.name}: needs --list: its files have a line for each frame of a video, and the crops do "
            "not say how many there are"
        )
    listing = list_images(root)
    if listing.others:
        files = (
            "1 file is no image and is" if listing.others == 1 else f"{listing.others:,} files are no images and are"
        )
        warnings.warn(f"{root}: {files} left out", DataWarning, stacklevel=2)
    rows = FrameList(pa.array(listing.images, pa.string()), np.arange(len(listing.images), dtype=np.int64) + 1)
    return UnlistedFrames(listing.root.folders[0], listing.root, listing.images, rows.digest)


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

    def chunks(
        self, missing: Missing, failures: list[FrameFailure], counts: FrameSummary | None = None
    ) -> Iterator[PixelChunk]:
        """Frames in the table's order; rows without a frame are refused at once, or added to `failures`.

        What the files were was counted when they were packed: `counts` is not used.
        """
        del counts
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

    def begin(self) -> None:
        """Nothing is counted of packed frames: the ledger says what they were."""

    def source(self) -> dict[str, Any]:
        """For the manifest."""
        return {"data": str(self.curated.folder), "split": self.split, "table_sha256": self.curated.digest}


def find_frames(
    frame_list: Path | None,
    frames: FrameFolders | None,
    split: Split | None,
    data: Path | None,
    plugin: SubmissionFormat,
) -> ListedFrames | CuratedFrames:
    """Finds what is predicted: a list with folders, all images of folders, or a split of a curated set.

    Args:
        frame_list: The list.
        frames: The folders.
        split: The split.
        data: The curated set.
        plugin: The format that is written.

    Raises:
        ConfigError: If what is given is none of the three.
        DataError: If the list, a folder or the curated set is absent or not what it must be.

    Warns:
        DataWarning: If the list names videos, and how many frames they have is not known.
    """
    if split and data and not (frame_list or frames):
        return CuratedFrames(open_curated(data), split)
    if frame_list and frames and not (split or data):
        listed = plugin.read_list(frame_list)
        for folder in frames.folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
        if isinstance(listed, VideoList):
            listed = list_crops(listed, frames.folders)
            if not getattr(plugin, "frame_counts", None):
                text = "files end with the last crop of each video; --frame-counts says where the videos end"
                warnings.warn(text, DataWarning, stacklevel=2)
        return ListedFrames(frame_list, frames, listed.images.to_pylist(), listed.digest)
    if frames and not (frame_list or split or data):
        return list_folder_frames(frames, plugin)
    raise ConfigError(
        "give --list and --frames for a list of frames, --frames alone for every image of a folder, or --split and "
        "--data for a curated split"
    )


def refuse_absent_networks(paths: Sequence[Path]) -> None:
    """Names a run or a file of weights that is not there, before torch is imported.

    Raises:
        DataError: If one is absent, or the folder of a run has no weights.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; give a run's folder, or a file of weights")
        if path.is_dir() and not (path / BEST).exists():
            raise DataError(
                f"{path}: this folder holds no {BEST}; give the folder of a finished run, or a file of weights"
            )
