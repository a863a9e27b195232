"""Names of frames, ``VIDEO/00001.jpg``: what they may be, before any file is opened by them."""

import re

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_DRIVE = re.compile(r"[A-Za-z]:")


def image_defect(name: str) -> str | None:
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
