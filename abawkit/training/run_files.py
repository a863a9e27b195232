"""What the folder of a run may hold, before one is written there; nothing here needs torch."""

from pathlib import Path
from typing import Final

from abawkit.choices import TRACKERS
from abawkit.errors import ConfigError, printable
from abawkit.run_names import CHECKPOINTS, RECIPE, STOP, WRITTEN
from abawkit.system.files import Kind, list_entries, refuse_folder
from abawkit.system.locks import LOCK


def refuse_run_folder(path: Path, *, resume: bool, force: bool) -> None:
    """Refuses the folder of a run that may not be written, before any work is spent on it.

    Args:
        path: The folder.
        resume: Whether it may hold a run, which is continued.
        force: Whether it may hold a run, which is replaced.

    Raises:
        ConfigError: If it holds anything else, or is ``/`` or a home.
    """
    if not (resume or force) and list_entries(path) and not _difference_from_run(path):
        raise ConfigError(f"{path}: holds a run; --resume continues it, --force replaces it")
    refuse_folder(path, force=force or resume, kind=RUN)


def _difference_from_run(folder: Path) -> str:
    """Why a folder is no run's; the empty string where it is one."""
    names = {entry.name for entry in list_entries(folder)}
    begun = {name for name in names if any(name.startswith(f".{written}.") for written in WRITTEN)}  # by a killed run
    if odd := sorted(names - {*WRITTEN, CHECKPOINTS, LOCK, STOP, *TRACKERS} - begun):
        return f"holds '{printable(odd[0])}'"
    return "" if begun or {RECIPE, CHECKPOINTS, LOCK} & names else f"holds no {RECIPE}"


RUN: Final = Kind("a run", _difference_from_run)
