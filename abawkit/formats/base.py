"""Plug point: what a format of submissions must offer, and how one is found by name.

A format is a class named in the entry-point group ``abawkit.formats`` of any installed package; abawkit's own are
registered in the same way.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from abawkit.errors import ConfigError, Problem
from abawkit.tables import FrameList, Submission

GROUP = "abawkit.formats"


class SubmissionFormat(Protocol):
    """Files of one edition of the challenge, to and from tables."""

    name: str
    """What ``--format`` calls it."""

    summary: str
    """One line for listings."""

    def read_list(self, path: Path) -> FrameList:
        """Reads the list of frames that a submission must answer.

        Raises:
            DataError: If the file is not such a list.
        """
        ...

    def encode(self, submission: Submission) -> bytes:
        """The official file's content, row for row."""
        ...

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every defect of a submission file, in the order of lines; an empty list for a good one.

        Raises:
            DataError: If the file can't be read as text at all.
        """
        ...

    def read(self, path: Path) -> Submission:
        """Reads a submission file.

        Raises:
            DataError: If any cell is not what it must be.
        """
        ...


def get_format(name: str) -> SubmissionFormat:
    """Finds a format by name.

    Raises:
        ConfigError: If no installed package has it, if two have it, or if it can't be loaded.
    """
    registered = entry_points(group=GROUP)
    found = list(registered.select(name=name))
    if not found:
        known = ", ".join(sorted({entry.name for entry in registered})) or "none; is abawkit installed?"
        raise ConfigError(f"--format {name}: unknown format; installed formats: {known}")
    if len({entry.value for entry in found}) > 1:
        owners = ", ".join(sorted(f"{entry.value} ({entry.dist.name if entry.dist else '?'})" for entry in found))
        raise ConfigError(f"--format {name}: offered by more than one package: {owners}; uninstall all but one")
    try:
        plugin: SubmissionFormat = found[0].load()()
    except Exception as error:
        raise ConfigError(f"--format {name}: {found[0].value} can't be loaded: {error}") from error
    absent = [part for part in ("read_list", "encode", "check", "read") if not callable(getattr(plugin, part, None))]
    if absent:
        raise ConfigError(f"--format {name}: {found[0].value} is not a format, it has no {', '.join(absent)}")
    return plugin
