"""The interface of a format of submissions, and how one is found by name.

A format is a class named in the entry-point group ``abawkit.formats`` of any installed package; abawkit's own are
registered in the same way.
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, get_args

from abawkit.errors import ConfigError, Problem
from abawkit.labels import Answer
from abawkit.tables import Annotations, FrameList, Submission

FORMAT_GROUP = "abawkit.formats"

Container = Literal["file", "folder"]
"""``file``: one file, one row for each row of the list. ``folder``: a folder of files, one for each video."""

_METHODS: Final = ("read_list", "encode", "check", "read", "read_truth")


class Column(NamedTuple):
    """A column of a format's rows.

    Attributes:
        name: Its name in messages.
        kind: The name of an image, a number, or a whole number.
    """

    name: str
    kind: Literal["image", "real", "integer"]


class SubmissionFormat(Protocol):
    """Files of one edition of the challenge, to and from tables.

    A format may also have ``header`` (the first line) and ``columns`` (a `Column` for each field of a row):
    ``abawkit check --repair`` needs them.
    """

    name: str
    """Its name as the value of ``--format``."""

    summary: str
    """One line for listings."""

    tasks: tuple[Answer, ...]
    """What a submission answers; only that is scored."""

    container: Container
    """Whether it is a file or a folder; rows of a folder are frames, named ``VIDEO/00001.jpg`` by file and line."""

    def read_list(self, path: Path) -> FrameList:
        """Reads the list of frames that a submission must answer.

        Raises:
            DataError: If this is not such a list.
        """
        ...

    def encode(self, submission: Submission) -> bytes | dict[str, bytes]:
        """The official file's content, row for row; for a folder, the content of each of its files by name.

        Raises:
            DataError: If the submission does not hold what the format asks for, or if its frames can't be written so.
        """
        ...

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every defect of a submission, in the order of files and lines; empty for a valid one.

        Raises:
            DataError: If the file can't be read as text at all, or the folder not as a folder.
        """
        ...

    def read(self, path: Path) -> Submission:
        """Reads a submission.

        Raises:
            DataError: If any cell is invalid.
        """
        ...

    def read_truth(self, path: Path) -> Annotations | Submission:
        """Reads what a submission is scored against: annotations, or for compound expressions the right answers.

        Raises:
            DataError: If this is not such truth.
        """
        ...


@cache
def find_entry_points() -> EntryPoints:
    """The formats of all installed packages, looked up once, as reading their metadata takes milliseconds."""
    return entry_points(group=FORMAT_GROUP)


def list_format_names() -> list[str]:
    """The names of all installed formats, sorted."""
    return sorted({entry.name for entry in find_entry_points()})


def find_formats(tasks: Sequence[Answer], container: Container | None = None) -> list[str]:
    """The names of the installed formats of exactly these answers, of one container or (None) of either.

    A format that can't be loaded is left out.
    """
    found = []
    for name in list_format_names():
        with suppress(ConfigError):
            plugin = get_format(name)
            if plugin.tasks == tuple(tasks) and container in (None, plugin.container):
                found.append(name)
    return found


def get_format(name: str) -> SubmissionFormat:
    """Finds a format by name.

    Raises:
        ConfigError: If no installed package has it, if two have it, or if it can't be loaded or is no format.
    """
    found = list(find_entry_points().select(name=name))
    if not found:
        known = ", ".join(list_format_names()) or "none; is abawkit installed?"
        raise ConfigError(f"--format {name}: unknown format; installed formats: {known}")
    if len({entry.value for entry in found}) > 1:
        owners = ", ".join(sorted(f"{entry.value} ({entry.dist.name if entry.dist else '?'})" for entry in found))
        raise ConfigError(f"--format {name}: offered by more than one package: {owners}; uninstall all but one")
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result
            plugin: SubmissionFormat = found[0].load()()
            trouble = _find_format_defect(plugin)
    except (Exception, SystemExit) as error:  # importing another's package raises anything, or ends the program
        reason = f"it exits ({error})" if isinstance(error, SystemExit) else f"{error}"
        raise ConfigError(f"--format {name}: {found[0].value} can't be loaded: {reason}") from error
    if trouble:
        raise ConfigError(f"--format {name}: {found[0].value} is not a format, {trouble}")
    return plugin


def _find_format_defect(plugin: object) -> str:
    """What keeps an object from being a format; the empty string where nothing does."""
    absent = [part for part in ("name", "summary", "tasks", "container") if not hasattr(plugin, part)]
    absent += [part for part in _METHODS if not callable(getattr(plugin, part, None))]
    if absent:
        return f"it has no {', '.join(absent)}"
    tasks, container = getattr(plugin, "tasks", None), getattr(plugin, "container", None)
    if not (isinstance(tasks, tuple) and tasks and set(tasks) <= set(get_args(Answer))):
        return f"its tasks is {tasks!r:.60}, expected some of {', '.join(get_args(Answer))}"
    if container not in get_args(Container):
        return f"its container is {container!r:.60}, expected one of {', '.join(get_args(Container))}"
    return ""
