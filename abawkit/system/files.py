"""Writing files and folders whole or not at all, refusing to overwrite, digests, and how many processors there are."""

import codecs
import glob
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from abawkit.errors import ConfigError, DataError

OWN: Final = ".abawkit"
"""What begins the names of what a running command keeps in, or beside, the folder that it writes."""

PART: Final = ".part-"
"""What follows in the name of a folder that is not ready yet."""

_LONG: Final = 120
"""Most bytes of a name that are taken over into another."""

_ELSEWHERE: Final = "give another path, or remove it yourself"


class Kind(NamedTuple):
    """What an output is, so that ``--force`` replaces nothing else.

    Attributes:
        name: With its article, as ``a curated set``.
        difference: Says of a path that is there why it is no such thing; the empty string where it is one.
    """

    name: str
    difference: Callable[[Path], str]


def refuse_output(path: Path, *, force: bool, inputs: Sequence[Path] = (), kind: Kind | None = None) -> None:
    """Refuses an output that can't be written, or that would replace something, before any work is spent on it.

    Args:
        path: The file to write.
        force: Whether a file that is there may be replaced.
        inputs: Files and folders that are read; none of them is ever replaced, nor is anything in these folders.
        kind: What may be replaced; None for any file. An empty file is of any kind.

    Raises:
        ConfigError: If `path` exists and `force` is false or it is of another kind, is a folder or one of the inputs or
            lies in one, or if its folder is absent or read-only.
    """
    if path.is_dir() or not path.name:
        raise ConfigError(f"{path}: is a folder; give the path of the file to write")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder; make it, or give another path for {path.name}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path.parent}: this folder is read-only; give a path that can be written to")
    target = path.resolve()
    for source in inputs:
        if target == source.resolve() or (source.is_dir() and target.is_relative_to(source.resolve())):
            raise ConfigError(f"{path}: would replace what is read from {source}; give another path")
    if not os.path.lexists(path):
        return
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is a device or a pipe, which files are not written over; give another path")
    if not force:
        raise ConfigError(f"{path}: exists already; give another path, or --force to replace it")
    if kind and path.is_file() and path.stat().st_size and (reason := kind.difference(path)):
        raise ConfigError(f"{path}: {reason}, so it is not {kind.name}, and --force does not replace it; {_ELSEWHERE}")


def refuse_folder(path: Path, *, force: bool, kind: Kind, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output folder, before any work is spent on it; an empty one is good.

    Args:
        path: The folder to write.
        force: Whether a folder of this kind that is there may be replaced.
        kind: What it will be.
        inputs: Files and folders that are read; none of them is ever replaced.

    Raises:
        ConfigError: If `path` is a file, ``/``, a home or a folder that holds one; if it holds anything and `force` is
            false; or if it holds what is no part of such a thing, or what is read.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise ConfigError(f"{path}: is a file; give the path of a folder")
    refuse_home(path)
    if not list_entries(path):
        return
    if not force:
        raise ConfigError(f"{path}: is not empty; give another folder, or --force to replace {kind.name}")
    if reason := kind.difference(path):
        raise ConfigError(f"{path}: {reason}, so it is not {kind.name}, and --force does not replace it; {_ELSEWHERE}")
    for source in inputs:
        if source.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f"{path}: would replace what is read from {source}; give another folder")


def refuse_home(path: Path) -> None:
    """Refuses to take ``/``, a home, or a folder that holds one for an output.

    Raises:
        ConfigError: If `path` is such a folder.
    """
    target, home = path.resolve(), Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - Path.home() raises without
    if home.is_relative_to(target):
        what = "the root of all files" if target == target.parent else "a home, or holds one"
        raise ConfigError(f"{path}: is {what}; give a folder for this output alone")


def list_entries(path: Path) -> list[Path]:
    """What a folder holds, sorted, without what a running command keeps in it; nothing where there is no folder."""
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith(OWN)) if path.is_dir() else []


