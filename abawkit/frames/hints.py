"""Hints for frames that were not found: a folder deeper or higher, another name, or how to convert them."""

import os
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from abawkit.errors import format_count, list_first, printable
from abawkit.frame_names import find_video, parse_frame_number
from abawkit.frames.decode import UNUSUAL_SAMPLING
from abawkit.frames.paths import FramesRoot, make_frame_folders
from abawkit.frames.reader import FrameFailure

_MAX_FOLDERS: Final = 5000
"""Most folders that are searched for a video: a second on a slow disk."""

_SEARCH_DEPTH: Final = 2
"""Levels below a folder, and below its parent, that are searched."""

_ARCHIVE_SUFFIXES: Final = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".rar", ".7z")

_SAMPLED_VIDEOS: Final = 50
"""Videos of which one missing image is searched for in each folder, before all images are."""

_SHOWN_FOLDERS: Final = 5
_ADD_ADVICE: Final = "add it with another --frames"

_SHOWN_EXAMPLES: Final = 3

_CONVERT_ADVICE: Final = (
    "to convert them without loss, with the names as they are: "
    """python3 -c "import sys; from PIL import Image; """
    """[Image.open(f).convert('RGB').save(f, 'PNG') for f in sys.argv[1:]]" FILES"""
)


def describe_failures(root: FramesRoot, failures: Sequence[FrameFailure], total: int | None = None) -> list[str]:
    """Where missing or unreadable frames are, or how to convert them: lines for the end of a message, safe to print.

    Searches the folders of frames, and those in and beside them; opens no image.

    Args:
        root: The folders of frames.
        failures: The frames that could not be read.
        total: Images of the whole list, if all of them were tried.
    """
    lines: list[str] = []
    missing = list(dict.fromkeys(failure.image for failure in failures if failure.reason == "missing"))
    if missing:
        folders = make_frame_folders(root).folders
        gone = all(failure.reason == "missing" for failure in failures) and len(failures) == total
        none = f"none of {len(failures):,} frames found in {root}" if gone else ""
        if elsewhere := _search_nearby_folders(folders, missing):
            start, advice = f"{none}; " if none else "", "give this folder with --frames" if none else _ADD_ADVICE
            for folder, count in elsewhere:
                has = "has them" if count == len(missing) else f"has {count:,} of {len(missing):,}"
                lines.append(f"{start}{folder} {has}: {advice}")
                start, advice = "", _ADD_ADVICE
        else:
            lines += [none] if none else []
            lines += (
                _describe_prefix(folders, missing)
                or _describe_other_names(folders, missing)
                or _describe_unpacked(folders, missing)
            )
    if sampled := sum(UNUSUAL_SAMPLING in failure.message for failure in failures):
        lines.append(f"{sampled:,} of them are {UNUSUAL_SAMPLING}; {_CONVERT_ADVICE}")
    return [printable(line) for line in lines]


