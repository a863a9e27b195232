"""Columns of frame names: their videos, frame numbers and repeats, and the order of their frames in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from abawkit.errors import DataError, printable
from abawkit.frame_names import FRAME_NUMBER, NUMBERED_NAME, PLAIN_NAME, find_video, parse_frame_number


def find_videos(images: pa.StringArray) -> pa.StringArray:
    """The video of each image: all before the last slash."""
    return pc.list_element(pc.split_pattern(images, "/", max_splits=1, reverse=True), 0)


def encode_images(images: pa.StringArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """Numbers the images in the order in which they first occur.

    Returns:
        The number of each row's image, int32, shape (n,); and a mask of the rows whose image is in a row before.
    """
    codes = images.dictionary_encode().indices.to_numpy()
    highest = np.maximum.accumulate(codes)
    repeated = np.zeros(len(codes), dtype=bool)
    repeated[1:] = codes[1:] <= highest[:-1]  # a new image gets a new highest number
    return codes, repeated


def count_occurrences(images: pa.StringArray) -> NDArray[Any]:
    """How often each row's image occurs before it, from 0: int64, shape (n,).

    The pair (image, occurrence) identifies a row even where a list repeats images.
    """
    codes, repeated = encode_images(images)
    result = np.zeros(len(codes), dtype=np.int64)
    seen: dict[int, int] = {}
    for row in np.flatnonzero(repeated).tolist():
        code = int(codes[row])
        seen[code] = result[row] = seen.get(code, 0) + 1
    return result


def find_first_difference(images: pa.StringArray, others: pa.StringArray) -> int | None:
    """The first row in which two lists differ, or that only one of them has; None where they are equal."""
    if images.equals(others):
        return None
    pairs = zip(images.to_pylist(), others.to_pylist(), strict=False)
    return next((row for row, (a, b) in enumerate(pairs) if a != b), min(len(images), len(others)))


def split_names(images: pa.StringArray) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """Splits names that are nothing but ``VIDEO/00001.jpg``.

    Returns:
        The video of each, and its frame number, int64, shape (n,); -1 where a name is not of that form, or where its
        video lies in another folder.
    """
    parts = pc.extract_regex(images, f"^{NUMBERED_NAME}$")
    numbers = pc.fill_null(pc.struct_field(parts, "number"), "-1")
    return pc.struct_field(parts, "video"), pc.cast(numbers, pa.int64()).to_numpy(zero_copy_only=False)


def make_frame_keys(images: pa.StringArray) -> pa.StringArray:
    """Names by which frames are joined: video and number, however the number is written; of other names, the name."""
    videos, numbers = split_names(images)
    names = pc.binary_join_element_wise(videos, pc.cast(pa.array(numbers), pa.string()), "/")
    return pc.coalesce(names, images)


def are_plain_names(images: pa.StringArray) -> bool:
    """Whether all are image names with nothing unusual in them; then none of them has a defect."""
    return bool(pc.all(pc.match_substring_regex(images, f"^{PLAIN_NAME}$")).as_py())


def read_frame_numbers(images: pa.StringArray) -> NDArray[Any]:
    """The number of each frame within its video: 123 of ``VIDEO/00123.jpg``.

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
            "VIDEO/00001.jpg; smoothing needs the distance between frames: leave it out, or name the frames so"
        )
    return np.asarray(found.cast(pa.int64()))


def find_nearest_rows(
    images: Sequence[str], unseen: NDArray[np.integer[Any]], seen: NDArray[np.bool_], having: str
) -> dict[int, int]:
    """Finds for rows that lack something the row of their video that has it, with the nearest frame number.

    Args:
        images: Image names ``VIDEO/00001.jpg``, n of them.
        unseen: The rows that lack it, by their numbers.
        seen: True for rows that have it, (n,).
        having: What those can that have it, for messages, as "can be read".

    Returns:
        For each of `unseen` the row that was found; of two equally near, the one with the earlier frame.

    Raises:
        DataError: If no row of a video has it, or a frame has no number.
    """
    videos = {find_video(images[row]) for row in unseen.tolist()}
    known: dict[str, list[tuple[int, int]]] = {video: [] for video in videos}
    for row in np.flatnonzero(seen).tolist():
        video = find_video(images[row])
        if video in videos:
            known[video].append((_parse_number(images[row]), row))
    found: dict[int, int] = {}
    for row in unseen.tolist():
        candidates = known[find_video(images[row])]
        if not candidates:
            raise DataError(f"{printable(images[row])}: no frame of its video {having}; there is no neighbour to ask")
        number = _parse_number(images[row])
        found[row] = min(candidates, key=lambda c: (abs(c[0] - number), c[0], c[1]))[1]
    return found


def _parse_number(image: str) -> int:
    number = parse_frame_number(image)
    if number is None:
        raise DataError(f"{printable(image)}: has no frame number, so its nearest frame is not known")
    return number


def rank_videos(images: pa.StringArray) -> NDArray[np.int64]:
    """The position of each row's video among all videos in the order of their names, int64, shape (n,).

    By name and not by first row, so that sums do not depend on the order of a list's rows.
    """
    encoded = find_videos(images).dictionary_encode()
    ranks = np.argsort(np.argsort(encoded.dictionary.to_numpy(zero_copy_only=False)))
    return np.asarray(ranks[encoded.indices.to_numpy()])


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

    order: NDArray[Any]
    firsts: NDArray[Any]
    frames: NDArray[Any]
    numbers: NDArray[Any]
    starts: NDArray[Any]

    @classmethod
    def of(cls, images: pa.StringArray) -> Self:
        """Puts the rows of a list into the order of time.

        Args:
            images: Image names ``VIDEO/00001.jpg``, n of them, in any order.

        Raises:
            DataError: If a name has no frame number.
        """
        numbers = read_frame_numbers(images)
        videos = rank_videos(images)
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

    def collect(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values of each frame: the mean of its rows.

        Args:
            values: A row for each row of the list, shape (n, c).

        Returns:
            float64, shape (m, c).
        """
        sorted_values: NDArray[np.float64] = values[self.order].astype(np.float64)
        if len(self.firsts) == len(self.order):
            return sorted_values
        counts = np.diff(self.firsts, append=len(self.order))
        return np.asarray(np.add.reduceat(sorted_values, self.firsts, axis=0) / counts[:, None])

    def distribute(self, values: NDArray[Any]) -> NDArray[Any]:
        """The opposite of `collect`: gives each row of the list the values of its frame, shape (m, c) to (n, c)."""
        return np.asarray(values[self.frames])
