"""The frames of a list in the order of time: what smoothing needs to know of a list, worked out once."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abawkit.errors import DataError, printable
from abawkit.frame_names import FRAME_NUMBER
from abawkit.tables import Array, find_videos


def read_frame_numbers(images: pa.StringArray) -> Array:
    """The number of each frame within its video: 123 of ``VIDEO/00123.jpg``.

    Args:
        images: Image names, n of them.

    Returns:
        int64, shape (n,), 0 to 10^18 - 1.

    Raises:
        DataError: If a name has no number before its ending, or one of more than 18 digits.
    """
    found = pc.struct_field(pc.extract_regex(images, FRAME_NUMBER + r"\z"), "number")
    if found.null_count:
        name = images[pc.index(found.is_null(), True).as_py()].as_py()
        raise DataError(
            f"{printable(name or '')}: has no frame number of 1 to 18 digits before its ending, expected "
            "VIDEO/00001.jpg; smoothing goes by the distance between frames, so leave it out or name the frames so"
        )
    return np.asarray(found.cast(pa.int64()))


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a list, each once, video after video and in the order of their numbers.

    Rows of one video and one number are one frame, however often a list repeats it. The order of the list's rows makes
    no difference.

    Attributes:
        order: Rows of the list in the order of time, repeats side by side, int64, shape (n,).
        firsts: Where in `order` each frame has its first row, int64, shape (m,).
        frames: Frame of each row of the list, int64, shape (n,), values 0 to m - 1.
        numbers: Number of each frame in its video, int64, shape (m,); rising within a video.
        starts: First frame of each video, and at the end m, int64, shape (videos + 1,).
    """

    order: Array
    firsts: Array
    frames: Array
    numbers: Array
    starts: Array

    @classmethod
    def of(cls, images: pa.StringArray) -> Self:
        """Puts the rows of a list into the order of time.

        Args:
            images: Image names ``VIDEO/00001.jpg``, n of them, in any order.

        Raises:
            DataError: If a name has no frame number.
        """
        numbers = read_frame_numbers(images)
        encoded = find_videos(images).dictionary_encode()
        # Videos are ordered by name, not by first row, so that the order of a list's rows leaves no trace in sums.
        ranks = np.argsort(np.argsort(encoded.dictionary.to_numpy(zero_copy_only=False)))
        videos = ranks[encoded.indices.to_numpy()]
        order = np.lexsort((numbers, videos))
        numbers, videos = numbers[order], videos[order]
        changes = np.ones((2, len(order)), dtype=bool)  # of the video, of the frame
        changes[0, 1:] = videos[1:] != videos[:-1]
        changes[1, 1:] = changes[0, 1:] | (numbers[1:] != numbers[:-1])
        firsts = np.flatnonzero(changes[1])
        frames = np.empty(len(order), dtype=np.int64)
        frames[order] = np.cumsum(changes[1]) - 1
        starts = np.append(np.flatnonzero(changes[0][firsts]), len(firsts))
        return cls(order, firsts, frames, numbers[firsts], starts)

    def __len__(self) -> int:
        return len(self.order)

    @property
    def longest(self) -> int:
        """Frames of the longest video; 0 for an empty list."""
        return int(np.diff(self.starts).max(initial=0))

    def collect(self, values: Array) -> Array:
        """The values of each frame: the mean of its rows.

        Args:
            values: A row for each row of the list, shape (n, c).

        Returns:
            float64, shape (m, c).
        """
        sorted_values = values[self.order].astype(np.float64)
        if len(self.firsts) == len(self.order):
            return sorted_values
        counts = np.diff(self.firsts, append=len(self.order))
        return np.asarray(np.add.reduceat(sorted_values, self.firsts, axis=0) / counts[:, None])

    def distribute(self, values: Array) -> Array:
        """The opposite of `collect`: gives each row of the list the values of its frame, shape (m, c) to (n, c)."""
        return np.asarray(values[self.frames])
