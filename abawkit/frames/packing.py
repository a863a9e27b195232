"""Packs the frames of a list, each read and decoded once: into one file of pixels, or into shards of image files."""

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from abawkit.choices import PackedForm
from abawkit.errors import DataError, printable
from abawkit.frames.crops import FrameSummary
from abawkit.frames.decode import FRAME_BYTES, Conversion
from abawkit.frames.hints import describe_failures
from abawkit.frames.packed import (
    HEADER_FILE,
    INDEX_FILE,
    INDEX_ROW,
    PACKED_FORMATS,
    PIXELS_FILE,
    PackedFile,
    name_shard,
)
from abawkit.frames.paths import FramesRoot, find_frame_paths
from abawkit.frames.reader import Chunk, FrameFailure, read_frames
from abawkit.system.files import replacing_folder, write_json

SHARD_BYTES: Final = 2**30
"""Most bytes of a shard: few files, each of which is copied in seconds."""

_SAMPLED_FILES: Final = 1000
"""Files by whose sizes the space for encoded frames is estimated."""


@dataclass(frozen=True, slots=True, eq=False)
class PackReport:
    """The result of packing a list.

    Attributes:
        frame_of_row: For each row of the list the index of its frame in the store, or -1 where the image is missing
            or unreadable; (rows,) int64. Rows that repeat an image share its frame.
        frames: Frames in the store.
        failures: The images that are missing or unreadable, each once, at the first row that lists it.
        conversions: How many frames were converted in which way.
        digest: SHA-256 of the pixels; the same in both forms.
        counts: Sizes and conversions, for manifests.
        form: How they are stored.
        bytes: What they take on the disk.
    """

    frame_of_row: NDArray[np.int64]
    frames: int
    failures: tuple[FrameFailure, ...]
    conversions: Mapping[Conversion, int]
    digest: str
    counts: FrameSummary
    form: PackedForm
    bytes: int


