"""Names of frames, ``VIDEO/00001.jpg``: how they are written, checked and read. Whole columns: `abawkit.frame_columns`.

The regular expressions are understood by both Python and RE2, which Arrow uses.
"""

import re
from typing import Final

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")

VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".m4v", ".avi")
"""Endings of video files whose frames can be counted."""

PERSON_SUFFIXES: Final = ("_left", "_right")
"""Endings of video names where a clip shows two persons, each of whom is a video of its own.

Source: https://arxiv.org/abs/2202.10659 counts them separately.
"""

FRAME_NUMBER: Final = r"(?:^|[^0-9])(?P<number>[0-9]{1,18})\.[0-9A-Za-z_]+"
"""The number of a frame: 1 to 18 digits before the ending, matched at the end of a name. More would not fit 64 bits."""

NUMBERED_NAME: Final = r"(?P<video>[^/]+)/0*(?P<number>[0-9]{1,9})\.[A-Za-z]+"
"""A whole name of just a video, which is in no other folder, and a frame number."""

PLAIN_NAME: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+\.jpg"
"""A whole name without anything unusual: `find_name_defect` finds nothing wrong with it."""

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_NUMBER: Final = re.compile(FRAME_NUMBER + r"\Z")
_DIGITS: Final = re.compile(r"([0-9]+)")


def find_name_defect(name: str) -> str | None:
    """What is wrong with the name of a frame, in one line without the name; None for a valid name.

    Names may have any character that a file name may: they are escaped where they are printed. They may not lead out
    of the frames' folder, nor name one file in two ways.
    """
    if not name:
        return "got no image name"
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return "got an absolute path, expected a path below the frames' folder"
    if "\\" in name:
        return "got a backslash, expected '/' between folder and file"
    parts = name.split("/")
    if ".." in parts:
        return "got a path with '..', expected one below the frames' folder"
    if "." in parts or "" in parts:
        return "got a path with an empty part or '.', expected VIDEO/00001.jpg"
    if name != name.strip():
        return "got blanks around the image name"
    if "\0" in name or "\n" in name:
        return "got a NUL byte or a newline in the image name"
    if len(parts) < 2:
        return "got no video folder, expected VIDEO/00001.jpg"
    if not name.lower().endswith(IMAGE_SUFFIXES):
        return f"got a name that ends in none of {', '.join(IMAGE_SUFFIXES)}"
    return None


def parse_frame_number(name: str) -> int | None:
    """The number of a frame within its video: 123 of ``VIDEO/00123.jpg``; None for a name without one."""
    found = _NUMBER.search(name)
    return int(found["number"]) if found else None


def format_frame_name(video: str, number: int) -> str:
    """``VIDEO/00001.jpg``."""
    return f"{video}/{number:05}.jpg"


def find_video(name: str) -> str:
    """The video of a frame: all before the last slash."""
    return name.rpartition("/")[0]


def find_clip(video: str) -> str:
    """The clip of a video: ``video5`` of ``video5_left``, ``video5_right`` and ``video5``."""
    side = next((side for side in PERSON_SUFFIXES if video.endswith(side)), "")
    return video.removesuffix(side)


def make_natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A key that sorts names as people count: ``v2/9.jpg`` before ``v2/10.jpg``, and ``v2/...`` before ``v10/...``."""
    parts = []
    for part in name.split("/"):
        pieces = [piece for piece in _DIGITS.split(part) if piece]
        parts += [(0, int(piece), "") if piece[0] in "0123456789" else (1, 0, piece) for piece in pieces]
        parts.append((-1, 0, ""))  # a folder's name ends before that of one which goes on
    return tuple(parts), name
