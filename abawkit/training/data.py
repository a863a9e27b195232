"""Training rows in memory, frames from the packed store, and the order in which an epoch sees them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from abawkit.choices import Split
from abawkit.curation.table import CuratedSet, CuratedSplit
from abawkit.errors import DataError
from abawkit.frames.store import PackedFrames
from abawkit.labels import Task
from abawkit.tables import Annotations, Array
from abawkit.training.losses import Targets


@dataclass(frozen=True)
class FramedRows:
    """Rows of a split, each with its frame.

    Attributes:
        annotations: The rows.
        rows: Row number of each in its source file, int64 (n,); what augmentation is a function of.
        frames: Index of each row's frame in the store, int64 (n,).
        store: The frames.
    """

    annotations: Annotations
    rows: Array
    frames: Array
    store: PackedFrames

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, which: Array) -> Array:
        """Frames of these rows, (len(which), 112, 112, 3) uint8."""
        return self.store.take(self.frames[which])

    def targets(self, which: Array, device: torch.device) -> Targets:
        """Annotations of these rows as tensors."""
        a = self.annotations

        def tensor(column: Array, dtype: torch.dtype) -> Tensor:
            return torch.from_numpy(column[which]).to(device=device, dtype=dtype)

        return Targets(
            va=tensor(a.va, torch.float32),
            expression=tensor(a.expression, torch.int64),
            au=tensor(a.au, torch.float32),
            va_valid=tensor(a.va_valid, torch.bool),
            expression_valid=tensor(a.expression_valid, torch.bool),
            au_valid=tensor(a.au_valid, torch.bool),
        )


def training_rows(curated: CuratedSet, tasks: Sequence[Task]) -> FramedRows:
    """The rows that the policy keeps and that are annotated for one of the tasks.

    Raises:
        DataError: If there are none.
    """
    split = curated.splits["train"]
    valid = np.logical_or.reduce([getattr(split.annotations, f"{task}_valid") for task in tasks])
    return _framed(curated, "train", split, split.kept & valid)


def evaluation_rows(curated: CuratedSet, split: Split) -> FramedRows:
    """Every row of a split that has a frame, whatever the policy keeps, so that both protocols can be scored.

    Raises:
        DataError: If there are none.
    """
    rows = curated.splits[split]
    return _framed(curated, split, rows, rows.kept if split == "train" else np.ones(len(rows.rows), dtype=bool))


def epoch_batches(rows: int, batch_size: int, *, seed: int, epoch: int) -> list[Array]:
    """The batches of an epoch: every row exactly once, in an order that is a function of seed and epoch alone.

    Batches differ in size by one row at most: a last batch of a single row has no batch statistics.

    Args:
        rows: Number of rows.
        batch_size: Largest batch.
        seed: Seed of the run.
        epoch: Epoch, from 0.
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)
    return np.array_split(order, max(1, -(-rows // batch_size)))


def prefetched(rows: FramedRows, batches: Sequence[Array]) -> Iterator[tuple[Array, Array]]:
    """Batches with their pixels; the next one is read while the present one is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        following = pool.submit(rows.pixels, batches[0])
        for i, batch in enumerate(batches):
            pixels = following.result()
            if i + 1 < len(batches):
                following = pool.submit(rows.pixels, batches[i + 1])
            yield batch, pixels


def _framed(curated: CuratedSet, name: Split, split: CuratedSplit, chosen: Array) -> FramedRows:
    store = curated.open_frames()
    which = np.flatnonzero(chosen & (split.frames >= 0))
    if len(which) < 2:
        raise DataError(f"{curated.folder}: {len(which)} rows of the {name} split can be used, expected at least 2")
    return FramedRows(split.annotations.select(which), split.rows[which], split.frames[which], store)
