"""The folder of a run: made or taken up, and locked while the run writes to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from abawkit.choices import TRACKERS
from abawkit.errors import ConfigError
from abawkit.files import new_folder
from abawkit.training.checkpoint import CHECKPOINTS, has_checkpoints, remove_checkpoints
from abawkit.training.lock import LOCK, locked
from abawkit.training.record import BEST, LAST, MANIFEST, METRICS, RECIPE

_WRITTEN: Final = (RECIPE, MANIFEST, METRICS, BEST, LAST)


@contextmanager
def run_folder(path: Path, *, resume: bool, force: bool) -> Iterator[None]:
    """Makes the folder of a run, or takes it up, and keeps other runs out of it for the length of the block.

    Args:
        path: The folder.
        resume: Whether it may hold a run.
        force: Whether it may hold anything.

    Raises:
        ConfigError: If it holds what it may not, can't be written to, or another run is writing to it.
    """
    if path.is_dir() and not (resume or force) and has_checkpoints(path):
        raise ConfigError(f"{path}: holds a run; --resume continues it, --force replaces it")
    new_folder(path, force=force or (resume and is_run(path)))
    with locked(path):
        for name in _WRITTEN:  # what a killed process had not yet renamed
            for leftover in path.glob(f".{name}.*"):
                leftover.unlink(missing_ok=True)
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
    for name in _WRITTEN:
        (path / name).unlink(missing_ok=True)
