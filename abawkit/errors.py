"""The exceptions that a user meets, the exit code of each, and how problems in files are written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SHOWN_PROBLEMS = 20
"""Problems that a message lists before it only counts."""


def printable(text: str) -> str:
    r"""Escapes all but printable characters, so that text from a file can't control the terminal.

    Control characters, ANSI escapes, bidirectional marks and lone surrogates become ``\x1b``-like escapes; printable
    text, non-ASCII too, is unchanged.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def format_count(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts, as ``1 row`` and ``51,159 rows``; `plural` where it is not `noun` and an ``s``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def list_first(entries: Sequence[str], shown: int = SHOWN_PROBLEMS, noun: str = "") -> list[str]:
    """The first `shown` entries, and how many others there are: ``... and 3 more``, or ``... and 3 more names``."""
    more = len(entries) - shown
    rest = format_count(more, f"more {noun}") if noun else f"{more:,} more"
    return [*entries[:shown], *([f"... and {rest}"] if more > 0 else [])]


class AbawkitError(Exception):
    """An error that the user can fix: the message says what was found, what was expected and what to do."""

    exit_code = 1


class ConfigError(AbawkitError):
    """A recipe, an option or a combination of options that cannot be run."""

    exit_code = 2


class DataError(AbawkitError):
    """Annotations, lists, submissions, frames or checkpoints that are not what they must be."""

    exit_code = 3


class OpUnavailableError(AbawkitError):
    """An implementation of an operator that was requested by name and can't run here."""

    exit_code = 4


class StoppedError(AbawkitError):
    """A command that was stopped before its end, in good order: what it had done is kept.

    Attributes:
        exit_code: 130 for SIGINT, 143 for SIGTERM, 75 where the same command is meant to continue; see
            `abawkit.system.signals.find_exit_code`.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One defect of one file.

    Attributes:
        line: Line number, counted from 1; 0 where the defect is the file's as a whole.
        column: Name of the column, or ``""`` where the defect is the row's.
        message: What was found and what was expected, in one line.
        file: Name of the file where the defect is one of a folder's; ``""`` where the path is the file.
    """

    line: int
    column: str
    message: str
    file: str = ""

    def text(self, path: Path) -> str:
        """``path:line: column 'arousal': got 1.7, expected -1..1 or -5``, safe to print."""
        file = path / self.file if self.file else path
        where = f"{file}:{self.line}: " if self.line else f"{file}: "
        column = f"column '{self.column}': " if self.column else ""
        return printable(f"{where}{column}{self.message}")

    def as_dict(self) -> dict[str, str | int]:
        """For JSON; ``file`` only where the problem is in one of a folder."""
        content = asdict(self)
        return content if self.file else {name: content[name] for name in ("line", "column", "message")}


class ProblemsError(DataError):
    """A file with problems.

    Attributes:
        path: The file.
        problems: Every problem found, in the order of files and lines.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], advice: str) -> None:
        self.path = path
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem))
        shown = [p.text(path) for p in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > len(shown):
            more = format_count(len(self.problems) - len(shown), "more problem")
            shown.append(f"... and {more} in {printable(str(path))}; --json prints them all")
        super().__init__("\n".join([*shown, advice]))


class DataWarning(UserWarning):
    """Something in a file that was accepted, and that its owner should know of."""


class OpWarning(UserWarning):
    """The automatic choice passed over an implementation of an operator that would be better if it ran here."""
