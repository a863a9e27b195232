"""Rows of training and validation with the features of their videos' frames; the windows of an epoch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from abawkit.choices import Split
from abawkit.curation.curated_set import CuratedSet
from abawkit.errors import ConfigError, DataError
from abawkit.features.store import FeatureStore, StoreManifest
from abawkit.frame_columns import Timeline
from abawkit.labels import Task
from abawkit.models.sequence_config import FeatureInput
from abawkit.models.sequence_windows import cut_videos, measure_gaps
from abawkit.system.files import sha256
from abawkit.tables import Annotations, Array
from abawkit.training.data import select_training_rows

_STATISTICS_ROWS: Final = 4096

_NO_PART_OF_SOURCE: Final = ("path", "onnxruntime", "trained_on")
"""What a store's manifest says of its source without changing its features."""


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """The features of frames, each once, video after video and in the order of their numbers.

    Attributes:
        stores: Where the features are; those of a frame are put side by side.
        rows: For each store the row of each frame, int64 (m,).
        numbers: Number of each frame in its video, int64 (m,).
        starts: First frame of each video, and at the end m, int64 (videos + 1,).
    """

    stores: tuple[FeatureStore, ...]
    rows: tuple[Array, ...]
    numbers: Array
    starts: Array

    @classmethod
    def find(cls, stores: Sequence[FeatureStore], images: pa.StringArray) -> tuple[Self, Array]:
        """Finds the frames of a list in stores.

        Args:
            stores: At least one.
            images: Image names, n of them, in any order. Rows of one video and one number are one frame.

        Returns:
            The features, and for each row of the list its frame, int64 (n,).

        Raises:
            DataError: If a store has no features of a frame, or a name has no frame number.
        """
        try:
            time = Timeline.of(images)
        except DataError as error:
            reason = str(error).partition("; ")[0]
            raise DataError(f"{reason}; a sequence network needs the order of frames: name them so") from error
        names = images.take(pa.array(time.order[time.firsts]))
        rows = tuple(store.select(names) for store in stores)
        return cls(tuple(stores), rows, time.numbers, time.starts), time.frames

    def take(self, frames: Array) -> Array:
        """The features of frames by their indices, int64 (n,), in any order: (n, D), float16 or float32 as stored."""
        return self._gather(frames, [store.values for store in self.stores])

    def take_mirrored(self, frames: Array) -> Array:
        """As `take`, of the mirrored frames, which every store must have."""
        return self._gather(frames, [store.mirrored for store in self.stores if store.mirrored is not None])

    def _gather(self, frames: Array, arrays: Sequence[Array]) -> Array:
        found = [np.asarray(values)[rows[frames]] for values, rows in zip(arrays, self.rows, strict=True)]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


