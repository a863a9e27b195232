"""Reads listed frames in order, in chunks, with a pool of decoding threads and a bounded read-ahead."""

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from abawkit.errors import printable
from abawkit.frames.decode import FRAME_BYTES, FRAME_SIZE, Conversion, Decoded, FrameError, decode
from abawkit.frames.paths import FramesRoot, find_frame_paths

MAX_FRAME_BYTES: Final = 64 * 2**20
"""Largest file that is read as a frame; an image of `headers.MAX_SIDE` squared in RGB is smaller."""

_FRAMES_PER_TASK: Final = 16
"""Frames of a batch that a thread reads at a time: enough to outweigh the overhead, few enough to share it."""

BLACK: Final = 7
"""Largest value of a pixel of a frame that is called black: JPEG leaves a few levels of noise in black."""


@dataclass(frozen=True, slots=True)
class FrameFailure:
    """A listed frame that is missing or unreadable.

    Attributes:
        row: Row number in the list, from 0.
        image: The image name.
        reason: ``missing`` where there is no such file, ``unreadable`` where there is one.
        message: What was found, in one line.
    """

    row: int
    image: str
    reason: Literal["missing", "unreadable"]
    message: str

    @property
    def text(self) -> str:
        """``VIDEO/00001.jpg: missing (No such file or directory)``, safe to print."""
        return printable(f"{self.image}: {self.reason} ({self.message})")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive rows of a list.

    Attributes:
        start: First row of the chunk.
        stop: One past its last row.
        rows: Row numbers of the frames that were read, ascending, (n,) int64.
        pixels: Their pixels, RGB, (n, 112, 112, 3) uint8.
        failures: The other rows.
        conversions: How many frames were converted in which way.
        sizes: How many frames had which width and height, in pixels.
        examples: For each size but 112 x 112 the first image that had it.
        black: Images that are black all over.
        contents: What to store in place of the pixels, where that was asked for: the bytes of each frame's file, or
            those of its pixels where the file has as many or more.
    """

    start: int
    stop: int
    rows: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    failures: tuple[FrameFailure, ...]
    conversions: Mapping[Conversion, int]
    sizes: Mapping[tuple[int, int], int]
    examples: Mapping[tuple[int, int], str]
    black: tuple[str, ...]
    contents: tuple[bytes, ...] = ()


def read_frames(
    images: Sequence[str], root: FramesRoot, *, workers: int, size: int = 256, keep_contents: bool = False
) -> Generator[Chunk, None, None]:
    """Reads frames in the order of their list.

    Every row is in exactly one chunk, as a frame or as a failure; the rows of no chunk shift. About `workers` + 2
    chunks of 37,632 bytes a frame are held at a time, however long the list is. The result does not depend on
    `workers`.

    Args:
        images: Image names; a name that is repeated is read each time.
        root: The folder that the names start from, or several.
        workers: Decoding threads, at least 1.
        size: Rows of a chunk, at least 1.
        keep_contents: Whether chunks have `Chunk.contents`.

    Returns:
        A generator of the chunks; closing it early ends its threads. All names have been checked when this function
        returns.

    Raises:
        DataError: If `root` is no folder or a name leads out of it, before any file is opened.
        ValueError: If `workers` or `size` is below 1.
    """
    if workers < 1 or size < 1:
        raise ValueError(f"workers and size must be at least 1, got {workers} and {size}")
    return _read_chunks(images, find_frame_paths(root, images), workers, size, keep_contents)


def read_batch(
    read: Callable[[int], NDArray[np.uint8] | FrameFailure], indices: NDArray[np.int64], workers: int
) -> tuple[NDArray[np.uint8], list[FrameFailure]]:
    """Reads frames in any order by several threads.

    Args:
        read: Reads the frame of an index, (112, 112, 3) uint8; called by several threads at once.
        indices: Frame indices, (n,) int64, in any order, repeats allowed.
        workers: Threads, at least 1; the result does not depend on them.

    Returns:
        Their pixels in the same order, (n, 112, 112, 3) uint8, contiguous; and the failures, each once, whose pixels
        are undefined.
    """
    numbers: list[int] = indices.tolist()
    pixels = np.empty((len(numbers), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)

    def fill(start: int) -> list[FrameFailure]:
        failures = []
        for k in range(start, min(start + _FRAMES_PER_TASK, len(numbers))):
            frame = read(numbers[k])
            if isinstance(frame, FrameFailure):
                failures.append(frame)
            else:
                pixels[k] = frame
        return failures

    # Threads of this call alone: to start them takes as long as a few frames, and nobody has to end them later.
    with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        parts = pool.map(fill, range(0, len(numbers), _FRAMES_PER_TASK))
        failures = [failure for part in parts for failure in part]
    return pixels, list(dict.fromkeys(failures))


def read_frame(row: int, image: str, path: str) -> Decoded | FrameFailure:
    """Reads and decodes one file.

    Args:
        row: Row number, for the failure.
        image: The image name, for the failure.
        path: From `find_frame_paths`.
    """
    try:
        return decode(_read_file(path), image)
    except FrameError as error:
        return FrameFailure(row, image, "unreadable", error.reason)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return FrameFailure(row, image, "missing" if missing else "unreadable", error.strerror or str(error))


def _read_chunks(
    images: Sequence[str], paths: list[str], workers: int, size: int, keep_contents: bool
) -> Generator[Chunk, None, None]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="frames")
    pending: deque[Future[Chunk]] = deque()
    try:
        for start in range(0, len(paths), size):
            stop = min(start + size, len(paths))
            pending.append(pool.submit(_read_chunk, images[start:stop], paths[start:stop], start, keep_contents))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_chunk(images: Sequence[str], paths: Sequence[str], start: int, keep_contents: bool) -> Chunk:
    pixels = np.empty((len(paths), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    rows: list[int] = []
    failures: list[FrameFailure] = []
    conversions: Counter[Conversion] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    examples: dict[tuple[int, int], str] = {}
    black: list[str] = []
    contents: list[bytes] = []
    for row, (image, path) in enumerate(zip(images, paths, strict=True), start):
        frame = read_frame(row, image, path)
        if isinstance(frame, FrameFailure):
            failures.append(frame)
        else:
            pixels[len(rows)] = frame.pixels
            rows.append(row)
            conversions.update(frame.conversions)
            sizes[frame.size] += 1
            if frame.size != (FRAME_SIZE, FRAME_SIZE):
                examples.setdefault(frame.size, image)
            if frame.pixels.max() <= BLACK:
                black.append(image)
            if keep_contents:
                contents.append(frame.content if len(frame.content) < FRAME_BYTES else frame.pixels.tobytes())
    stop, order = start + len(paths), np.array(rows, np.int64)
    read = pixels[: len(rows)]
    counts = (conversions, sizes, examples, tuple(black))
    return Chunk(start, stop, order, read, tuple(failures), *counts, tuple(contents))


def _read_file(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe must not wait for a writer
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        if status.st_size > MAX_FRAME_BYTES:
            raise OSError(errno.EFBIG, f"has {status.st_size:,} bytes, expected at most {MAX_FRAME_BYTES:,}")
        # As few calls as can be: other threads may take Python's lock at each of them, and are waited for after it.
        content = os.read(descriptor, status.st_size)
        while len(content) < status.st_size and (more := os.read(descriptor, status.st_size - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)
