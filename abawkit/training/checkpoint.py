"""Checkpoints as folders that are whole or not there: the newest whole one is found again after any crash."""

import errno
import io
import json
import os
import re
import shutil
import stat
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from abawkit.errors import DataError
from abawkit.run_names import CHECKPOINTS, MANIFEST, STATE
from abawkit.system.files import sha256, sha256_of, write_bytes, write_json

FORMAT: Final = "abawkit.checkpoint.2"

_NAME: Final = re.compile(r"([0-9]{4,})-([0-9]{6,})")
_LARGEST_MANIFEST: Final = 1 << 20
_PARTIAL: Final = ".partial"
_GONE: Final = f".gone{_PARTIAL}"


class Position(NamedTuple):
    """A moment of a run.

    Attributes:
        epoch: Epochs that are done.
        batch: Batches of the next epoch that are done. All of them: its validation comes next.
    """

    epoch: int
    batch: int

    @property
    def name(self) -> str:
        """Name of its checkpoint's folder."""
        return f"{self.epoch:04d}-{self.batch:06d}"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are all there, each with the digest that its manifest says.

    Attributes:
        folder: Its folder.
        position: Where the run was.
        digests: SHA-256 of each file, by name.
    """

    folder: Path
    position: Position
    digests: Mapping[str, str]

    def state(self) -> dict[str, Any]:
        """What its ``state.pt`` holds: numbers, text and tensors; nothing that could run code is unpickled.

        Raises:
            DataError: If it holds anything else: a digest says that a file is as it was written, not who wrote it.
        """
        path = self.folder / STATE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice about formats, which a user can't act on
                with path.open("rb") as file:  # not by its name, which need not be UTF-8
                    content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what is no state can end in any of Python's exceptions
            raise DataError(
                f"{path}: can't be loaded ({type(error).__name__}): it holds more than numbers, text and tensors, or "
                "was not written by a run. Nothing in it was run; continue from another checkpoint"
            ) from error
        if not isinstance(content, dict):
            raise DataError(
                f"{path}: holds a {type(content).__name__}, expected a dict; continue from another checkpoint"
            )
        return content


class CheckpointReport(NamedTuple):
    """What `verify_checkpoint` finds.

    Attributes:
        position: Where the run was; None where the manifest is damaged.
        digests: SHA-256 of each file that could be read, by name.
        defects: What is wrong with each file that is not as it was written, by name, the manifest's among them; empty
            for a whole checkpoint.
    """

    position: Position | None
    digests: dict[str, str]
    defects: dict[str, str]


def write_checkpoint(
    run: Path, position: Position, state: Mapping[str, Any], write: Callable[[Path], None], *, keep: int
) -> Path:
    """Writes a checkpoint of a run, and removes older ones until `keep` are left.

    The folder is written under another name, file by file, each flushed to the disk, the manifest with the digests
    last; then it is renamed. A crash at any moment leaves the checkpoints that were there before.

    Args:
        run: The run's folder.
        position: Where the run is. A whole checkpoint of this place is left as it is: it says the same.
        state: Numbers, text, tensors, and dicts and lists of them.
        write: Writes the other files into a folder.
        keep: Checkpoints to keep, at least 1; with 2, one is left if the newest is damaged. Newer ones than this one,
            which a run has left behind when it went on from before them, don't count; those that are damaged go.

    Raises:
        DataError: If the disk is full or failing; the older checkpoints are whole.
    """
    folder = run / CHECKPOINTS
    target, partial = folder / position.name, folder / (position.name + _PARTIAL)
    try:
        if not folder.is_dir():
            folder.mkdir()
            _sync_folder(run)
        _remove_leftovers(folder, partial)
        if verify_checkpoint(target).defects:
            partial.mkdir()
            write(partial)
            write_bytes(partial / STATE, _serialise(state))
            paths = sorted(partial.iterdir())
            files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
            content = {"format": FORMAT, "epochs_done": position.epoch, "batches_done": position.batch, "files": files}
            write_json(partial / MANIFEST, {**content, "sha256": _digest_manifest(content)})
            _sync_folder(partial)
            _discard(target)
            partial.rename(target)
            _sync_folder(folder)
        with suppress(OSError):  # old ones that stay do no harm, and the next checkpoint tries again
            _remove_older(run, position, keep)
    except (OSError, DataError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{target}: can't write this checkpoint ({error.strerror}); those before it are whole\n"
            "make room and continue with --resume"
        ) from error
    return target


def find_newest_checkpoint(run: Path, position: Position | None = None) -> tuple[Checkpoint | None, list[str]]:
    """Finds the newest whole checkpoint of a run.

    Args:
        run: The run's folder.
        position: Consider the checkpoint of this place alone.

    Returns:
        The checkpoint, or None where the run has none; and for each newer one what is wrong with it.

    Raises:
        DataError: If there are checkpoints and none is whole.
    """
    problems: list[str] = []
    for found, folder in list_checkpoints(run):
        if position and found != position:
            continue
        report = verify_checkpoint(folder)
        if not report.defects:
            return Checkpoint(folder, found, report.digests), problems
        problems.append(f"{folder}: {'; '.join(f'{name} {defect}' for name, defect in report.defects.items())}")
    if problems:
        raise DataError(
            "\n".join(
                [
                    *problems,
                    "no checkpoint of this run is whole; --force starts anew, and replaces its best and last weights",
                ]
            )
        )
    return None, []


def has_checkpoints(run: Path) -> bool:
    """Whether a folder holds checkpoints, whole or not."""
    return bool(list_checkpoints(run))


def remove_checkpoints(run: Path) -> None:
    """Removes all checkpoints of a run, the newest last, and what was left of others; nothing else is touched.

    Raises:
        OSError: If one can't be removed: a later run would be taken for this one.
    """
    folder = run / CHECKPOINTS
    if not folder.is_dir():
        return
    for path in folder.glob(f"*{_PARTIAL}"):
        shutil.rmtree(path)
    for _, old in reversed(list_checkpoints(run)):
        _discard(old)
    with suppress(OSError):  # goes only if it is empty
        folder.rmdir()


def list_checkpoints(run: Path) -> list[tuple[Position, Path]]:
    """The checkpoints of a run by their names, the newest first."""
    folder = run / CHECKPOINTS
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    found = [(Position(int(m[1]), int(m[2])), path) for m, path in named if m]
    return sorted(((position, path) for position, path in found if path.name == position.name), reverse=True)


def verify_checkpoint(folder: Path) -> CheckpointReport:
    """Compares every file of a checkpoint with its manifest, and the manifest with its own digest."""
    try:
        position, entries = _read_manifest(folder)
    except DataError as error:
        return CheckpointReport(None, {}, {MANIFEST: str(error)})
    except OSError as error:
        return CheckpointReport(None, {}, {MANIFEST: f"can't be read ({error.strerror})"})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return CheckpointReport(None, {}, {MANIFEST: f"is damaged ({error})"})
    digests: dict[str, str] = {}
    defects: dict[str, str] = {}
    if _NAME.fullmatch(folder.name) and folder.name != position.name:
        defects[MANIFEST] = f"is that of the checkpoint {position.name}: its folder was renamed"
    for path, size, expected in entries:
        try:
            if (found := _size(path)) != size:
                defects[path.name] = f"has {found:,} bytes, expected {size:,}"
                continue
            digests[path.name] = sha256_of(path)
        except OSError as error:
            defects[path.name] = f"can't be read ({error.strerror})"
        else:
            if digests[path.name] != expected:
                defects[path.name] = f"has SHA-256 {digests[path.name]}, expected {expected}: it is damaged"
    return CheckpointReport(position, digests, defects)


def _read_manifest(folder: Path) -> tuple[Position, list[tuple[Path, int, str]]]:
    """Where the run was; path, size and digest of each file."""
    if _size(folder / MANIFEST) > _LARGEST_MANIFEST:
        raise DataError("is damaged (it is larger than any that a run writes)")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    digest = manifest.pop("sha256")
    if manifest["format"] != FORMAT:
        raise DataError(f"has format {manifest['format']!r:.60}, expected {FORMAT!r}: of another abawkit")
    if digest != _digest_manifest(manifest):
        raise DataError("is damaged: its digest is not the one that it names")
    position = Position(manifest["epochs_done"], manifest["batches_done"])
    if type(position.epoch) is not int or type(position.batch) is not int:
        raise TypeError(f"epochs_done and batches_done are {position.epoch!r:.60} and {position.batch!r:.60}")
    return position, [_read_entry(folder, name, e) for name, e in {STATE: None, **manifest["files"]}.items()]


def _read_entry(folder: Path, name: str, entry: Any) -> tuple[Path, int, str]:
    """Path, size and digest of a file, as a manifest has them."""
    if not name or not name.isprintable() or Path(name).name != name:
        raise ValueError(f"names a file {name!r:.80}")
    if not isinstance(entry, dict) or type(entry["bytes"]) is not int or not isinstance(entry["sha256"], str):
        raise TypeError(f"does not say which size and digest {name} has")
    return folder / name, entry["bytes"], entry["sha256"]


def _size(path: Path) -> int:
    """The size of a file in bytes; what is no file is an error: to read a pipe or a device may never end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return found.st_size


def _digest_manifest(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())


def _serialise(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def _remove_older(run: Path, position: Position, keep: int) -> None:
    """Removes what is not to be kept beside the checkpoint of a place."""
    others = [(found, folder) for found, folder in list_checkpoints(run) if found != position]
    older = [folder for found, folder in others if found < position]
    damaged = [folder for found, folder in others if found > position and verify_checkpoint(folder).defects]
    for folder in [*older[keep - 1 :], *damaged]:
        _discard(folder)


def _sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(folder: Path) -> None:
    """Removes a checkpoint; under another name, so that half of one is never taken for one."""
    if folder.exists():
        gone = folder.with_name(folder.name + _GONE)  # not the name of the one that replaces it
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _remove_leftovers(folder: Path, needed: Path) -> None:
    """Removes what a crash left behind; it is an error only where its place is needed."""
    for path in folder.glob(f"*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=path != needed)
