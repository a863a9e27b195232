"""How many frames a video file has, by its container's own count: nothing is decoded."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from abawkit.errors import DataError

SUFFIXES: Final = (".mp4", ".mov", ".m4v", ".avi")
"""Endings of files whose frames can be counted."""

_MAX_HEADER: Final = 1 << 28
"""Bytes of a container's index: an hour of video needs less than one hundredth."""


def count_frames(path: Path) -> int:
    """Counts the frames of a video in an MP4 or an AVI container.

    Source: ISO/IEC 14496-12, boxes ``stsz`` and ``stz2``; Microsoft's AVI RIFF File Reference, ``strh``; the OpenDML
    AVI extensions, ``dmlh``.

    Args:
        path: The file. Edit lists that cut some of its frames are not looked at.

    Raises:
        DataError: If it is neither, is damaged, or holds no video.
    """
    try:
        with path.open("rb") as file:
            start = file.read(12)
            file.seek(0)
            count = _count_avi(file) if start[:4] == b"RIFF" and start[8:] == b"AVI " else _count_mp4(file)
    except (OSError, struct.error, ValueError) as error:
        raise DataError(f"{path}: its frames can't be counted ({error}); give a file of VIDEO,FRAMES lines") from error
    if not count:
        raise DataError(f"{path}: holds no video, or does not say how many frames; give a file of VIDEO,FRAMES lines")
    return count


def _count_mp4(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1:
            (length,), header = struct.unpack(">Q", file.read(8)), 16
        length = length or size - at
        if length < header or at + length > size:
            break
        if kind == b"moov":
            if length > _MAX_HEADER:
                raise ValueError(f"its index has {length:,} bytes")
            tracks = [box for kind, box in _boxes(file.read(length - header)) if kind == b"trak"]
            return max(map(_count_track, tracks), default=0)
        at += length
    raise ValueError("neither an MP4 nor an AVI, or cut short")


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box."""
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if not 8 <= (length or len(content) - at) <= len(content) - at:
            raise ValueError("damaged")
        yield kind, content[at + 8 : at + (length or len(content) - at)]
        at += length or len(content)


def _count_track(track: bytes) -> int:
    """Samples of a track; 0 for one of sound or of anything else."""
    media = dict(_boxes(dict(_boxes(track)).get(b"mdia", b"")))
    if media.get(b"hdlr", b"")[8:12] != b"vide":
        return 0
    table = dict(_boxes(dict(_boxes(media.get(b"minf", b""))).get(b"stbl", b"")))
    for kind in (b"stsz", b"stz2"):
        if kind in table:
            count: int = struct.unpack_from(">I", table[kind], 8)[0]
            return count
    return 0


def _count_avi(file: BinaryIO) -> int:
    file.seek(12)
    kind, length = struct.unpack("<4sI", file.read(8))
    if kind != b"LIST" or file.read(4) != b"hdrl" or length > _MAX_HEADER:
        raise ValueError("an AVI without a header")
    streams = total = 0
    for name, chunk in _chunks(file.read(length - 4)):
        if name == b"strl":
            stream = dict(_chunks(chunk)).get(b"strh", b"")
            if stream[:4] == b"vids":
                streams = max(streams, struct.unpack_from("<I", stream, 32)[0])
        elif name == b"odml":
            (total,) = struct.unpack_from("<I", dict(_chunks(chunk)).get(b"dmlh", bytes(4)))
    return max(streams, total)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk; of a list, the name that it has."""
    at = 0
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        chunk = content[at + 8 : at + 8 + length]
        if len(chunk) < length:
            raise ValueError("damaged")
        yield (chunk[:4], chunk[4:]) if name == b"LIST" else (name, chunk)
        at += 8 + length + length % 2