def _search_nearby_folders(folders: Sequence[Path], missing: Sequence[str]) -> list[tuple[Path, int]]:
    """Nearby folders that have missing images, and how many; each has some that none before it has."""
    seen = {os.path.realpath(folder) for folder in folders}
    videos = list({find_video(image): image for image in reversed(missing)}.values())
    sample = videos[:: -(-len(videos) // _SAMPLED_VIDEOS)]
    candidates: list[Path] = []
    for folder in folders:
        above = Path(os.path.realpath(folder)).parent if folder.is_symlink() else Path(os.path.normpath(folder / ".."))
        for other in (*_iterate_folders(folder), *_iterate_folders(above)):
            if (resolved := os.path.realpath(other)) not in seen:
                seen.add(resolved)
                candidates += [other] if any(_has_image(other, image) for image in sample) else []
    found: list[tuple[Path, int]] = []
    rest = list(missing)
    while rest and len(found) < _SHOWN_FOLDERS:
        held = {other: [image for image in rest if _has_image(other, image)] for other in candidates}
        best = max(held, key=lambda other: len(held[other]), default=None)
        if best is None or not held[best]:
            break
        found.append((best, len(held[best])))
        rest = list(set(rest).difference(held[best]))
    return found


def _has_image(folder: Path, image: str) -> bool:
    return os.path.exists(f"{folder}/{image}")  # noqa: PTH110 - a Path for each of 150,000 names takes longer


def _iterate_folders(start: Path) -> Iterator[Path]:
    """A folder and those below it, nearest first; links are not followed."""
    queue, seen = deque([(start, 0)]), 0
    while queue and seen < _MAX_FOLDERS:
        folder, depth = queue.popleft()
        seen += 1
        yield folder
        if depth == _SEARCH_DEPTH:
            continue
        with suppress(OSError), os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            queue.extend((folder / name, depth + 1) for name in names)


def _describe_other_names(folders: Sequence[Path], missing: Sequence[str]) -> list[str]:
    """Files and folders whose names are almost those of the list."""
    listings: dict[Path, dict[str, str]] = {}
    kinds: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for image in missing:
        if renamed := next(filter(None, (_find_other_name(folder, image, listings) for folder in folders)), None):
            kind, text = renamed
            kinds[kind] += 1
            shown = examples.setdefault(kind, [])
            if len(shown) < _SHOWN_EXAMPLES and text not in shown:
                shown.append(text)
    lines = []
    for kind, count in kinds.most_common():
        lines.append(f"{count:,} of {len(missing):,} {kind}: {'; '.join(examples[kind])}")
    if any(kind.startswith("are there") for kind in kinds):
        lines.append(
            f"rename the files, or correct the list; {_RENAME_ADVICE}" if _OTHER_SUFFIX in kinds else _CORRECT_ADVICE
        )
    elif kinds:
        lines.append(_CORRECT_ADVICE)
    return lines


_OTHER_SUFFIX: Final = "are there with an ending in other letters"
_CORRECT_ADVICE: Final = "rename what is in the folder, or correct the list"
_RENAME_ADVICE: Final = (
    "of .JPG: find FRAMES -name '*.JPG' -exec sh -c 'for f; do mv \"$f\" \"${f%.JPG}.jpg\"; done' _ {} +"
)


def _describe_prefix(folders: Sequence[Path], missing: Sequence[str]) -> list[str]:
    """The first folder of the list's names, if the folders of frames have these names without it."""
    prefix = missing[0].partition("/")[0]
    rest = [image.removeprefix(f"{prefix}/") for image in missing]
    if not all("/" in name and name != image for name, image in zip(rest, missing, strict=True)):
        return []
    for folder in folders:
        if count := sum(_has_image(folder, name) for name in rest):
            return [
                f"{folder} has {count:,} of {len(missing):,} without the '{prefix}/' that the list's names begin with, "
                f"such as {rest[0]}: give a folder in which {prefix} is one, or a list without it"
            ]
    return []


def _describe_unpacked(folders: Sequence[Path], missing: Sequence[str]) -> list[str]:
    """Empty folders, and archives that were not unpacked, where the missing videos should be."""
    lines = []
    videos = {find_video(image) for image in missing}
    for folder in folders:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names alone
        if not names:
            lines.append(f"{folder} is empty")
        archives = [name for name in names if name.lower().endswith(_ARCHIVE_SUFFIXES)]
        if archives:
            shown = ", ".join(list_first(archives, _SHOWN_EXAMPLES))
            lines.append(f"{folder} holds {format_count(len(archives), 'archive')} ({shown}): unpack them there")
        empty = [video for video in sorted(videos) if (folder / video).is_dir() and not any((folder / video).iterdir())]
        if empty:
            lines.append(f"{folder}: {len(empty):,} of {len(videos):,} videos' folders are empty, such as {empty[0]}")
    return lines


def _find_other_name(folder: Path, image: str, listings: dict[Path, dict[str, str]]) -> tuple[str, str] | None:
    """How the name of an image in a folder differs from that in the list, and an example; None if it has neither."""
    video, _, name = image.rpartition("/")
    if not (folder / video).is_dir():
        other = _index_folder(folder, listings).get(_fold_name(video))
        return ("are of videos with another name", f"{folder} has {other}, the list has {video}") if other else None
    names = _index_folder(folder / video, listings)
    if (other := names.get(_fold_name(name))) and other != name:
        same = other.rpartition(".")[0] == name.rpartition(".")[0]
        return _OTHER_SUFFIX if same else "are there in other letters", f"{video} has {other}, the list has {name}"
    if (other := names.get(_make_number_key(name))) and other != name:
        return "are there under another name", f"{video} has {other}, the list has {name}"
    return None


def _index_folder(folder: Path, listings: dict[Path, dict[str, str]]) -> dict[str, str]:
    """The entries of a folder, by the keys of `_fold_name` and `_make_number_key`."""
    if folder not in listings:
        names: dict[str, str] = {}
        with suppress(OSError):
            for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names alone
                names.setdefault(_fold_name(name), name)
                names.setdefault(_make_number_key(name), name)
        listings[folder] = names
    return listings[folder]


def _fold_name(name: str) -> str:
    """A name without differences between systems: in capitals and in decomposed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _make_number_key(name: str) -> str:
    """The number of a frame, as a key that can't be a file name."""
    number = parse_frame_number(name)
    return f"/{number}" if number is not None else f"//{name}"
