"""Frames from a folder of image files, decoded whenever a batch needs them, without a packed store."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from abawkit.errors import DataError, list_first, printable
from abawkit.frames.paths import FramesRoot, find_frame_paths
from abawkit.frames.reader import FrameFailure, read_batch, read_frame
from abawkit.system.files import count_processors


class FolderFrames:
    """Listed frames of a folder, without the disk space of `PackedFrames`; a frame's index is its row.

    Each frame is decoded by `abawkit.frames.decode.decode` whenever it is requested. Between two calls there are
    neither threads nor open files, so there is nothing to close, and a copy may be pickled.

    Attributes:
        images: Image names.
        root: The folder that the names start from, or several.
        workers: Decoding threads of a call; no result depends on it.
    """

    def __init__(self, images: Sequence[str], root: FramesRoot, *, workers: int | None = None) -> None:
        """Checks the names and opens no file.

        Args:
            images: Image names; a name may be repeated.
            root: The folder that the names start from, or several.
            workers: Decoding threads, at least 1; the number of processors by default.

        Raises:
            DataError: If `root` is no folder or a name leads out of it.
            ValueError: If `workers` is below 1.
        """
        self.images = images
        self.root = root
        self.workers = count_processors() if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._paths = find_frame_paths(root, images)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Reads and decodes frames.

        Args:
            indices: Frame indices, (n,) int64, in any order, repeats allowed.

        Returns:
            Their pixels in the same order, (n, 112, 112, 3) uint8, contiguous, the caller's own.

        Raises:
            DataError: If a frame is missing, truncated, damaged or no JPEG or PNG; it names the first ten.
            IndexError: If an index is negative or past the end.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"frame indices {indices.min()}..{indices.max()}, expected 0..{len(self) - 1}")
        pixels, failed = read_batch(self._read, indices, self.workers)
        if failed:
            raise _make_unreadable_error(self.root, failed)
        return pixels

    def _read(self, index: int) -> NDArray[np.uint8] | FrameFailure:
        frame = read_frame(index, self.images[index], self._paths[index])
        return frame if isinstance(frame, FrameFailure) else frame.pixels

    def __len__(self) -> int:
        return len(self._paths)


def _make_unreadable_error(root: FramesRoot, failures: Sequence[FrameFailure]) -> DataError:
    head = f"{printable(str(root))}: frames that are needed now can't be read:"
    shown = list_first([failure.text for failure in failures], 10)
    return DataError("\n".join([head, *shown, "extract or copy these frames again"]))
