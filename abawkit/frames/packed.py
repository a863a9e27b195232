"""The packed store: the pixels of every readable frame in one memory-mapped file, decoded once for all epochs."""

import hashlib
import json
import mmap
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from abawkit.errors import DataError, format_count, printable
from abawkit.frames.crops import FrameSummary
from abawkit.frames.decode import FRAME_SIZE, Conversion
from abawkit.frames.hints import describe_failures
from abawkit.frames.paths import FramesRoot
from abawkit.frames.reader import Chunk, FrameFailure, read_frames
from abawkit.system.files import replacing, sha256_of, write_json
from abawkit.system.staging import StageFile, find_copy

FRAME_BYTES: Final = FRAME_SIZE * FRAME_SIZE * 3
_STORE_FORMAT: Final = "abawkit packed frames 1"
_PACK_AGAIN: Final = "pack the frames again with `abawkit curate`"


@dataclass(frozen=True, slots=True, eq=False)
class PackReport:
    """The result of packing a list.

    Attributes:
        frame_of_row: For each row of the list the index of its frame in the store, or -1 where the image is missing
            or unreadable; (rows,) int64. Rows that repeat an image share its frame.
        frames: Frames in the store.
        failures: The images that are missing or unreadable, each once, at the first row that lists it.
        conversions: How many frames were converted in which way.
        digest: SHA-256 of the pixels.
        counts: Sizes and conversions, for manifests.
    """

    frame_of_row: NDArray[np.int64]
    frames: int
    failures: tuple[FrameFailure, ...]
    conversions: Mapping[Conversion, int]
    digest: str
    counts: FrameSummary


def pack_frames(
    images: Sequence[str],
    root: FramesRoot,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    accept: Callable[[PackReport], None] | None = None,
) -> PackReport:
    """Decodes every image of a list once and writes the pixels to ``frames.u8``, described by ``frames.json``.

    Frames lie in the order in which the list first names them. The content does not depend on `workers`. A store that
    was in the folder stays whole until the new one is complete.

    Args:
        images: Image names; repeated names are stored once.
        root: The folder that the names start from, or several.
        folder: Where the two files are written; made if it does not exist.
        workers: Decoding threads.
        progress: Called with the images done and the images in all.
        accept: Called with the report before an existing store is replaced; raises to keep that one.

    Raises:
        DataError: If a name leads out of `root`, if no image can be read, if more than a small share of them are no
            aligned crops, if the disk is too small, or if writing fails.

    Warns:
        DataWarning: If an image is in two folders with different bytes.
    """
    unique = list(dict.fromkeys(images))
    data, header = _locate_pixels(folder), _locate_header(folder)
    with closing(read_frames(unique, root, workers=workers)) as chunks:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_space(folder, len(unique))
            with replacing(data) as file:
                packed = _write_chunks(chunks, FrameSummary.begin(root, unique), file, progress)
                if not packed.frames:
                    raise _make_unread_error(root, packed.failures)
                if accept:
                    accept(packed)
                packed.counts.finish()
                file.flush()
                os.fsync(file.fileno())
                header.unlink(missing_ok=True)  # until the next statement there is no store, rather than a mixed one
            write_json(header, _make_header(packed.frames, packed.digest))
        except DataError:
            with suppress(OSError):  # goes only if it is empty
                folder.rmdir()
            raise
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{data}: can't write the packed frames ({reason}); free or check the disk") from error
    position = {image: k for k, image in enumerate(unique)}
    positions = np.fromiter((position[image] for image in images), np.int64, len(images))
    first_row = np.unique(positions, return_index=True)[1]
    failures = tuple(replace(failure, row=int(first_row[failure.row])) for failure in packed.failures)
    return replace(packed, frame_of_row=packed.frame_of_row[positions], failures=failures)


def _write_chunks(
    chunks: Iterable[Chunk], counts: FrameSummary, file: IO[bytes], progress: Callable[[int, int], None] | None
) -> PackReport:
    frame_of_row = np.full(counts.total, -1, np.int64)
    failures: list[FrameFailure] = []
    digest = hashlib.sha256()
    frames = 0
    for chunk in chunks:
        frame_of_row[chunk.rows] = np.arange(frames, frames + len(chunk.rows))
        frames += len(chunk.rows)
        failures.extend(chunk.failures)
        counts.add(chunk)
        digest.update(chunk.pixels.data)
        file.write(chunk.pixels.data)
        if progress:
            progress(chunk.stop, counts.total)
    return PackReport(frame_of_row, frames, tuple(failures), counts.conversions, digest.hexdigest(), counts)


