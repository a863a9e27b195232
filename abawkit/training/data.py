"""Rows of training and validation with their frames, which are packed, in a folder or on the GPU; epoch order."""

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from abawkit.choices import MAX_MISSING, Split
from abawkit.curation.curated_set import CuratedSet, CuratedSplit
from abawkit.errors import DataError, DataWarning, printable
from abawkit.frames.crops import FrameSummary
from abawkit.frames.decode import FRAME_BYTES, FRAME_SIZE
from abawkit.frames.hints import describe_failures
from abawkit.frames.image_folder import FolderFrames
from abawkit.frames.packed import PackedFrames
from abawkit.frames.paths import FramesRoot
from abawkit.frames.reader import FrameFailure, read_frames
from abawkit.labels import Task
from abawkit.models.devices import pin_memory, upload
from abawkit.system.files import count_processors
from abawkit.tables import Annotations, Array
from abawkit.training.losses import Targets
from abawkit.training.supervision import describe_tasks

K = TypeVar("K")
V = TypeVar("V")


class FrameSource(Protocol):
    """A source of frames: `abawkit.frames.packed.PackedFrames` or `abawkit.frames.image_folder.FolderFrames`."""

    def take(self, indices: Array) -> Array:
        """Frames by their indices, int64 (n,), in any order; (n, 112, 112, 3) uint8.

        Raises:
            DataError: If a frame can't be read.
            IndexError: If an index is negative or past the end.
        """
        ...

    def __len__(self) -> int: ...


