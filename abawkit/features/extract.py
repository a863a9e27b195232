"""Extraction: an extractor over all frames of a table, chunk by chunk, into a store that survives a kill."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from abawkit.errors import DataError, printable
from abawkit.features.extractors import FeatureExtractor, prepare_frames
from abawkit.features.frame_rows import FrameRows
from abawkit.features.store_writer import StoreWriter
from abawkit.models.devices import Download, pin_memory, upload, use_exact_float32
from abawkit.tables import Array

_DURABLE_ROWS: Final = 1024
"""Rows that a process computes for each writing: some seconds of work on a CPU, which is what a kill can lose."""


class Processes(Protocol):
    """This process among those that extract together, as of `abawkit.training.distributed.Distributed`."""

    @property
    def rank(self) -> int: ...  # noqa: D102

    @property
    def world_size(self) -> int: ...  # noqa: D102

    def all_gather(self, own: Tensor, sizes: Sequence[int]) -> Tensor: ...  # noqa: D102

    def broadcast_numbers(self, numbers: Sequence[int]) -> list[int]: ...  # noqa: D102


@torch.inference_mode()
def extract_rows(
    extractor: FeatureExtractor,
    rows: FrameRows,
    writer: StoreWriter | None,
    device: torch.device,
    *,
    batch: int,
    mirrored: bool,
    processes: Processes,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Extracts the features of all rows that are not written yet; each process takes every n-th chunk of rows.

    Batches begin at the same rows however often the extraction was stopped and however many processes there are, so
    that the numbers are the same, bit for bit. Everything is computed in float32.

    Args:
        extractor: What computes the features.
        rows: The frames.
        writer: Where the features go, in the first process; None in the others.
        device: Of the extractor.
        batch: Frames in one pass.
        mirrored: Whether the features of the mirrored frames are needed too.
        processes: Among which the rows are divided; all of them must call.
        progress: Called with the number of rows done and of all rows.

    Raises:
        DataError: If a frame can't be read, or the extractor returns another shape or numbers that are not finite.
    """
    total, rank, count = len(rows.names), processes.rank, processes.world_size
    size = batch * max(1, _DURABLE_ROWS // batch)
    written = processes.broadcast_numbers([writer.written if writer else 0])[0]
    chunks = rows.read(written, size, (rank, count)) if written < total else iter(())
    with use_exact_float32():
        for begin in range(written, total, size * count):
            sizes = [min(max(total - begin - size * number, 0), size) for number in range(count)]
            pixels = next(chunks) if sizes[rank] else ()
            plain: list[Download] = []
            turned: list[Download] = []
            for start in range(0, len(pixels), batch):
                chosen = torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch]))
                frames = upload(pin_memory(chosen, device), device)
                plain.append(Download(_extract_batch(extractor, frames)))
                if mirrored:
                    turned.append(Download(_extract_batch(extractor, frames.flip(2))))
                if progress:
                    progress(min(begin + (start + batch) * count, total), total)
            found = [
                _gather_rows(parts, extractor.dimension, sizes, device, processes)
                for parts in (plain, *([turned] if mirrored else []))
            ]
            if writer:
                writer.append(*found)


def _extract_batch(extractor: FeatureExtractor, frames: Tensor) -> Tensor:
    found = extractor.extract(prepare_frames(frames, extractor))
    expected = (len(frames), extractor.dimension)
    if tuple(found.shape) != expected or not found.is_floating_point():
        raise DataError(
            f"{printable(extractor.name)}: returned {found.dtype} {tuple(found.shape)} for {len(frames)} frames, "
            f"expected floating-point numbers {expected}"
        )
    return found.float()


def _gather_rows(
    parts: Sequence[Download], dimension: int, sizes: Sequence[int], device: torch.device, processes: Processes
) -> Array:
    """The features of all processes' rows, in their order."""
    own = torch.cat([torch.zeros((0, dimension)), *(part.wait() for part in parts)])
    if len(sizes) > 1:
        own = processes.all_gather(own.to(device), sizes).cpu()
    values: Array = own.numpy()
    return values
