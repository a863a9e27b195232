"""How many frames each video has: from a file of counts, from the headers of video files, or from a folder of crops."""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa

from abawkit.errors import ConfigError, DataError, Problem, ProblemsError, printable
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.frame_lines import MAX_FRAMES
from abawkit.formats.rows import shorten
from abawkit.formats.text import read_text
from abawkit.frame_names import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_clip, parse_frame_number
from abawkit.tables import FrameCount, FrameList, VideoList

_MAX_HEADER: Final = 1 << 28
"""Bytes of a container's index; that of an hour of video is less than one hundredth of it."""


def count_frames(path: Path) -> int:
    """Counts the frames of a video in an MP4 or an AVI container.

    Source: ISO/IEC 14496-12, boxes ``stsz`` and ``stz2``; Microsoft's AVI RIFF File Reference, ``strh``; the OpenDML
    AVI extensions, ``dmlh``.

    Args:
        path: The file. Edit lists, which can cut frames, are ignored.

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
            tracks = [box for kind, box in _iterate_mp4_boxes(file.read(length - header)) if kind == b"trak"]
            return max(map(_count_track, tracks), default=0)
        at += length
    raise ValueError("neither an MP4 nor an AVI, or cut short")


def _iterate_mp4_boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
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
    media = dict(_iterate_mp4_boxes(dict(_iterate_mp4_boxes(track)).get(b"mdia", b"")))
    if media.get(b"hdlr", b"")[8:12] != b"vide":
        return 0
    table = dict(_iterate_mp4_boxes(dict(_iterate_mp4_boxes(media.get(b"minf", b""))).get(b"stbl", b"")))
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
    for name, chunk in _iterate_avi_chunks(file.read(length - 4)):
        if name == b"strl":
            stream = dict(_iterate_avi_chunks(chunk)).get(b"strh", b"")
            if stream[:4] == b"vids":
                streams = max(streams, struct.unpack_from("<I", stream, 32)[0])
        elif name == b"odml":
            (total,) = struct.unpack_from("<I", dict(_iterate_avi_chunks(chunk)).get(b"dmlh", bytes(4)))
    return max(streams, total)


def _iterate_avi_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk; of a list, the name that it has."""
    at = 0
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        chunk = content[at + 8 : at + 8 + length]
        if len(chunk) < length:
            raise ValueError("damaged")
        yield (chunk[:4], chunk[4:]) if name == b"LIST" else (name, chunk)
        at += 8 + length + length % 2


_EXPECTED_COUNTS: Final = "a file of VIDEO,FRAMES lines, or a folder of videos or of their crops"

_COUNT_LINE: Final = re.compile(r"(?P<video>[^,;\t]*?[^\s,;])[\s,;]+(?P<count>[0-9]{1,9})")
_HEADER_LINE: Final = re.compile(r"(?P<video>[^,;\t]+)[,;\t](?P<count>[^,;\t]+)|(?P<word>\S+)\s+(?P<number>\S+)")
_COUNT_NAME: Final = re.compile(r"frame|count|length|number|total", re.IGNORECASE)
"""Found in the name of a column of counts."""


def read_frame_counts(path: Path) -> dict[str, FrameCount]:
    """Reads how many frames videos have.

    Args:
        path: A file with a line for each video, its name and its number of frames, with or without a header; or a
            folder of video files, which are counted by their containers; or a folder of crops with a folder for each
            video, whose count is a lower bound where frames are missing, as the last ones may be missing too.

    Returns:
        By the name of the video, without the ending of a file's.

    Raises:
        DataError: If it is none of these.
        ProblemsError: If a line is invalid, or repeats a video with another count.
    """
    return _count_folder(path) if path.is_dir() else _read_count_file(path)


def apply_frame_counts(plugin: SubmissionFormat, path: Path | None) -> SubmissionFormat:
    """A format that checks the number of lines of each video's file by what `read_frame_counts` reads at `path`.

    Raises:
        ConfigError: If a submission of this format has no file for each video.
    """
    if path is None:
        return plugin
    method = getattr(plugin, "with_frame_counts", None)
    if method is None:
        raise ConfigError(f"--frame-counts: {plugin.name} has no file for each video; leave it out")
    counted: SubmissionFormat = method(read_frame_counts(path))
    return counted


def refuse_other_counts(plugin: SubmissionFormat, images: Sequence[str]) -> None:
    """Refuses frame counts of a format that do not fit the frames to answer, before any network runs.

    Raises:
        DataError: If a listed video has no count, or is listed beyond its last frame.
    """
    find = getattr(plugin, "count_problems", None)
    frames = FrameList(images=pa.array(images, pa.string()), lines=np.arange(len(images), dtype=np.int64) + 1)
    if find is not None and (problems := find(frames)):
        first = f"{problems[0].file.removesuffix('.txt')}: {problems[0].message}"
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        raise DataError(f"--frame-counts: {printable(first)}{more}; give the counts of the listed videos")


