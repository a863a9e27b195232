"""Submissions on disk, as a file or a folder: written whole or not at all, and their digest."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import Container
from abawkit.formats.text import MAX_TEXT_BYTES
from abawkit.system.files import refuse_output, replacing_folder, sha256, write_bytes

SubmissionContent = bytes | Mapping[str, bytes]
"""What `encode` returns: the bytes of a file, or those of a folder's files by name."""


def refuse_submission(path: Path, container: Container, *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output that can't be written, or that would replace something, before any work is spent on it.

    Args:
        path: The file or folder to write.
        container: Which of the two.
        force: Whether an existing one may be replaced; of folders, only one of nothing but files, none of them hidden.
        inputs: Files and folders that are read; see `abawkit.system.files.refuse_output`.

    Raises:
        ConfigError: If `path` exists and `force` is false, is of the other kind or one of the inputs or lies in one, or
            if its folder is absent or read-only.
    """
    if container == "file" or not path.is_dir():
        refuse_output(path, force=force and container == "file", inputs=inputs)
        return
    # A folder that is replaced needs all that a new one does, but its path exists.
    refuse_output(path / "any", force=True, inputs=inputs)
    if any(source.resolve().is_relative_to(path.resolve()) for source in inputs):
        raise ConfigError(f"{path}: would replace what is read from it; give another path")
    if not force:
        raise ConfigError(f"{path}: exists already; give another path, or --force to replace it")
    if odd := sorted(entry.name for entry in path.iterdir() if entry.name.startswith(".") or not entry.is_file()):
        raise ConfigError(f"{path}: holds '{odd[0]}', so it is no submission, and is not replaced; give another path")


def write_submission(path: Path, content: SubmissionContent, *, force: bool = False) -> None:
    r"""Writes a submission whole or not at all.

    A file is written beside its target and renamed over it. So is a folder, but an existing one is first moved aside:
    a kill between the two moves leaves the old folder beside it; see `abawkit.system.files.replacing_folder`.

    Args:
        path: Where.
        content: From `abawkit.formats.base.SubmissionFormat.encode`.
        force: Whether an existing folder is replaced; see `refuse_submission`.

    Raises:
        ConfigError: If a folder can't be written to `path`.
        DataError: If a name in a folder is invalid, or the disk is full or failing.

    Example:
        >>> write_submission(Path("submission"), {"v.txt": b"valence,arousal\n0.25,-1\n"})
        >>> Path("submission/v.txt").read_text()
        'valence,arousal\n0.25,-1\n'
    """
    if isinstance(content, bytes):
        write_bytes(path, content)
        return
    for name in content:
        if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise DataError(f"{path}: '{name}' is not a valid file name; nothing was written")
    refuse_submission(path, "folder", force=force)
    with replacing_folder(path, force=force) as new:
        for name, text in content.items():
            with (new / name).open("xb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())


def digest_submission(content: SubmissionContent) -> str:
    """SHA-256 of a submission, in hexadecimal.

    Of a file, that of its bytes. Of a folder, what ``sha256sum * | sha256sum`` prints in it under ``LC_ALL=C``: that of
    a line for each file in the order of names, with its digest, two blanks and its name.
    """
    if isinstance(content, bytes):
        return sha256(content)
    lines = [f"{sha256(content[name])}  {name}\n".encode(errors="surrogateescape") for name in _sort_names(content)]
    return sha256(b"".join(lines))


def read_submission_bytes(path: Path) -> SubmissionContent:
    """The bytes of a submission on disk, whatever its format.

    Raises:
        DataError: If there is none, it can't be read, is too large, or a folder has anything but files.
    """
    try:
        if not path.is_dir():
            return path.read_bytes()
        entries = sorted(path.iterdir())
        if odd := [entry.name for entry in entries if not entry.is_file()]:
            raise DataError(f"{path}: holds '{odd[0]}', which is no file, so it is no submission")
        if (size := sum(entry.stat().st_size for entry in entries)) > MAX_TEXT_BYTES:
            raise DataError(f"{path}: holds {size:,} bytes, so it is no submission")
        return {entry.name: entry.read_bytes() for entry in entries}
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); expected a submission") from error


def _sort_names(names: Mapping[str, bytes]) -> list[str]:
    """Names in the order of their bytes."""
    return sorted(names, key=lambda name: name.encode(errors="surrogateescape"))
