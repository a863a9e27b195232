"""Packed frames, open for reading: their pixels in one mapped file, or the bytes of their image files in shards."""

import mmap
import os
import weakref
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from abawkit.choices import PackedForm
from abawkit.errors import DataError, format_count, list_first
from abawkit.frames.decode import FRAME_BYTES, FRAME_SIZE, FrameError, decode
from abawkit.frames.reader import FrameFailure, read_batch
from abawkit.system.files import count_processors, sha256_of
from abawkit.system.json_records import read_object
from abawkit.system.staging import StageFile, find_copy

HEADER_FILE: Final = "frames.json"
PIXELS_FILE: Final = "frames.u8"
INDEX_FILE: Final = "frames.index"

PACKED_FORMATS: Final[dict[PackedForm, str]] = {"raw": "abawkit packed frames 1", "encoded": "abawkit encoded frames 1"}
"""What a header says it describes."""

INDEX_ROW: Final = np.dtype([("end", "<u8"), ("crc32", "<u4")])
"""A frame in the index: where its bytes end in all shards one after another, and the CRC-32 of its pixels."""

_PACK_AGAIN: Final = "pack the frames again with `abawkit curate`"


def name_shard(number: int) -> str:
    """The name of a shard, counted from 0."""
    return f"frames-{number:05}.shard"


def is_packed_file(name: str) -> bool:
    """Whether a file of this name can belong to packed frames."""
    return name in (HEADER_FILE, PIXELS_FILE, INDEX_FILE) or (name.startswith("frames-") and name.endswith(".shard"))


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of packed frames, as the header describes it.

    Attributes:
        name: Its name.
        bytes: Its size.
        sha256: Digest of its content.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PackedHeader:
    """What the header says.

    Attributes:
        form: Which of the two.
        frames: Number of frames, at least 1.
        sha256: Digest of the pixels of all frames, one after another: the same in both forms.
        files: ``frames.u8``; or ``frames.index`` and then the shards.
    """

    form: PackedForm
    frames: int
    sha256: str
    files: tuple[PackedFile, ...]


class PackedFrames(ABC):
    """Packed frames of either form.

    Pickled, as to a worker process, they are their folder's name, and are opened again there.

    Attributes:
        folder: Where they lie.
        header: What the header says.
    """

    def __init__(self, folder: Path, header: PackedHeader, files: Sequence[BinaryIO]) -> None:
        """Takes the files that the header describes, open."""
        self.folder, self.header, self._files = folder, header, files

    @classmethod
    def open(cls, folder: Path) -> "PackedFrames":
        """Opens packed frames, checking header, sizes and index, not the content.

        Raises:
            DataError: If a file is absent, is not what `abawkit.frames.packing` writes, or has another size.
        """
        header = _read_header(folder / HEADER_FILE)
        kind: type[PackedFrames] = RawFrames if header.form == "raw" else EncodedFrames
        with ExitStack() as opened:
            store = kind(folder, header, [opened.enter_context(_open_file(folder, file)) for file in header.files])
            # Held open while the store is: by their names other frames may be found later.
            weakref.finalize(store, opened.pop_all().close)
        return store

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels, the same in both forms; see `verify`."""
        return self.header.sha256

    @property
    def bytes(self) -> int:
        """Bytes on the disk, without the header."""
        return sum(file.bytes for file in self.header.files)

    def list_files(self) -> list[StageFile]:
        """The files beside the header, with their digests."""
        return [StageFile(self.folder / file.name, file.sha256) for file in self.header.files]

    def verify(self) -> None:
        """Reads all files and compares their digests.

        Raises:
            DataError: If one is not as it was packed.
        """
        for file in self.list_files():
            path = find_copy(file.path)
            if (found := sha256_of(path)) != file.sha256:
                raise DataError(f"{path}: is damaged, its SHA-256 is {found}, expected {file.sha256}; {_PACK_AGAIN}")

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames in any order; ascending ones read a cold disk fastest.

        Args:
            indices: Frame indices, (n,) int64, in any order, repeats allowed.

        Returns:
            Their pixels in the same order, (n, 112, 112, 3) uint8, contiguous. They are the caller's own: writing to
            them changes neither the file nor what another call returns.

        Raises:
            DataError: If a file has been damaged since it was packed; only encoded frames can tell.
            IndexError: If an index is negative (-1 marks a row without a frame) or past the end.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"frame indices {indices.min()}..{indices.max()}, expected 0..{len(self) - 1}")
        return self._take(indices)

    @abstractmethod
    def _take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames that are there; see `take`."""

    def __len__(self) -> int:
        return self.header.frames

    def __reduce__(self) -> tuple[Callable[[Path, str], "PackedFrames"], tuple[Path, str]]:
        return _reopen_store, (self.folder, self.digest)