def new_folder(path: Path, *, force: bool) -> Path:
    """Makes an output folder; one that holds anything is refused unless `force` is true.

    Returns:
        The folder, which exists and can be written to.

    Raises:
        ConfigError: If `path` is a file, ``/`` or a home, holds files (without `force`), or can't be written to.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is a file; give the path of a folder")
    refuse_home(path)
    if not force and list_entries(path):
        raise ConfigError(f"{path}: is not empty; give another folder, or --force to write into this one")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: can't make this folder ({error.strerror})") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: this folder is read-only; give one that can be written to")
    return path


class Workspace(NamedTuple):
    """Where a folder is made ready, and locked, before it is moved to its place.

    Attributes:
        base: Beside the folder; the folder itself, where nothing can be moved to its place.
        prefix: What the names of files and folders there begin with.
    """

    base: Path
    prefix: str


def find_workspace(path: Path) -> Workspace:
    """The workspace of a folder, or of a file, which may be there already or not."""
    if path.is_dir():
        path = path.resolve()  # what is a link is written where it leads
        if os.path.ismount(path) or not os.access(path.parent, os.W_OK):
            return Workspace(path, OWN)
    return Workspace(path.parent.resolve(), f".{_short(path.name)}{OWN}")


@contextmanager
def replacing_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Makes a folder ready beside `path`; it becomes `path` when the block ends without an error.

    What was at `path` stays whole until then, and stays if the block fails or the disk is full. It is moved aside
    before the new one takes its place; a kill between the two moves leaves it whole beside `path`, in a folder whose
    name begins with ``.PATH.abawkit``.

    Args:
        path: The folder to write; the folders above it are made.
        force: Whether a folder that holds anything is replaced; see `refuse_folder`.

    Yields:
        The new folder, empty.

    Raises:
        ConfigError: If `path` holds something and `force` is false, even where that came meanwhile.
        DataError: If the disk is full or failing, or the folder above is read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        base, prefix = find_workspace(path)
        temporary = Path(tempfile.mkdtemp(dir=base, prefix=f"{prefix}{PART}"))
        target, new, old = (path.resolve() if path.is_dir() else path), temporary / "new", temporary / "old"
        try:
            new.mkdir()
            yield new
            if list_entries(target) and not force:
                raise ConfigError(f"{path}: exists already; give another folder, or --force to replace it")
            _swap(target, new, old if force else None, inside=base == target)
        finally:
            if target.exists() or not old.exists():  # else the old folder is here alone
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); nothing that was there is lost") from error


def _swap(target: Path, new: Path, old: Path | None, *, inside: bool) -> None:
    """Moves what is at the target aside, if that is allowed, and the new folder, or what is in it, to its place."""
    if inside:
        moved: list[tuple[Path, Path]] = []
        if old:
            old.mkdir()
        try:
            for source, goal in ([(target, old)] if old else []) + [(new, target)]:
                for entry in list_entries(source):
                    entry.rename(goal / entry.name)
                    moved.append((entry, goal / entry.name))
        except BaseException:
            for entry, there in reversed(moved):
                there.rename(entry)
            raise
        return
    if old and list_entries(target):
        target.rename(old)
    try:
        new.rename(target)  # an empty folder is replaced, one that holds something is not
    except BaseException:
        if old:
            with suppress(FileNotFoundError):
                old.rename(target)
        raise


def remove_leftovers(path: Path) -> None:
    """Removes what a killed command left of an output that it was making; its lock must be held."""
    base, prefix = find_workspace(path)
    for entry in base.glob(f"{glob.escape(prefix + PART)}*"):
        if path.exists() or not (entry / "old").exists():  # else what was at the path is there alone
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file beside `path` for writing; it becomes `path` when the block ends without an error.

    What was at `path` stays whole until then, and stays if the block fails or the disk is full.

    Args:
        path: The file to write.
        flush: Whether to wait until its content is on the disk. Without it, a loss of power can leave an empty file.

    Yields:
        The file, opened for bytes.

    Raises:
        DataError: If the disk is full or failing, or the folder is absent or read-only.
    """
    try:
        with _beside(path, flush=flush) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); nothing that was there is lost") from error


@contextmanager
def _beside(path: Path, *, flush: bool) -> Iterator[IO[bytes]]:
    # mkstemp makes files that only their owner reads, and what os.umask would tell is wrong beside other threads
    temporary = path.with_name(f".{_short(path.name)}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _short(name: str) -> str:
    """A name that leaves room for an ending: file systems allow 255 bytes, and characters can take several."""
    whole = os.fsencode(name)
    return name if len(whole) <= _LONG else f"{os.fsdecode(whole[:_LONG])}-{sha256(whole)[:8]}"


def write_bytes(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Writes a file whole or not at all; see `replacing`."""
    with replacing(path, flush=flush) as file:
        file.write(content)


def write_json(path: Path, content: Any, *, flush: bool = True) -> None:
    """Writes indented JSON, whole or not at all; NaN and infinity are refused, as JSON has no word for them."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode(), flush=flush)


def decode_text(content: bytes) -> str:
    """Text of a file that a person wrote: UTF-8, with or without the byte-order mark that Windows editors put first.

    Args:
        content: The whole file.

    Raises:
        ValueError: If it is not UTF-8; UTF-16, which PowerShell writes, is named.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16 text; save it as UTF-8")
    return content.decode("utf-8-sig")


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 digest of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 digest of a file's content, in hexadecimal; read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_processors() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
