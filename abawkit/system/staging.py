"""Copies of large files on a disk of this machine, which its processes share, and which the last of them removes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final, NamedTuple

from abawkit.errors import ConfigError, DataError
from abawkit.system.files import sha256_of
from abawkit.system.filesystems import find_file_system
from abawkit.system.locks import is_at

WAIT: Final = 0.2
"""Seconds between two looks at whether another process has finished a copy."""

_COPY_BLOCK: Final = 1 << 23

_copies: ContextVar[Mapping[Path, Path]] = ContextVar("abawkit.copies")


class StageFile(NamedTuple):
    """A file to copy.

    Attributes:
        path: Where it is.
        sha256: Digest of its content.
    """

    path: Path
    sha256: str


def find_copy(path: Path) -> Path:
    """The copy of a file within `stage_files`; elsewhere, and where it is gone, the file itself."""
    copy = _copies.get({}).get(path.resolve())
    return copy if copy and copy.is_file() else path


def find_stage_folder() -> Path:
    """The folder for copies in the folder for temporary files (``TMPDIR``), which no other user can write to.

    Raises:
        ConfigError: If that is on a file system of other machines, or can't be written to, or the folder is not ours.
    """
    try:
        base = Path(tempfile.gettempdir())
        system = find_file_system(base)
        if system.is_shared:
            raise ConfigError(
                f"--stage: {base} is on a file system of type {system.type}, not on a disk of this machine; set TMPDIR "
                "to a folder on one, or leave --stage out"
            )
        folder = base / f"abawkit-stage-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise ConfigError(f"--stage: no folder for temporary files ({error.strerror}); set TMPDIR to one") from error
    if not folder.is_dir() or folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ConfigError(f"--stage: {folder} belongs to another user, or others may write to it; remove it")
    return folder


@contextmanager
def stage_files(
    files: Sequence[StageFile], folder: Path, *, on_copy: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Within the block, `find_copy` gives copies of files, each made once by whichever process comes first.

    Other processes wait for it. A copy that is there already is used if its digest is right, whoever left it. The last
    process that uses one removes it; after a SIGKILL, the next.

    Args:
        files: The files.
        folder: On a disk of this machine; see `find_stage_folder`.
        on_copy: Called with a line of text before this process copies a file.

    Raises:
        DataError: If there is not enough space, a file can't be read or has another digest, or the disk fails.
    """
    _refuse_small_disk(files, folder)
    with ExitStack() as stack:
        found = {file.path.resolve(): stack.enter_context(_hold_copy(file, folder, on_copy)) for file in files}
        token = _copies.set({**_copies.get({}), **found})
        try:
            yield
        finally:
            _copies.reset(token)


def _refuse_small_disk(files: Sequence[StageFile], folder: Path) -> None:
    """Refuses a disk without room for all that is not there yet; other processes may be copying it."""
    needed = 0
    for file in files:
        with suppress(OSError):  # a file that is gone is named when its turn comes
            copies = (folder / file.sha256, folder / f"{file.sha256}.part")
            there = max((copy.stat().st_size for copy in copies if copy.is_file()), default=0)
            needed += max(0, file.path.stat().st_size - there)
    _refuse_full_disk(folder, needed, "what is to be copied")


def _refuse_full_disk(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder if folder.is_dir() else folder.parent).free
    if free < needed:
        raise DataError(
            f"--stage: {folder} has {free / 1e9:.1f} GB free, and {what} takes {needed / 1e9:.1f} GB; set TMPDIR to a "
            "folder on a larger disk, or leave --stage out"
        )


@contextmanager
def _hold_copy(file: StageFile, folder: Path, on_copy: Callable[[str], None] | None) -> Iterator[Path]:
    """The copy of a file, which nobody removes in the block."""
    copy, path = folder / file.sha256, folder / f"{file.sha256}.lock"
    descriptor = _share_copy(file, copy, path, on_copy)
    try:
        yield copy
    finally:
        _release_copy(descriptor, copy, path)


def _release_copy(descriptor: int, copy: Path, path: Path) -> None:
    """Gives a lock back; removes the copy, if there is one, where no other process uses it."""
    if _try_lock(descriptor, fcntl.LOCK_EX) and is_at(descriptor, path):
        copy.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    os.close(descriptor)
    with suppress(OSError):  # goes only if it is empty
        path.parent.rmdir()


def _share_copy(file: StageFile, copy: Path, path: Path, on_copy: Callable[[str], None] | None) -> int:
    """A descriptor with a shared lock of a whole copy, which is made if there is none."""
    while True:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # another process has just removed the empty folder
        try:
            if _try_lock(descriptor, fcntl.LOCK_EX) and is_at(descriptor, path):
                _make_copy(file, copy, on_copy)
            if _try_lock(descriptor, fcntl.LOCK_SH) and is_at(descriptor, path) and copy.is_file():
                return descriptor
        except BaseException:
            _release_copy(descriptor, copy, path)
            raise
        os.close(descriptor)
        time.sleep(WAIT)  # another process makes the copy


def _make_copy(file: StageFile, copy: Path, on_copy: Callable[[str], None] | None) -> None:
    """Copies a file whole and with the right content, or raises an error; an exclusive lock must be held."""
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        size = file.path.stat().st_size
        if copy.is_file() and copy.stat().st_size == size and sha256_of(copy) == file.sha256:
            return
        copy.unlink(missing_ok=True)
        _refuse_full_disk(copy.parent, size, str(file.path))
        if on_copy:
            on_copy(f"copying {file.path} ({size / 1e9:.1f} GB) to {copy.parent}")
        digest = _copy_content(file.path, part)
        if digest != file.sha256:
            raise DataError(f"{file.path}: is damaged, its SHA-256 is {digest}, expected {file.sha256}")
        part.replace(copy)
    except OSError as error:
        raise DataError(f"--stage: can't copy {file.path} to {copy.parent} ({error.strerror})") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _copy_content(source: Path, goal: Path) -> str:
    """Copies bytes; returns their SHA-256."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_COPY_BLOCK))
    with source.open("rb", buffering=0) as reader, goal.open("wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            digest.update(buffer[:count])
            left = buffer[:count]
            while left:
                left = left[writer.write(left) :]
    return digest.hexdigest()


def _try_lock(descriptor: int, kind: int) -> bool:
    """Whether the lock was taken; where it was not, one that was held may be gone."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