class PackedFrames:
    """A packed store, open for reading.

    Pickled, as to a worker process, it is its folder's name, and is opened again there.

    Attributes:
        folder: Where it lies.
        digest: SHA-256 of the pixels, as `pack_frames` wrote it; see `verify`.
        pixels: RGB, (frames, 112, 112, 3) uint8, mapped read-only.
    """

    def __init__(self, folder: Path, digest: str, file: BinaryIO, shape: tuple[int, int, int, int]) -> None:
        self.folder = folder
        self.digest = digest
        self.pixels = np.memmap(file, np.uint8, mode="r", shape=shape)
        self._file = file  # held open: by its name another store may be found later
        weakref.finalize(self, file.close)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens a store, checking its header and its size, not its content.

        Raises:
            DataError: If a file is absent, is not what `pack_frames` writes, or has another size than it should.
        """
        header = _read_header(_locate_header(folder))
        data = find_copy(_locate_pixels(folder))
        try:
            with ExitStack() as opened:
                file = opened.enter_context(data.open("rb"))
                size = os.fstat(file.fileno()).st_size
                if size != header["bytes"]:
                    raise DataError(f"{data}: has {size:,} bytes, expected {header['bytes']:,}; {_PACK_AGAIN}")
                store = cls(folder, header["sha256"], file, (header["frames"], FRAME_SIZE, FRAME_SIZE, 3))
                opened.pop_all()
        except OSError as error:
            raise DataError(f"{data}: can't be opened ({error.strerror}); {_PACK_AGAIN}") from error
        return store

    def verify(self) -> None:
        """Reads the whole store and compares its digest.

        Raises:
            DataError: If the pixels are not those that were packed.
        """
        path = find_copy(_locate_pixels(self.folder))
        found = sha256_of(path)
        if found != self.digest:
            raise DataError(f"{path}: is damaged, its SHA-256 is {found}, expected {self.digest}; {_PACK_AGAIN}")

    def describe_pixels(self) -> StageFile:
        """The file of the pixels, with its digest."""
        return StageFile(_locate_pixels(self.folder), self.digest)

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames that lie side by side, without a copy: the system reads their part of the file when it is touched.

        Args:
            start: Index of the first frame.
            stop: One past the index of the last.

        Returns:
            Their pixels, (stop - start, 112, 112, 3) uint8, contiguous. They are the caller's own: writing to them
            changes neither the file nor what another call returns.

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
        mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_COPY, offset=offset)
        return np.frombuffer(mapped, np.uint8, offset=before).reshape(-1, FRAME_SIZE, FRAME_SIZE, 3)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames in any order; consecutive ones are not copied, and ascending ones read a cold disk fastest.

        Args:
            indices: Frame indices, (n,) int64, in any order, repeats allowed.

        Returns:
            Their pixels in the same order, (n, 112, 112, 3) uint8, contiguous, the caller's own as those of `rows`.

        Raises:
            IndexError: If an index is negative (-1 marks a row without a frame) or past the end.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"frame indices {indices.min()}..{indices.max()}, expected 0..{len(self) - 1}")
        if len(indices) > 1 and (np.diff(indices) == 1).all():
            return self.rows(int(indices[0]), int(indices[-1]) + 1)
        return np.take(self.pixels.view(np.ndarray), indices, axis=0)

    def __len__(self) -> int:
        return len(self.pixels)

    def __reduce__(self) -> tuple[Callable[[Path, str], "PackedFrames"], tuple[Path, str]]:
        return _reopen_store, (self.folder, self.digest)


def _reopen_store(folder: Path, digest: str) -> PackedFrames:
    """Opens a store that was opened before, in another process, where another one may be there by now.

    Raises:
        DataError: If it is not the same one.
    """
    store = PackedFrames.open(folder)
    if store.digest != digest:
        raise DataError(f"{folder}: holds other frames than when it was opened; start again, now that it is written")
    return store


def _locate_pixels(folder: Path) -> Path:
    return folder / "frames.u8"


def _locate_header(folder: Path) -> Path:
    return folder / "frames.json"


def _make_header(frames: int, digest: str) -> dict[str, Any]:
    return {"format": _STORE_FORMAT, "frames": frames, "bytes": frames * FRAME_BYTES, "sha256": digest}


def _check_space(folder: Path, frames: int) -> None:
    free, needed = shutil.disk_usage(folder).free, frames * FRAME_BYTES
    if free < needed:
        raise DataError(
            f"{printable(str(folder))}: {free / 1e9:.1f} GB free, and {frames:,} packed frames take "
            f"{needed / 1e9:.1f} GB; free the disk or give a folder on another"
        )


def _make_unread_error(root: FramesRoot, failed: Sequence[FrameFailure]) -> DataError:
    first = f"; the first, {failed[0].image!r}: {failed[0].message}" if failed else ""
    text = f"{root}: none of the {len(failed):,} listed images could be read{first}; check the images' folder"
    return DataError("\n".join([printable(text), *describe_failures(root, failed, len(failed))]))


def _read_header(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no packed frames here ({error.strerror}); {_PACK_AGAIN}") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); {_PACK_AGAIN}") from error
    header: dict[str, Any] = content if isinstance(content, dict) else {}
    fields = {"format": str, "frames": int, "bytes": int, "sha256": str}
    if any(type(header.get(key)) is not kind for key, kind in fields.items()) or header["format"] != _STORE_FORMAT:
        raise DataError(f"{path}: does not describe packed frames of this version; {_PACK_AGAIN}")
    if header["frames"] < 1 or header["bytes"] != header["frames"] * FRAME_BYTES:
        raise DataError(
            f"{path}: {format_count(header['frames'], 'frame')} can't take {header['bytes']:,} bytes; {_PACK_AGAIN}"
        )
    return header