def find_frame_count(counts: Mapping[str, FrameCount], video: str) -> FrameCount | None:
    """The count of a video; for one of two persons of a clip, that of the clip."""
    return counts.get(video) or counts.get(find_clip(video))


def list_crops(videos: VideoList, roots: Sequence[Path]) -> FrameList:
    """The frames of listed videos that have a crop, in the order of the list and of their numbers.

    Args:
        videos: The list.
        roots: Folders in which a video's folder of crops is looked for. Where several have one, each adds its crops; of
            two of one frame, that of the first folder is taken.

    Raises:
        DataError: If a video has no crop.
    """
    images: list[str] = []
    lines: list[int] = []
    for video, line in zip(videos.videos.to_pylist(), videos.lines.tolist(), strict=True):
        numbers: dict[int, str] = {}
        for root in roots:
            if (root / video).is_dir():
                numbers = _list_numbered_crops(root / video) | numbers
        if not numbers:
            places = " or ".join(str(root / video) for root in roots)
            raise DataError(
                f"line {line:,} of the list: {printable(places)} holds no crop of this video; give --frames"
            )
        images += [f"{video}/{numbers[number]}" for number in sorted(numbers)]
        lines += [line] * len(numbers)
    return FrameList(images=pa.array(images, pa.string()), lines=np.array(lines, dtype=np.int64))


def _read_count_file(path: Path) -> dict[str, FrameCount]:
    lines = read_text(path, _EXPECTED_COUNTS).decode().split("\n")[:-1]
    counts: dict[str, FrameCount] = {}
    problems: list[Problem] = []
    for line, text in enumerate(lines, start=1):
        found = _COUNT_LINE.fullmatch(text.rstrip(",; \t").replace('"', ""))
        if not found:
            if line == 1 and not text.rstrip()[-1:].isdigit():
                if defect := _find_header_defect(text):
                    raise ProblemsError(path, [Problem(1, "", defect)], f"expected {_EXPECTED_COUNTS}")
            else:
                problems.append(Problem(line, "", f"got '{shorten(text)}', expected a video and its number of frames"))
            continue
        video, count = _strip_suffix(found["video"].strip()), FrameCount(int(found["count"]))
        if not 1 <= count.frames <= MAX_FRAMES:
            problems.append(Problem(line, "frames", f"got {count.frames:,}, expected 1..{MAX_FRAMES:,}"))
        elif counts.setdefault(video, count) != count:
            got = f"got {count.frames:,} frames of '{shorten(video)}', a line before has {counts[video].frames:,}"
            problems.append(Problem(line, "frames", got))
    if problems:
        raise ProblemsError(path, problems, f"expected {_EXPECTED_COUNTS}")
    if not counts:
        raise DataError(f"{path}: names no video; expected {_EXPECTED_COUNTS}")
    return counts


def _find_header_defect(header: str) -> str:
    """Why a header is not that of videos and their numbers of frames; the columns are not guessed."""
    found = _HEADER_LINE.fullmatch(header.strip(",; \t"))
    video, count = (found["video"] or found["word"], found["count"] or found["number"]) if found else ("", "")
    if video and _COUNT_NAME.search(count) and not _COUNT_NAME.search(video):
        return ""
    return f"got the header '{shorten(header)}', expected one as 'video,frames': the video, then its number of frames"


def _count_folder(path: Path) -> dict[str, FrameCount]:
    counts: dict[str, FrameCount] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            numbers = sorted(_list_numbered_crops(entry))
            found = FrameCount(numbers[-1], exact=numbers == list(range(1, len(numbers) + 1))) if numbers else None
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            found = FrameCount(count_frames(entry))
        else:
            continue
        video = entry.name if entry.is_dir() else entry.stem
        if found and video in counts:
            raise DataError(
                f"{path}: holds {printable(video)} twice, so its frames can't be counted; expected {_EXPECTED_COUNTS}"
            )
        if found:
            counts[video] = found
    if not counts:
        raise DataError(
            f"{path}: holds no video ({', '.join(VIDEO_SUFFIXES)}) and no folder of crops; expected {_EXPECTED_COUNTS}"
        )
    return counts


def _list_numbered_crops(folder: Path) -> dict[int, str]:
    """The images of a folder by the number of their frame; of two with one number, the first by name."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(IMAGE_SUFFIXES))
    found: dict[int, str] = {}
    for name in names:
        number = parse_frame_number(name)
        if number:
            found.setdefault(number, name)
    return found


def _strip_suffix(name: str) -> str:
    """The name of a video without the ending of its file."""
    ending = next((end for end in (*VIDEO_SUFFIXES, ".txt") if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]
