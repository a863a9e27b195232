"""What is predicted: the frames of a test list or of a folder, or the rows of a curated split."""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from abawkit.choices import Missing, Split
from abawkit.curation.curated_set import CuratedSet, open_curated
from abawkit.errors import ConfigError, DataError, DataWarning, list_first
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.frame_counts import list_crops, refuse_other_counts
from abawkit.frames.crops import FrameSummary
from abawkit.frames.hints import describe_failures
from abawkit.frames.listing import list_images
from abawkit.frames.paths import FrameFolders, FramesRoot, find_frame_paths, make_frame_folders
from abawkit.frames.reader import FrameFailure, read_frames
from abawkit.run_names import BEST, MANIFEST
from abawkit.system.files import count_processors, sha256_of
from abawkit.tables import Array, VideoList
from abawkit.training.fold_folder import is_fold_folder, list_fold_runs, read_folds

CHUNK: Final = 256
"""Frames that are held at a time."""


class PixelChunk(NamedTuple):
    """Some rows of a list and their frames.

    Attributes:
        rows: Row numbers, int64 (n,).
        pixels: RGB, (n, 112, 112, 3) uint8.
    """

    rows: Array
    pixels: Array


@dataclass
class ListedFrames:
    """The frames of a test list, or all images of folders.

    Attributes:
        path: The list; None where there is none.
        root: Where the frames are.
        images: Image names, in order.
        summary: Sizes and counts of the frames that `read` has read; None before.
    """

    path: Path | None
    root: FramesRoot
    images: list[str]
    summary: FrameSummary | None = field(default=None, init=False)

    def read(self, missing: Missing) -> Iterator[PixelChunk]:
        """Reads the frames in the list's order.

        Args:
            missing: ``refuse`` frames that are missing or unreadable, those without a file before any is read; with
                ``neighbour``, they are in no chunk.

        Raises:
            DataError: If a folder of frames is absent, a name leads out of it, a frame can't be read and is refused, no
                frame can be read, or more than a small share of them are no aligned crops.

        Warns:
            DataWarning: If frames were resized or converted, or an image is in two folders with different bytes.
        """
        summary = self.summary = FrameSummary.begin(self.root, self.images)
        failures = self._find_absent() if missing == "refuse" else []
        _refuse_failures(failures, len(self.images), self.root)
        for chunk in read_frames(self.images, self.root, workers=count_processors(), size=CHUNK):
            summary.add(chunk)
            failures += chunk.failures
            if missing == "refuse":
                _refuse_failures(failures, root=self.root)
            yield PixelChunk(chunk.rows, chunk.pixels)
        if not summary.read:
            _refuse_failures(failures, len(self.images), self.root)
        summary.finish()
        summary.warn()

    def describe(self) -> dict[str, Any]:
        """List, folders and counts of the frames, for the manifest."""
        return {
            **({"list": str(self.path), "list_sha256": sha256_of(self.path)} if self.path else {}),
            "frames": make_frame_folders(self.root).as_json(),
            **({"frame_counts": self.summary.as_dict()} if self.summary else {}),
        }

    def _find_absent(self) -> list[FrameFailure]:
        paths = find_frame_paths(self.root, self.images)
        return [
            FrameFailure(row, image, "missing", "no such file")
            for row, (image, path) in enumerate(zip(self.images, paths, strict=True))
            if not os.path.exists(path)  # noqa: PTH110 - a Path for each of 51,159 names takes longer
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

    def read(self, missing: Missing) -> Iterator[PixelChunk]:
        """Reads the frames in the table's order; see `ListedFrames.read`.

        Raises:
            DataError: If the split is empty, or a row has no frame and is refused.
        """
        frames = self.curated.splits[self.split].frames
        if not len(frames):
            raise DataError(f"{self.curated.folder}: its {self.split} split has no rows; nothing to predict")
        store = self.curated.open_frames()
        if missing == "refuse":
            names = self.images
            absent = np.flatnonzero(frames < 0).tolist()
            _refuse_failures([FrameFailure(row, names[row], "missing", "not in the packed frames") for row in absent])
        rows = np.flatnonzero(frames >= 0)
        for start in range(0, len(rows), CHUNK):
            chosen = rows[start : start + CHUNK]
            yield PixelChunk(chosen, store.take(frames[chosen]))

    def describe(self) -> dict[str, Any]:
        """Curated set, split and digest, for the manifest."""
        return {"data": str(self.curated.folder), "split": self.split, "table_sha256": self.curated.digest}


@dataclass(frozen=True)
class ListedNames:
    """The frames of a test list, whose features alone are there.

    Attributes:
        path: The list.
        images: Image names, in order.
    """

    path: Path
    images: list[str]

    def read(self, missing: Missing) -> Iterator[PixelChunk]:  # noqa: ARG002 - as the other sources'
        """Refuses to read frames.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("not all of these networks are sequence networks: give the frames of the list with --frames")

    def describe(self) -> dict[str, Any]:
        """The list, for the manifest."""
        return {"list": str(self.path), "list_sha256": sha256_of(self.path)}


FrameSelection: TypeAlias = ListedFrames | CuratedFrames | ListedNames


def find_frames(
    frame_list: Path | None,
    root: FrameFolders | None,
    split: Split | None,
    data: Path | None,
    plugin: SubmissionFormat,
    *,
    features: bool = False,
) -> FrameSelection:
    """Finds what is predicted: a list with folders, all images of folders, or a split of a curated set.

    Args:
        frame_list: The list.
        root: The folders of frames.
        split: The split.
        data: The curated set.
        plugin: The format that is written, with its frame counts if there are any.
        features: Whether there are features, so that a list needs no folders.

    Raises:
        ConfigError: If the arguments are none of the three.
        DataError: If the list, a folder or the curated set is absent or not what it must be, or the frame counts of the
            format are of other frames.

    Warns:
        DataWarning: If the list names videos and it is not known how many frames they have, or a folder has files that
            are no images.
    """
    found: FrameSelection
    if split and data and not (frame_list or root):
        found = CuratedFrames(open_curated(data), split)
    elif frame_list and root and not (split or data):
        found = _open_list(frame_list, root, plugin)
    elif frame_list and features and not (root or split or data):
        found = _open_names(frame_list, plugin)
    elif root and not (frame_list or split or data):
        found = list_folder_frames(root, plugin)
    else:
        raise ConfigError(
            "give --list and --frames for a list of frames, --frames alone for every image of a folder, or --split and "
            "--data for a curated split"
        )
    refuse_other_counts(plugin, found.images)
    return found


def _open_list(path: Path, root: FrameFolders, plugin: SubmissionFormat) -> ListedFrames:
    listed = plugin.read_list(path)
    for folder in root.folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the list's frames with --frames")
    if isinstance(listed, VideoList):
        listed = list_crops(listed, root.folders)
        if not getattr(plugin, "frame_counts", None):
            text = "files end with the last crop of each video; --frame-counts says where the videos end"
            warnings.warn(text, DataWarning, stacklevel=3)
    return ListedFrames(path, root, listed.images.to_pylist())


def _open_names(path: Path, plugin: SubmissionFormat) -> ListedNames:
    listed = plugin.read_list(path)
    if isinstance(listed, VideoList):
        raise ConfigError(f"{path}: names videos and not frames: give the folder of the frames with --frames too")
    return ListedNames(path, listed.images.to_pylist())


def list_folder_frames(root: FramesRoot, plugin: SubmissionFormat) -> ListedFrames:
    """All images of folders in natural order, for those who have no list.

    Args:
        root: The folders.
        plugin: The format that is written.

    Raises:
        ConfigError: If the format needs a list: in a file per video, line k + 1 is frame k, and the crops do not show
            how many frames a video has.
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
    return ListedFrames(None, listing.root, listing.images)


def _refuse_failures(failures: Sequence[FrameFailure], rows: int | None = None, root: FramesRoot | None = None) -> None:
    """Refuses missing and unreadable frames; the message names the first ten, and where they are if that is known.

    Args:
        failures: These frames, if there are any.
        rows: Rows of the list, where all of them were looked at.
        root: The folders of the frames; None for packed frames.
    """
    if not failures:
        return
    shown = list_first([f"row {failure.row + 1:,}: {failure.text}" for failure in failures], 10)
    advice = (
        "copy the frames anew or give the right --frames; --missing neighbour answers with the nearest frame's values"
    )
    found = "frames of the list can't be read:"
    if len(failures) == rows:
        found = (
            f"none of the {rows:,} frames of the list can be read; this is another folder, or the list of other videos:"
        )
    hints = describe_failures(root, failures, rows) if root else []
    raise DataError("\n".join([found, *shown, *hints, advice]))


def expand_folds(paths: Sequence[Path]) -> list[Path]:
    """Networks, with the runs of its folds in place of each folder of folds.

    Raises:
        DataError: If a fold is not finished.
    """
    return [run for path in paths for run in (_list_finished_folds(path) if is_fold_folder(path) else [path])]


def _list_finished_folds(folder: Path) -> list[Path]:
    runs = list_fold_runs(folder, read_folds(folder).folds)
    for number, run in enumerate(runs, start=1):
        if not ((run / MANIFEST).is_file() and (run / BEST).is_file()):
            raise DataError(
                f"{folder}: fold {number} of {len(runs)} is not finished; `abawkit train --resume --out {folder}` "
                "continues it, or give the runs of single folds"
            )
    return runs


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