class RawFrames(PackedFrames):
    """Frames of which the pixels are stored, 37,632 bytes each, decoded once for all epochs.

    Attributes:
        pixels: RGB, (frames, 112, 112, 3) uint8, mapped read-only.
    """

    def __init__(self, folder: Path, header: PackedHeader, files: Sequence[BinaryIO]) -> None:
        super().__init__(folder, header, files)
        self.pixels = np.memmap(files[0], np.uint8, mode="r", shape=(header.frames, FRAME_SIZE, FRAME_SIZE, 3))

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames that lie side by side, without a copy: the system reads their part of the file when it is touched.

        Args:
            start: Index of the first frame.
            stop: One past the index of the last.

        Returns:
            Their pixels, (stop - start, 112, 112, 3) uint8, contiguous, the caller's own as those of `take`.

        Raises:
            IndexError: If a frame of the range is not in the store, or `stop` is below `start`.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"frames {start}..{stop}, expected a range within 0..{len(self)}")
        if start == stop:
            return np.empty((0, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        # A mapping of its own for each call, as one of the whole store that can be written to needs as much memory.
        before = start * FRAME_BYTES % mmap.ALLOCATIONGRANULARITY
        offset, size = start * FRAME_BYTES - before, before + (stop - start) * FRAME_BYTES
        mapped = mmap.mmap(self._files[0].fileno(), size, access=mmap.ACCESS_COPY, offset=offset)
        return np.frombuffer(mapped, np.uint8, offset=before).reshape(-1, FRAME_SIZE, FRAME_SIZE, 3)

    def _take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        if len(indices) > 1 and (np.diff(indices) == 1).all():
            return self.rows(int(indices[0]), int(indices[-1]) + 1)
        return np.take(self.pixels.view(np.ndarray), indices, axis=0)


class EncodedFrames(PackedFrames):
    """Frames of which the image files' own bytes are stored, decoded by threads whenever they are requested.

    Of a file that takes as many bytes as its pixels or more, the pixels are stored. Each frame's pixels are compared
    with the checksum of those that it had when it was packed, so another decoder can't change them unnoticed.
    """

    def __init__(self, folder: Path, header: PackedHeader, files: Sequence[BinaryIO]) -> None:
        super().__init__(folder, header, files)
        rows = np.memmap(files[0], INDEX_ROW, mode="r", shape=(header.frames,)).view(np.ndarray)
        self._ends, self._checksums = rows["end"], rows["crc32"]
        self._bounds: list[int] = np.cumsum([0, *(file.bytes for file in header.files[1:])]).tolist()
        self._check_index()

    def _check_index(self) -> None:
        """Refuses an index by which a frame has no bytes, too many, or some in two shards."""
        ends, bounds = self._ends.astype(np.int64), np.array(self._bounds[1:])
        sizes = np.diff(ends, prepend=0)
        whole = sizes.min() > 0 and sizes.max() <= FRAME_BYTES and ends[-1] == bounds[-1]
        if not (whole and (ends[np.searchsorted(ends, bounds)] == bounds).all()):
            path = self.folder / INDEX_FILE
            raise DataError(f"{path}: is damaged, or of other shards than those beside it; {_PACK_AGAIN}")

    def _take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels, failures = read_batch(self._read, indices, count_processors())
        if failures:
            shown = list_first([f"frame {failure.row:,} in {failure.image}: {failure.message}" for failure in failures])
            raise DataError("\n".join([f"{self.folder}: packed frames are damaged:", *shown, _PACK_AGAIN]))
        return pixels

    def _read(self, number: int) -> NDArray[np.uint8] | FrameFailure:
        start = int(self._ends[number - 1]) if number else 0
        size = int(self._ends[number]) - start
        shard = bisect_right(self._bounds, start) - 1
        try:
            content = os.pread(self._files[shard + 1].fileno(), size, start - self._bounds[shard])
            if len(content) < size:
                raise FrameError("", "the shard ends before it")
            if size == FRAME_BYTES:
                pixels = np.frombuffer(content, np.uint8).reshape(FRAME_SIZE, FRAME_SIZE, 3)
            else:
                pixels = decode(content, "").pixels
        except FrameError as error:
            return FrameFailure(number, name_shard(shard), "unreadable", error.reason)
        except OSError as error:
            return FrameFailure(number, name_shard(shard), "unreadable", error.strerror or str(error))
        if zlib.crc32(pixels.data) != self._checksums[number]:
            found = "its pixels are not those that were packed: its bytes or the image decoder have changed since"
            return FrameFailure(number, name_shard(shard), "unreadable", found)
        return pixels


def _reopen_store(folder: Path, digest: str) -> PackedFrames:
    """Opens a store that was opened before, in another process, where another one may be there by now.

    Raises:
        DataError: If it is not the same one.
    """
    store = PackedFrames.open(folder)
    if store.digest != digest:
        raise DataError(f"{folder}: holds other frames than when it was opened; start again, now that it is written")
    return store


def _open_file(folder: Path, file: PackedFile) -> BinaryIO:
    path = find_copy(folder / file.name)
    if path.exists() and not path.is_file():  # to open a pipe may never end
        raise DataError(f"{path}: is not a regular file; {_PACK_AGAIN}")
    try:
        opened = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: can't be opened ({error.strerror}); {_PACK_AGAIN}") from error
    size = os.fstat(opened.fileno()).st_size
    if size != file.bytes:
        opened.close()
        raise DataError(f"{path}: has {size:,} bytes, expected {file.bytes:,}; {_PACK_AGAIN}")
    return opened


def _read_header(path: Path) -> PackedHeader:
    content = read_object(path, "the header of packed frames", _PACK_AGAIN)
    frames, digest = content.get("frames"), content.get("sha256")
    form = next((form for form, name in PACKED_FORMATS.items() if content.get("format") == name), None)
    files = [_read_entry(entry) for entry in _list_entries(content, form)]
    if form is None or type(frames) is not int or not isinstance(digest, str) or None in files:
        raise DataError(f"{path}: does not describe packed frames of this version; {_PACK_AGAIN}")
    header = PackedHeader(form, frames, digest, tuple(file for file in files if file))
    first = FRAME_BYTES if form == "raw" else INDEX_ROW.itemsize
    expected = [PIXELS_FILE] if form == "raw" else [INDEX_FILE, *(name_shard(k) for k in range(len(files) - 1))]
    if [file.name for file in header.files] != expected:
        raise DataError(f"{path}: does not describe packed frames of this version; {_PACK_AGAIN}")
    if frames < 1 or header.files[0].bytes != frames * first:
        size, name = header.files[0].bytes, header.files[0].name
        raise DataError(f"{path}: {name} of {format_count(frames, 'frame')} can't have {size:,} bytes; {_PACK_AGAIN}")
    return header


def _list_entries(content: Mapping[str, Any], form: PackedForm | None) -> Sequence[Any]:
    """The files that a header describes; the one of raw frames, whose header is older, has no list."""
    if form == "raw":
        return [{"name": PIXELS_FILE, "bytes": content.get("bytes"), "sha256": content.get("sha256")}]
    files = content.get("files")
    return files if isinstance(files, list) else []


def _read_entry(entry: Any) -> PackedFile | None:
    """A file that a header describes; None where the entry is not what it must be."""
    if not isinstance(entry, dict):
        return None
    name, size, digest = (entry.get(key) for key in ("name", "bytes", "sha256"))
    if not (isinstance(name, str) and type(size) is int and size > 0 and isinstance(digest, str)):
        return None
    return PackedFile(name, size, digest)
