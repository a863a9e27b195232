"""The folder of a run: made or taken up, and locked while the run writes to it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abawkit.choices import TRACKERS
from abawkit.errors import ConfigError
from abawkit.files import new_folder
from abawkit.locks import LOCK, locked
from abawkit.training.checkpoint import CHECKPOINTS, has_checkpoints, remove_checkpoints
from abawkit.training.run_files import RECIPE, WRITTEN, refuse_run_folder


@contextmanager
def run_folder(path: Path, *, resume: bool, force: bool) -> Iterator[None]:
    """Makes the folder of a run, or takes it up, and keeps other runs out of it for the length of the block.

    Args:
        path: The folder.
        resume: Whether it may hold a run, which is continued.
        force: Whether it may hold a run, which is replaced.

    Raises:
        ConfigError: If it holds anything else, can't be written to, or another run is writing to it.
    """
    refuse_run_folder(path, resume=resume and is_run(path), force=force)
    new_folder(path, force=True)
    with locked(path):
        if not (resume or force) and has_checkpoints(path):  # of a run that ended just before the lock was taken
            raise ConfigError(f"{path}: holds a run; --resume continues it, --force replaces it")
        for name in WRITTEN:  # what a killed process had not yet renamed
            for leftover in path.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
        if force and not resume:
            for tracker in TRACKERS:  # else the new run would be logged as more of the old one
                shutil.rmtree(path / tracker, ignore_errors=True)
        yield


def is_run(path: Path) -> bool:
    """Whether a folder holds a run that can be continued: with checkpoints, or killed before there was one."""
    if not path.is_dir():
        return False
    if has_checkpoints(path):
        return True
    names = {RECIPE, LOCK, CHECKPOINTS, *TRACKERS}
    return all(entry.name in names or entry.name.startswith(".") for entry in path.iterdir())


def clear_run(path: Path) -> None:
    """Removes what an earlier run left in a folder."""
    remove_checkpoints(path)
    for name in WRITTEN:
        (path / name).unlink(missing_ok=True)