class TrainingRows(Protocol):
    """Rows of a split: `FramedRows`, or `abawkit.training.sequence_data.SequenceRows`."""

    @property
    def annotations(self) -> Annotations:
        """The rows."""
        ...

    @property
    def rows(self) -> Array:
        """Row number of each in its source file, int64 (n,)."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class FramedRows:
    """Rows of a split, each with its frame.

    Attributes:
        annotations: The rows.
        rows: Row number of each in its source file, int64 (n,); augmentation is a function of it.
        frames: Index of each row's frame in `store`, int64 (n,).
        store: The frames.
        counts: Formats and sizes of image files; None for packed frames, whose ledger has them.
    """

    annotations: Annotations
    rows: Array
    frames: Array
    store: FrameSource
    counts: FrameSummary | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, which: Array) -> Array:
        """Frames of these rows, (len(which), 112, 112, 3) uint8."""
        return self.store.take(self.frames[which])

    def targets(self, which: Array) -> Targets:
        """Annotations of these rows as tensors on the CPU."""
        return collect_targets(self.annotations, which)


def collect_targets(a: Annotations, which: Array) -> Targets:
    """Annotations of some rows, by their numbers, int64 (n,), as tensors on the CPU."""

    def tensor(column: Array, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(column[which]).to(dtype)

    return Targets(
        va=tensor(a.va, torch.float32),
        expression=tensor(a.expression, torch.int64),
        au=tensor(a.au, torch.float32),
        va_valid=tensor(a.va_valid, torch.bool),
        expression_valid=tensor(a.expression_valid, torch.bool),
        au_valid=tensor(a.au_valid, torch.bool),
    )


def read_training_rows(
    curated: CuratedSet, tasks: Sequence[Task], frames: FramesRoot | None = None, *, max_missing: float = MAX_MISSING
) -> FramedRows:
    """The rows that the policy keeps and that are annotated for one of the tasks.

    Args:
        curated: The curated set; with `frames`, it may hold labels only.
        tasks: The tasks to train.
        frames: Folders of image files to decode frames from, rather than the packed store. Every frame is read once
            now, so that an unreadable one does not end an epoch.
        max_missing: Share of the frames in `frames`, 0 to 1, that may be missing or unreadable. Their rows are left
            out with a `DataWarning`.

    Raises:
        DataError: If there are no rows, more frames are missing, or more than a small share are no aligned crops.
    """
    return _select_rows(curated, "train", select_training_rows(curated, tasks), frames, max_missing)


def select_training_rows(curated: CuratedSet, tasks: Sequence[Task]) -> Array:
    """A mask of the training rows that the policy keeps and that are annotated for one of the tasks.

    Raises:
        DataError: If there are none.
    """
    split = curated.splits["train"]
    valid = np.logical_or.reduce([getattr(split.annotations, f"{task}_valid") for task in tasks])
    if not (split.kept & valid).any():
        raise DataError(
            f"{curated.folder}: no training row is annotated for {describe_tasks(tasks)}, of those that its policy "
            f"({curated.policy}) keeps; train other tasks, or curate with --policy per-task"
        )
    return np.asarray(split.kept & valid)


def read_evaluation_rows(
    curated: CuratedSet, split: Split, frames: FramesRoot | None = None, *, max_missing: float = MAX_MISSING
) -> FramedRows:
    """Every row of a split that has a frame, whatever the policy keeps, so that both protocols can be scored.

    Arguments and errors are those of `read_training_rows`.
    """
    rows = curated.splits[split]
    chosen = rows.kept if split == "train" else np.ones(len(rows.rows), dtype=bool)
    return _select_rows(curated, split, chosen, frames, max_missing)


def order_epoch(rows: int, batch_size: int, *, seed: int, epoch: int) -> list[Array]:
    """The batches of an epoch: every row exactly once, in an order that depends on seed and epoch (from 0) only.

    Batches have at most `batch_size` rows and differ by one row at most, as one row has no batch statistics.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)
    return np.array_split(order, max(1, -(-rows // batch_size)))


def prefetch(read: Callable[[K], V], keys: Sequence[K], start: int = 0) -> Generator[tuple[K, V], None, None]:
    """Pairs of a key and its value; a thread reads the next value while the present one is used.

    Args:
        read: Reads the value of a key.
        keys: For example batches.
        start: Number of the first key, 0 to ``len(keys)``.

    Returns:
        A generator. Closing it early waits for a read that is under way, and leaves no thread.

    Raises:
        ValueError: If `start` is out of range.
    """
    if not 0 <= start <= len(keys):
        raise ValueError(f"start is {start}, expected 0..{len(keys)}")
    return _read_ahead(read, keys[start:])


def _read_ahead(read: Callable[[K], V], keys: Sequence[K]) -> Generator[tuple[K, V], None, None]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    pending: deque[tuple[K, Future[V]]] = deque()
    try:
        for following in keys:
            pending.append((following, pool.submit(read, following)))
            if len(pending) > 1:
                key, value = pending.popleft()
                yield key, value.result()
        for key, value in pending:
            yield key, value.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _select_rows(
    curated: CuratedSet, name: Split, chosen: Array, root: FramesRoot | None, max_missing: float
) -> FramedRows:
    split = curated.splits[name]
    counts = None
    if root:
        which, counts = _find_readable_rows(split, name, np.flatnonzero(chosen), root, max_missing)
        annotations = split.annotations.select(which)
        store: FrameSource = FolderFrames(annotations.images.to_pylist(), root)
        frames = np.arange(len(which))
    else:
        store = curated.open_frames()
        which = np.flatnonzero(chosen & (split.frames >= 0))
        annotations, frames = split.annotations.select(which), split.frames[which]
    if len(which) < 2:
        raise DataError(f"{curated.folder}: {len(which)} rows of the {name} split can be used, expected at least 2")
    return FramedRows(annotations, split.rows[which], frames, store, counts)


def _find_readable_rows(
    split: CuratedSplit, name: Split, which: Array, root: FramesRoot, max_missing: float
) -> tuple[Array, FrameSummary]:
    """The rows whose frame can be decoded, and the summary of the files; see `read_training_rows` for errors."""
    images = split.annotations.select(which).images.to_pylist()
    distinct = list(dict.fromkeys(images))
    counts = FrameSummary.begin(root, distinct)
    failures: list[FrameFailure] = []
    digest = hashlib.sha256()
    with closing(read_frames(distinct, root, workers=count_processors())) as chunks:
        for chunk in chunks:
            counts.add(chunk)
            digest.update(chunk.pixels.data)
            failures += chunk.failures
    counts.finish()
    counts.digest = digest.hexdigest()
    counts.warn()
    if not failures:
        return which, counts
    failed = {failure.image for failure in failures}
    kept: Array = which[np.array([image not in failed for image in images])]
    found = f"{len(failures):,} of {len(distinct):,} frames of the {name} split are missing or unreadable"
    first = [failure.text for failure in failures[:10]]
    if len(failures) > max_missing * len(distinct):
        advice = f"copy them again, or give the right folder with --frames; at most {max_missing:.1%} may be missing"
        hints = describe_failures(root, failures, len(distinct))
        raise DataError("\n".join([f"{printable(str(root))}: {found}; the first:", *first, *hints, advice]))
    text = f"{root}: {found}; {len(which) - len(kept):,} rows are left out; the first frames: {', '.join(first)}"
    warnings.warn(printable(text), DataWarning, stacklevel=4)
    return kept, counts


SHARE: Final = 0.5
"""Largest share of a GPU's free memory that frames may take; the rest is for steps and validation."""

_CHUNK: Final = 1024


class ResidentFrames:
    """The distinct frames of all training rows, on one device.

    Attributes:
        pixels: RGB, uint8 (frames, 112, 112, 3).
    """

    def __init__(self, rows: FramedRows, device: torch.device) -> None:
        """Reads every frame once and copies it to the device.

        Raises:
            DataError: If a frame can't be read.
            RuntimeError: If there is not enough memory.
        """
        frames, self._numbers = np.unique(rows.frames, return_inverse=True)
        self.pixels = torch.empty((len(frames), FRAME_SIZE, FRAME_SIZE, 3), dtype=torch.uint8, device=device)
        for start in range(0, len(frames), _CHUNK):
            chunk = torch.from_numpy(rows.store.take(frames[start : start + _CHUNK]))
            self.pixels[start : start + _CHUNK] = upload(pin_memory(chunk, device), device)

    def numbers(self, which: Array) -> Tensor:
        """Indices of these rows' frames in `pixels`, int64 (len(which),), on the CPU."""
        return torch.from_numpy(self._numbers[which])

    def take(self, numbers: Tensor) -> Tensor:
        """Frames by their indices, int64 (n,) on the device: (n, 112, 112, 3) uint8."""
        return self.pixels.index_select(0, numbers)


def make_resident(rows: FramedRows, device: torch.device) -> ResidentFrames | None:
    """The frames of all rows on a GPU, or None where they don't fit, are not packed, or the device is a CPU."""
    if device.type != "cuda" or not isinstance(rows.store, PackedFrames):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if len(np.unique(rows.frames)) * FRAME_BYTES > SHARE * free:
        return None
    return ResidentFrames(rows, device)
