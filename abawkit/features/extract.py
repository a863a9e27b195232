"""Extraction: an extractor over all frames of a table, chunk by chunk, into a store that survives a kill."""

from collections.abc import Callable
from typing import Final

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
"""Rows that are written at a time: some seconds of work on a CPU, which is what a kill can lose."""


@torch.inference_mode()
def extract_rows(
    extractor: FeatureExtractor,
    rows: FrameRows,
    writer: StoreWriter,
    device: torch.device,
    *,
    batch: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Extracts the features of all rows that are not written yet.

    Batches begin at the same rows however often the extraction was stopped, so that the numbers are the same, bit for
    bit. Everything is computed in float32.

    Args:
        extractor: What computes the features.
        rows: The frames.
        writer: Where the features go; it says whether those of the mirrored frames are needed too.
        device: Of the extractor.
        batch: Frames in one pass.
        progress: Called with the number of rows done and of all rows.

    Raises:
        DataError: If a frame can't be read, or the extractor returns another shape or numbers that are not finite.
    """
    total = writer.manifest.rows
    size = batch * max(1, _DURABLE_ROWS // batch)
    with use_exact_float32():
        for pixels in rows.read(writer.written, size) if writer.remaining else ():
            plain: list[Download] = []
            mirrored: list[Download] = []
            for start in range(0, len(pixels), batch):
                chosen = torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch]))
                frames = upload(pin_memory(chosen, device), device)
                plain.append(Download(_extract_batch(extractor, frames)))
                if writer.manifest.mirrored:
                    mirrored.append(Download(_extract_batch(extractor, frames.flip(2))))
                if progress:
                    progress(min(writer.written + start + batch, total), total)
            writer.append(_join(plain), _join(mirrored) if mirrored else None)


def _extract_batch(extractor: FeatureExtractor, frames: Tensor) -> Tensor:
    found = extractor.extract(prepare_frames(frames, extractor))
    expected = (len(frames), extractor.dimension)
    if tuple(found.shape) != expected or not found.is_floating_point():
        raise DataError(
            f"{printable(extractor.name)}: returned {found.dtype} {tuple(found.shape)} for {len(frames)} frames, "
            f"expected floating-point numbers {expected}"
        )
    return found.float()


def _join(parts: list[Download]) -> Array:
    values: Array = torch.cat([part.wait() for part in parts]).numpy()
    return values