@dataclass(frozen=True, eq=False)
class SequenceRows:
    """Rows of a split, each with its frame among the features of all frames of the split.

    Attributes:
        annotations: The rows.
        rows: Row number of each in its source file, int64 (n,).
        frames: Frame of each row in `features`, int64 (n,).
        features: All frames of the split, those without a row among them: the network sees them too.
    """

    annotations: Annotations
    rows: Array
    frames: Array
    features: FrameFeatures

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def gaps(self) -> Array:
        """The distance of each frame to the one before it, as of `measure_gaps`."""
        return measure_gaps(self.features)

    @cached_property
    def by_frame(self) -> Array:
        """The rows in the order of their frames, int64 (n,)."""
        return np.argsort(self.frames, kind="stable")

    @cached_property
    def row_starts(self) -> Array:
        """Where in `by_frame` the rows of each frame begin, and at the end n, int64 (m + 1,)."""
        return np.searchsorted(self.frames[self.by_frame], np.arange(len(self.features.numbers) + 1))

    def plan_epoch(self, window: int, batch_size: int, *, seed: int, epoch: int) -> list[Array]:
        """The batches of an epoch, as windows: each row is in exactly one.

        The videos are cut anew in each epoch, and the windows come in another order; both depend on seed and epoch
        only.

        Args:
            window: Frames of a window; those at the ends of a video are shorter.
            batch_size: Rows of a batch, about; there are as many batches as of frames.
            seed: Of the run.
            epoch: From 0.

        Returns:
            For each batch the first frame of its windows, and the frame after the last one, int64 (windows, 2).
        """
        random = np.random.Generator(np.random.Philox(key=[seed, epoch]))
        starts = self.features.starts
        begins, ends = cut_videos(starts, window, random.integers(0, window, len(starts) - 1))
        windows = np.stack([begins, ends], axis=1)[self.row_starts[ends] > self.row_starts[begins]]
        order = random.permutation(len(windows))
        batches = min(len(windows), -(-len(self) // batch_size))
        return np.array_split(windows[order], batches)

    def find_window_rows(self, windows: Array) -> tuple[Array, Array]:
        """The rows of windows, int64 (n,), and for each the number of its window, int64 (n,)."""
        first, end = self.row_starts[windows[:, 0]], self.row_starts[windows[:, 1]]
        counts = end - first
        numbers = np.repeat(np.arange(len(windows)), counts)
        within = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.by_frame[first[numbers] + within], numbers

    def compute_statistics(self) -> tuple[Array, Array]:
        """Mean and deviation of each feature over the frames that have a row, float32 (D,); 1 where it is constant."""
        frames = np.unique(self.frames)
        chunks = [frames[i : i + _STATISTICS_ROWS] for i in range(0, len(frames), _STATISTICS_ROWS)]
        mean = sum(self._read(chunk).sum(axis=0) for chunk in chunks) / len(frames)
        variance = sum(((self._read(chunk) - mean) ** 2).sum(axis=0) for chunk in chunks) / len(frames)
        deviation = np.sqrt(variance)
        constant = deviation <= 1e-6 * np.abs(mean) + 1e-12
        return mean.astype(np.float32), np.where(constant, 1, deviation).astype(np.float32)

    def _read(self, frames: Array) -> Any:
        return torch.from_numpy(self.features.take(frames)).double().numpy()  # ten times as fast as numpy


def open_stores(folders: Sequence[Path]) -> list[FeatureStore]:
    """Opens stores of features and compares their numbers with their digests.

    Raises:
        DataError: If one is absent, damaged or not complete.
    """
    stores = [FeatureStore.open(folder) for folder in folders]
    for store in stores:
        store.verify()
    return stores


def describe_stores(stores: Sequence[FeatureStore]) -> list[dict[str, str]]:
    """Folders and digests of stores, for manifests."""
    return [{"folder": str(store.folder.resolve()), "digest": store.digest} for store in stores]


def describe_input(manifest: StoreManifest) -> FeatureInput:
    """The features of a store, as a network names them: of imported ones, the source is not known."""
    known = {key: value for key, value in manifest.source.items() if key not in _NO_PART_OF_SOURCE}
    if manifest.source.get("kind") in (None, "import"):
        return FeatureInput(manifest.dimension, "")
    text = json.dumps([known, manifest.preprocessing], sort_keys=True)
    return FeatureInput(manifest.dimension, sha256(text.encode()))


def read_training_sequences(
    curated: CuratedSet, tasks: Sequence[Task], stores: Sequence[FeatureStore], *, flip: bool
) -> SequenceRows:
    """The rows that the policy keeps and that are annotated for one of the tasks, with the features of all frames.

    Args:
        curated: The curated set, which may hold labels only.
        tasks: The tasks to train.
        stores: The features.
        flip: Whether mirrored frames are needed.

    Raises:
        ConfigError: If mirrored frames are needed and a store has none.
        DataError: If there are no rows, or a frame has no features.
    """
    for store in stores if flip else ():
        if store.mirrored is None:
            raise ConfigError(
                f"{store.folder}: holds no features of mirrored frames, and augmentation.flip is not 0; --set "
                "augmentation.flip=0, or extract them with --flip"
            )
    return _make_rows(curated, "train", select_training_rows(curated, tasks), stores)


def read_evaluation_sequences(curated: CuratedSet, split: Split, stores: Sequence[FeatureStore]) -> SequenceRows:
    """Every row of a split that has a frame or features; arguments and errors as in `read_training_sequences`."""
    return _make_rows(curated, split, np.ones(len(curated.splits[split].rows), dtype=bool), stores)


def select_rows_with_features(curated: CuratedSet, name: Split, chosen: Array, stores: Sequence[FeatureStore]) -> Array:
    """The chosen rows that have a frame, or features from elsewhere: positions in the split, int64 (n,).

    Args:
        curated: The curated set; of one that holds labels only, every row counts.
        name: The split.
        chosen: A mask of its rows.
        stores: The features.

    Raises:
        DataError: If there are fewer than two.
    """
    which = np.flatnonzero(chosen & _find_rows_with_features(curated, name, stores))
    if len(which) < 2:
        raise DataError(f"{curated.folder}: {len(which)} rows of the {name} split can be used, expected at least 2")
    return which


def _find_rows_with_features(curated: CuratedSet, name: Split, stores: Sequence[FeatureStore]) -> Array:
    split = curated.splits[name]
    if not curated.frames_digest:
        return np.ones(len(split.rows), dtype=bool)
    images = split.annotations.images
    known = [pc.is_in(images, value_set=store.images).to_numpy(zero_copy_only=False) for store in stores]
    return np.asarray((split.frames >= 0) | np.logical_and.reduce(known))


def _make_rows(curated: CuratedSet, name: Split, chosen: Array, stores: Sequence[FeatureStore]) -> SequenceRows:
    split, there = curated.splits[name], _find_rows_with_features(curated, name, stores)
    which = select_rows_with_features(curated, name, chosen, stores)
    features, frames = FrameFeatures.find(stores, split.annotations.select(there).images)
    positions = np.cumsum(there) - 1
    return SequenceRows(split.annotations.select(which), split.rows[which], frames[positions[which]], features)
