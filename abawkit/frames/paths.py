"""Image names to paths below the root folder; a name that could lead out of it is refused before a file is opened."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from abawkit.errors import SHOWN_PROBLEMS, DataError, printable
from abawkit.names import image_defect


def frame_paths(root: Path, images: Sequence[str]) -> list[str]:
    """Turns image names into paths, checking every one of them before any is opened.

    Each folder is resolved once and each file is looked at once (lstat), so 150,000 names take about a second.
    A file that does not exist is not an error here.

    Args:
        root: The folder that the names start from. It may be a symbolic link itself.
        images: Names such as ``VIDEO/00001.jpg``.

    Returns:
        One path for each name, in their order, below the resolved root; `str`, as many are held at once.

    Raises:
        DataError: If `root` is no folder, a name has a defect (`abawkit.names.image_defect`), or a symbolic link
            leads out of the root. Up to 20 names are shown.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{printable(str(root))}: {found}; give the folder that holds the videos' folders of frames")
    base = os.path.realpath(root)
    folders: dict[str, str | None] = {}
    paths: list[str] = []
    refused: dict[str, str] = {}
    for image in images:
        problem = image_defect(image)
        path = None if problem else _inside(base, image, folders)
        if path is None:
            refused[image] = problem or "got a symbolic link that leaves the frames' folder"
        else:
            paths.append(path)
    if refused:
        raise _refusal(root, refused)
    return paths


def frame_path(root: Path, image: str) -> Path:
    """Turns one image name into its path; for many names, `frame_paths` is faster.

    Raises:
        DataError: As for `frame_paths`.
    """
    return Path(frame_paths(root, [image])[0])


def _inside(base: str, image: str, folders: dict[str, str | None]) -> str | None:
    folder, _, name = image.rpartition("/")
    if folder not in folders:
        resolved = os.path.realpath(f"{base}/{folder}")
        folders[folder] = resolved if _below(base, resolved) else None
    parent = folders[folder]
    if parent is None:
        return None
    path = f"{parent}/{name}"
    try:
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return path  # missing, or in a folder that can't be searched: opening it will say so
    return path if not is_link or _below(base, os.path.realpath(path)) else None


def _below(base: str, path: str) -> bool:
    return path == base or path.startswith(base.rstrip("/") + "/")


def _refusal(root: Path, refused: dict[str, str]) -> DataError:
    shown = [f"{printable(repr(image))}: {problem}" for image, problem in list(refused.items())[:SHOWN_PROBLEMS]]
    if len(refused) > len(shown):
        shown.append(f"... and {len(refused) - len(shown):,} more names")
    advice = f"expected names below {printable(str(root))} such as VIDEO/00001.jpg; correct the list, or the links"
    return DataError("\n".join([*shown, f"No frame was read: {advice}"]))
