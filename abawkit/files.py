"""Writing files whole or not at all, refusing to overwrite, digests, and how many processors there are."""

import codecs
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from abawkit.errors import ConfigError, DataError


def refuse_output(path: Path, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output that can't be written, or that would replace something, before any work is spent on it.

    Args:
        path: The file to write.
        force: Whether a file that is there may be replaced.
        inputs: Files and folders that are read; none of them is ever replaced, nor is anything in these folders.

    Raises:
        ConfigError: If `path` exists and `force` is false, is a folder or one of the inputs or lies in one, or if its
            folder is absent or read-only.
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
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists already; give another path, or --force to replace it")


def new_folder(path: Path, *, force: bool) -> Path:
    """Makes an output folder; one that holds anything is refused unless `force` is true.

    Returns:
        The folder, which exists and can be written to.

    Raises:
        ConfigError: If `path` is a file, holds files (without `force`), or can't be written to.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is a file; give the path of a folder")
    if path.is_dir() and not force and any(path.iterdir()):
        raise ConfigError(f"{path}: is not empty; give another folder, or --force to write into this one")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: can't make this folder ({error.strerror})") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: this folder is read-only; give one that can be written to")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file beside `path` for writing; it becomes `path` when the block ends without an error.

    What was at `path` stays whole until then, and stays if the block fails or the disk is full.

    Yields:
        The file, opened for bytes.

    Raises:
        DataError: If the disk is full or failing, or the folder is absent or read-only.
    """
    try:
        with _beside(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror}); nothing that was there is lost") from error


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner reads
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON, whole or not at all; NaN and infinity are refused, as JSON has no word for them."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


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


def processors() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
