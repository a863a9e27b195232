"""Training frames that lie on the GPU as they are packed, where they fit: a step takes them there by number."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from abawkit.frames.decode import FRAME_SIZE
from abawkit.frames.store import FRAME_BYTES, PackedFrames
from abawkit.models.transfer import stage, upload
from abawkit.tables import Array
from abawkit.training.data import FramedRows

SHARE: Final = 0.5
"""Of a GPU's free memory, the largest part that frames may take: the rest is for steps and validation."""

_CHUNK: Final = 1024


class ResidentFrames:
    """The distinct frames of all training rows, on one device.

    Attributes:
        pixels: RGB, uint8 (frames, 112, 112, 3).
    """

    def __init__(self, rows: FramedRows, device: torch.device) -> None:
        """Reads every frame once and copies it to the device.

        Args:
            rows: The training rows.
            device: Where the frames are to lie.

        Raises:
            DataError: If a frame can't be had.
            RuntimeError: If there is not enough memory.
        """
        frames, self._numbers = np.unique(rows.frames, return_inverse=True)
        self.pixels = torch.empty((len(frames), FRAME_SIZE, FRAME_SIZE, 3), dtype=torch.uint8, device=device)
        for start in range(0, len(frames), _CHUNK):
            chunk = torch.from_numpy(rows.store.take(frames[start : start + _CHUNK]))
            self.pixels[start : start + _CHUNK] = upload(stage(chunk, device), device)

    def numbers(self, which: Array) -> Tensor:
        """The frames of these rows: their numbers in `pixels`, int64 (len(which),), on the CPU."""
        return torch.from_numpy(self._numbers[which])

    def take(self, numbers: Tensor) -> Tensor:
        """Frames by their numbers, int64 (n,) on the device: (n, 112, 112, 3) uint8."""
        return self.pixels.index_select(0, numbers)


def resident_frames(rows: FramedRows, device: torch.device) -> ResidentFrames | None:
    """The frames of all rows on a GPU, or None where they don't fit, are not packed, or the device is a CPU."""
    if device.type != "cuda" or not isinstance(rows.store, PackedFrames):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if len(np.unique(rows.frames)) * FRAME_BYTES > SHARE * free:
        return None
    return ResidentFrames(rows, device)
