"""The images of a folder in natural order, for crops without a list."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from abawkit.errors import DataError, list_first, printable
from abawkit.frame_names import IMAGE_SUFFIXES, find_name_defect, make_natural_key
from abawkit.frames.paths import FrameFolders, FramesRoot, make_frame_folders


@dataclass(frozen=True)
class ImageListing:
    """The images of folders.

    Attributes:
        root: Where the names start from: the folders that were given, or those above folders of single videos.
        images: Image names, each once, in natural order: videos by name, frames by number.
        others: How many files are not images; hidden ones do not count.
    """

    root: FrameFolders
    images: list[str]
    others: int


@dataclass
class _FoundImages:
    """Names of images, those that can't be used with the reason, and a count of other files."""

    images: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    others: int = 0


def list_images(root: FramesRoot) -> ImageListing:
    """Lists the images of folders, of all folders in them too.

    Images are recognised by their endings. Hidden files and folders, which begin with a dot, are skipped. A folder
    with images and no folders is that of one video; if all are, the names of images begin with theirs.

    Raises:
        DataError: If a folder is absent or can't be read, there is no image, a name can't be one of a submission (no
            UTF-8, a newline), a link leads out of the folder and is not followed, or images lie beside folders of
            videos. Up to 20 names are shown.
    """
    folders = make_frame_folders(root)
    for folder in folders.folders:
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "no such folder"
            raise DataError(printable(f"{folder}: {found}; give the folder of the crops with --frames"))
    if all(_is_video(folder) for folder in folders.folders):
        videos = [Path(os.path.realpath(folder)) for folder in folders.folders]
        starts = [(video.parent, video.name) for video in videos]
        folders = FrameFolders(tuple(dict.fromkeys(video.parent for video in videos)), folders.follow_links)
    else:
        starts = [(folder, "") for folder in folders.folders]
    listed = _FoundImages()
    for folder, video in starts:
        _walk_folder(folder, video, folders.follow_links, listed)
    if listed.refused:
        shown = list_first([f"{name!r}: {reason}" for name, reason in listed.refused.items()], noun="name")
        advice = f"{root}: without --list, every image is a row; rename or move these files, or give --list"
        raise DataError("\n".join(printable(line) for line in [*shown, advice]))
    if not listed.images:
        raise DataError(
            printable(f"{root}: holds no image ({', '.join(IMAGE_SUFFIXES)}); give the folder of the crops")
        )
    return ImageListing(folders, sorted(listed.images, key=make_natural_key), listed.others)


def _is_video(folder: Path) -> bool:
    """Whether a folder holds images and no folders."""
    with os.scandir(folder) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".")]
    return not any(e.is_dir() for e in seen) and any(e.name.lower().endswith(IMAGE_SUFFIXES) for e in seen)


def _walk_folder(root: Path, start: str, follow_links: bool, listed: _FoundImages) -> None:
    """Adds the images of a folder and of those in it."""
    base = os.path.realpath(root)
    pending, visited = [start], {os.path.realpath(root / start)}
    while pending:
        folder = pending.pop()
        for name, entry in _scan_entries(root / folder):
            path = f"{folder}/{name}" if folder else name
            resolved = os.path.realpath(entry.path)
            image = name.lower().endswith(IMAGE_SUFFIXES)
            below = resolved == base or resolved.startswith(base.rstrip("/") + "/")
            if entry.is_symlink() and not (follow_links or below):
                if image or entry.is_dir():
                    listed.refused[path] = "a symbolic link that leaves the folder; --follow-links follows it"
            elif entry.is_dir():
                if resolved not in visited:  # a link to a folder above it would lead round for ever
                    visited.add(resolved)
                    pending.append(path)
            elif not image:
                listed.others += 1
            elif defect := _find_path_defect(path):
                listed.refused[path] = defect
            else:
                listed.images.add(path)


def _scan_entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield from ((entry.name, entry) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(printable(f"{folder}: can't be read ({error.strerror}); give a folder that can be")) from error


def _find_path_defect(path: str) -> str | None:
    if path != path.encode(errors="replace").decode():
        return "is not UTF-8"
    if "," in path or "\r" in path:
        return "got a comma or a line end, which no row of a submission can hold"
    if "/" not in path:
        return "an image beside folders of videos; put it into one"
    return find_name_defect(path)