def pack_frames(
    images: Sequence[str],
    root: FramesRoot,
    folder: Path,
    *,
    form: PackedForm = "raw",
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    accept: Callable[[PackReport], None] | None = None,
) -> PackReport:
    """Reads and decodes every image of a list once, and writes a folder that `PackedFrames` opens.

    Frames lie in the order in which the list first names them. The content does not depend on `workers`. A store that
    was in the folder stays whole until the new one is complete.

    Args:
        images: Image names; repeated names are stored once.
        root: The folder that the names start from, or several.
        folder: The folder to write; what is in it is replaced.
        form: ``raw`` pixels, or the images ``encoded`` as their files are.
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
    with closing(read_frames(unique, root, workers=workers, keep_contents=form == "encoded")) as chunks:
        counts = FrameSummary.begin(root, unique)
        with replacing_folder(folder, force=True) as new:
            _check_space(folder, shutil.disk_usage(new).free, unique, root, form)
            with closing(_RawWriter(new) if form == "raw" else _EncodedWriter(new)) as writer:
                packed = _write_chunks(chunks, counts, writer, progress)
                if not packed.frames:
                    raise _make_unread_error(root, packed.failures)
                if accept:
                    accept(packed)
                counts.finish()
                described = writer.finish()
            content = {"format": PACKED_FORMATS[form], "frames": packed.frames, "sha256": packed.digest, **described}
            write_json(new / HEADER_FILE, content)
    position = {image: k for k, image in enumerate(unique)}
    positions = np.fromiter((position[image] for image in images), np.int64, len(images))
    first_row = np.unique(positions, return_index=True)[1]
    failures = tuple(replace(failure, row=int(first_row[failure.row])) for failure in packed.failures)
    return replace(packed, frame_of_row=packed.frame_of_row[positions], failures=failures)


def _write_chunks(
    chunks: Iterable[Chunk],
    counts: FrameSummary,
    writer: "_RawWriter | _EncodedWriter",
    progress: Callable[[int, int], None] | None,
) -> PackReport:
    frame_of_row = np.full(counts.total, -1, np.int64)
    failures: list[FrameFailure] = []
    frames = 0
    for chunk in chunks:
        frame_of_row[chunk.rows] = np.arange(frames, frames + len(chunk.rows))
        frames += len(chunk.rows)
        failures.extend(chunk.failures)
        counts.add(chunk)
        writer.add(chunk)
        if progress:
            progress(chunk.stop, counts.total)
    found = (tuple(failures), counts.conversions, writer.digest, counts)
    return PackReport(frame_of_row, frames, *found, writer.form, writer.bytes)


class _HashedFile:
    """A file that is written from its start to its end, with the digest of what was written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._name, self.bytes, self.digest = path.name, 0, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self.digest.update(content)
        self.bytes += len(content)

    def finish(self) -> PackedFile:
        """Waits until the content is on the disk, and closes the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return PackedFile(self._name, self.bytes, self.digest.hexdigest())

    def close(self) -> None:
        with suppress(OSError):  # of what is still to be written, after an earlier error
            self._file.close()


class _RawWriter:
    form: Final = "raw"

    def __init__(self, folder: Path) -> None:
        self._file = _HashedFile(folder / PIXELS_FILE)

    @property
    def bytes(self) -> int:
        return self._file.bytes

    @property
    def digest(self) -> str:
        return self._file.digest.hexdigest()

    def add(self, chunk: Chunk) -> None:
        self._file.write(chunk.pixels.reshape(-1).data)

    def finish(self) -> dict[str, Any]:
        """What the header says of the file, whose digest is that of the pixels."""
        return {"bytes": self._file.finish().bytes}

    def close(self) -> None:
        self._file.close()


class _EncodedWriter:
    form: Final = "encoded"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index, self._shard = _HashedFile(folder / INDEX_FILE), _HashedFile(folder / name_shard(0))
        self._shards: list[PackedFile] = []
        self._end, self._pixels = 0, hashlib.sha256()

    @property
    def bytes(self) -> int:
        return self._index.bytes + self._end

    @property
    def digest(self) -> str:
        return self._pixels.hexdigest()

    def add(self, chunk: Chunk) -> None:
        self._pixels.update(chunk.pixels.data)
        rows = np.empty(len(chunk.contents), INDEX_ROW)
        for k, (content, pixels) in enumerate(zip(chunk.contents, chunk.pixels, strict=True)):
            if self._shard.bytes and self._shard.bytes + len(content) > SHARD_BYTES:
                self._shards.append(self._shard.finish())
                self._shard = _HashedFile(self._folder / name_shard(len(self._shards)))
            self._shard.write(content)
            self._end += len(content)
            rows[k] = (self._end, zlib.crc32(pixels))
        self._index.write(rows.tobytes())

    def finish(self) -> dict[str, Any]:
        """What the header says of the files."""
        files = [self._index.finish(), *self._shards, self._shard.finish()]
        return {"files": [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in files]}

    def close(self) -> None:
        self._index.close()
        self._shard.close()


def _check_space(folder: Path, free: int, images: Sequence[str], root: FramesRoot, form: PackedForm) -> None:
    needed = len(images) * FRAME_BYTES if form == "raw" else _estimate_bytes(images, root)
    if free < needed:
        about = "" if form == "raw" else "about "
        raise DataError(
            f"{printable(str(folder))}: {free / 1e9:.1f} GB free, and {len(images):,} packed frames take "
            f"{about}{needed / 1e9:.1f} GB; free the disk or give a folder on another"
        )


def _estimate_bytes(images: Sequence[str], root: FramesRoot) -> int:
    """Bytes of all images as encoded frames, by the sizes of some files; 0 for one that is absent."""
    sample = images[:: max(1, len(images) // _SAMPLED_FILES)]
    total = 0
    for path in find_frame_paths(root, sample):
        with suppress(OSError):
            total += min(os.stat(path).st_size, FRAME_BYTES) + INDEX_ROW.itemsize  # noqa: PTH116 - as in paths.py
    return total * len(images) // max(1, len(sample))


def _make_unread_error(root: FramesRoot, failed: Sequence[FrameFailure]) -> DataError:
    first = f"; the first, {failed[0].image!r}: {failed[0].message}" if failed else ""
    text = f"{root}: none of the {len(failed):,} listed images could be read{first}; check the images' folder"
    return DataError("\n".join([printable(text), *describe_failures(root, failed, len(failed))]))
