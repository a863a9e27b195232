"""Names of frames, ``VIDEO/00001.jpg``: what they may be, before any file is opened by them."""

import re

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

PERSON_SUFFIXES = ("_left", "_right")
"""How names of videos end where a clip shows two persons, each of whom is a video of its own."""

FRAME_NUMBER = r"(?:^|[^0-9])(?P<number>[0-9]{1,18})\.[0-9A-Za-z_]+"
"""The number of a frame: the 1 to 18 digits before the ending of its name, as a regular expression that both Python and
RE2 understand, to be matched at the end of a name. More digits would not fit into 64 bits."""

_DRIVE = re.compile(r"[A-Za-z]:")
_NUMBER = re.compile(FRAME_NUMBER + r"\Z")


def find_name_defect(name: str) -> str | None:
    """Says what is wrong with the name of a frame.

    Names may hold any character that a file name may: they are escaped where they are printed. They may not lead out
    of the frames' folder, nor name one file in two ways.

    Args:
        name: The name as the file has it.

    Returns:
        One line without the name, or None for a good name.
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
    """The number of a frame within its video: 123 of ``VIDEO/00123.jpg``.

    Args:
        name: The name as the file has it.

    Returns:
        The number, or None for a name without one.
    """
    found = _NUMBER.search(name)
    return int(found["number"]) if found else None


def find_clip(video: str) -> str:
    """The clip of a video: ``video5`` of ``video5_left``, ``video5_right`` and ``video5``, which show its persons.

    Args:
        video: Name of the video.
    """
    for side in PERSON_SUFFIXES:
        if video.endswith(side):
            return video.removesuffix(side)
    return video
