"""One command writes to a folder or a file at a time: a lock that ends with its process, however that ends."""

import errno
import fcntl
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from abawkit.errors import ConfigError, DataWarning, printable

LOCK: Final = "lock"
"""Name of the file, which holds host and process of the run; it is there while a run is, or after one was killed."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds a folder's lock for the length of the block.

    The lock is the kernel's (``flock``): it goes with the process, so that what a killed run left behind stops nobody.

    Args:
        folder: A folder that exists.

    Raises:
        ConfigError: If another run holds the lock; host and process are named.

    Warns:
        DataWarning: If the lock is taken over from a run that was killed, or the file system has no locks.
    """
    with hold_lock(folder / LOCK, folder):
        yield


@contextmanager
def hold_lock(path: Path, output: Path) -> Iterator[None]:
    """Holds a lock for the length of the block; see `lock`.

    Args:
        path: The file that is locked; it is made, and gone at the end of the block.
        output: What it is the lock of, for messages.

    Raises:
        ConfigError: If another process holds the lock; host and process are named.

    Warns:
        DataWarning: As of `lock`.
    """
    descriptor = _acquire(path, output)
    try:
        if left := os.read(descriptor, 1000):
            owner = printable(left.decode(errors="replace").strip())
            warnings.warn(f"{path}: was left by a run that was killed ({owner}); taken over", DataWarning, stacklevel=3)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes: whoever waits for this very file looks whether it is there
        os.close(descriptor)


def _acquire(path: Path, output: Path) -> int:
    what = "folder" if output.is_dir() else "path"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = printable(os.read(descriptor, 1000).decode(errors="replace").strip()) or "another process"
            os.close(descriptor)
            raise ConfigError(
                f"{output}: a run is writing here ({owner}); give another {what}, or wait until it has ended"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(descriptor)
                raise
            _refuse_living(descriptor, path, output)
            warnings.warn(
                f"{path.parent}: this file system has no locks; make sure that no other run writes here",
                DataWarning,
                stacklevel=5,
            )
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # its run ended, and took the file along, between the two calls


def _refuse_living(descriptor: int, path: Path, output: Path) -> None:
    """Without a lock of the kernel, what the file says has to do: an owner here that lives, or one elsewhere."""
    owner = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
    found = re.fullmatch(r"process (\d+) on (.*)", owner)
    if not found or (found[2] == socket.gethostname() and not Path(f"/proc/{found[1]}").exists()):
        return
    os.close(descriptor)
    raise ConfigError(
        f"{output}: a run may be writing here ({printable(owner)}), and this file system has no locks; "
        f"if it has ended, remove {path}"
    )


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that a path leads to: it may have been removed, or replaced, since."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
