"""Image names to paths below the frames' folders; a name that could lead out is refused before a file is opened."""

import filecmp
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.errors import ConfigError, DataError, list_first, printable
from abawkit.frame_names import find_name_defect

_ABSENT: Final = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class FrameFolders:
    """The folders that frames are looked for in, one after the other: a name is the file of the first that has it.

    Attributes:
        folders: At least one, each once. They may be symbolic links themselves.
        follow_links: Whether symbolic links in them may lead out of them, as where videos lie on another disk. A name
            never may.
    """

    folders: tuple[Path, ...]
    follow_links: bool = False

    def __post_init__(self) -> None:
        if not self.folders:
            raise ConfigError("no folder of frames was given; give one with --frames")
        seen: dict[str, Path] = {}
        for folder in self.folders:
            resolved = os.path.realpath(folder)
            if resolved in seen:
                raise ConfigError(f"--frames {folder}: is the same folder as --frames {seen[resolved]}; give each once")
            seen[resolved] = folder

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))

    def resolve(self) -> "FrameFolders":
        """The same folders by their absolute paths, without links."""
        return FrameFolders(tuple(folder.resolve() for folder in self.folders), self.follow_links)

    def as_json(self) -> str | list[str]:
        """The path of one folder, or a list of several; for manifests."""
        return str(self.folders[0]) if len(self.folders) == 1 else [str(folder) for folder in self.folders]


FramesRoot = Path | FrameFolders
"""Where frames are: one folder, whose links may not lead out of it, or `FrameFolders`."""


def make_frame_folders(frames: FramesRoot) -> FrameFolders:
    """One folder as `FrameFolders`; `FrameFolders` unchanged."""
    return frames if isinstance(frames, FrameFolders) else FrameFolders((frames,))


def make_given_folders(folders: Sequence[Path] | None, follow_links: bool) -> FrameFolders | None:
    """The folders of the options ``--frames`` and ``--follow-links``; None where no folder was given."""
    return FrameFolders(tuple(folders), follow_links) if folders else None


class DifferingFrame(NamedTuple):
    """An image that two folders have with different bytes.

    Attributes:
        image: Its name.
        taken: The folder whose file is read.
        other: A folder that comes later.
    """

    image: str
    taken: Path
    other: Path


class FolderSearch(NamedTuple):
    """Which folders images come from.

    Attributes:
        counts: Images by the path of the folder that gives them; an image that none has is counted nowhere.
        differing: Images that are in two folders with different bytes.
    """

    counts: dict[str, int]
    differing: list[DifferingFrame]


def find_frame_paths(root: FramesRoot, images: Sequence[str]) -> list[str]:
    """Turns image names into paths, checking every one of them before any is opened.

    Each video's folder is resolved once and each file is looked at once (lstat), so 150,000 names take about a second.
    A file that does not exist is not an error here.

    Args:
        root: The folder that the names start from, or several.
        images: Names such as ``VIDEO/00001.jpg``.

    Returns:
        One path for each name, in their order, below the first resolved root that has it, or below the first one;
        `str`, as many are held at once.

    Raises:
        DataError: If `root` is no folder, a name has a defect (`abawkit.frame_names.find_name_defect`), or a symbolic
            link leads out of the root and is not followed. Up to 20 names are shown.
    """
    opened = _open_roots(root)
    paths: list[str] = []
    refused: dict[str, str] = {}
    for image in images:
        problem = find_name_defect(image)
        path = None if problem else _find_first(opened, image)
        if path is None:
            refused[image] = problem or _LINK
        else:
            paths.append(path)
    if refused:
        raise _make_refusal(make_frame_folders(root), refused)
    return paths


def search_folders(root: FramesRoot, images: Sequence[str]) -> FolderSearch:
    """Counts the images of each folder, and compares the files of images that several folders have.

    No file is read where no image is in two folders. `images` are names that `find_frame_paths` accepts; a repeated
    name counts once.
    """
    opened = _open_roots(root)
    counts = dict.fromkeys((str(each.root) for each in opened), 0)
    differing = []
    for image in dict.fromkeys(images):
        found = [(each, at.path) for each in opened if (at := each.find(image)) and at.present]
        if found:
            counts[str(found[0][0].root)] += 1
        for each, path in found[1:]:
            if not _same_bytes(found[0][1], path):
                differing.append(DifferingFrame(image, found[0][0].root, each.root))
                break
    return FolderSearch(counts, differing)


class _FoundPath(NamedTuple):
    """Where a name leads, and whether there is anything."""

    path: str
    present: bool


class _Root:
    """One folder of frames; the folders of its videos are resolved once."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise DataError(
                f"{printable(str(root))}: {found}; give the folder that holds the videos' folders of frames"
            )
        self.root, self._base, self._follow = root, os.path.realpath(root), follow_links
        self._folders: dict[str, str | None] = {}

    def find(self, image: str) -> _FoundPath | None:
        """Where a name leads; None where a link leads out of the folder."""
        folder, _, name = image.rpartition("/")
        if folder not in self._folders:
            resolved = os.path.realpath(f"{self._base}/{folder}")
            self._folders[folder] = resolved if self._allows(resolved) else None
        parent = self._folders[folder]
        if parent is None:
            return None
        path = f"{parent}/{name}"
        try:
            if not stat.S_ISLNK(os.lstat(path).st_mode):
                return _FoundPath(path, present=True)
            if not self._allows(os.path.realpath(path)):
                return None
            os.stat(path)  # noqa: PTH116 - a Path for each of 150,000 names takes longer
        except _ABSENT:
            return _FoundPath(path, present=False)
        except OSError:
            pass  # in a folder that can't be searched, or a link to itself: opening it will say so
        return _FoundPath(path, present=True)

    def _allows(self, path: str) -> bool:
        return self._follow or path == self._base or path.startswith(self._base.rstrip("/") + "/")


_LINK: Final = "got a symbolic link that leaves the frames' folder"


def _open_roots(root: FramesRoot) -> list[_Root]:
    folders = make_frame_folders(root)
    return [_Root(folder, folders.follow_links) for folder in folders.folders]


def _find_first(opened: Sequence[_Root], image: str) -> str | None:
    """The path in the first folder that has an image, else in the very first; None for a link that leaves."""
    missing: str | None = None
    for each in opened:
        found = each.find(image)
        if found is None:
            return None
        if found.present:
            return found.path
        missing = missing or found.path
    return missing


def _same_bytes(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other) or filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False  # one of them can't be read


def _make_refusal(root: FrameFolders, refused: dict[str, str]) -> DataError:
    shown = list_first([f"{printable(repr(image))}: {problem}" for image, problem in refused.items()], noun="name")
    advice = f"expected names below {printable(str(root))} such as VIDEO/00001.jpg; correct the list, or the links"
    if _LINK in refused.values():
        advice += "; --follow-links follows links to other disks"
    return DataError("\n".join([*shown, f"No frame was read: {advice}"]))
