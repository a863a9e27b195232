"""The result of an inspection, and checked access to records that may be damaged."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from abawkit.errors import DataError
from abawkit.system.files import decode_text, sha256_of
from abawkit.system.json_records import MAX_RECORD

FileState = Literal["unchanged", "changed", "gone", "not looked at"]
"""State of a file whose digest a record has."""

_DEPTH: Final = 20
_TYPE_NAMES: Final = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}

T = TypeVar("T")


@dataclass
class Inspection:
    """The result of inspecting a path.

    Attributes:
        path: The path.
        kind: ``weights``, ``published weights``, ``exported network``, ``checkpoint``, ``run``, ``submission``,
            ``probabilities``, ``curated set``, ``features``, ``folds``, ``rule`` or ``label list``.
        summary: One line.
        facts: JSON values by name, in the order in which to show them. Epochs count from 1.
        digests: SHA-256 by name, of a file's bytes or of its content as records define it.
        problems: Each damage, and each difference to a record, with its file.
    """

    path: Path
    kind: str
    summary: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def note(self, name: str, value: Any) -> None:
        """Adds a fact; None is left out."""
        if value is not None:
            self.facts[name] = make_plain(value)

    def compare(
        self,
        what: str,
        path: Path,
        expected: str | None,
        digest: Callable[[Path], str] = sha256_of,
        exists: Callable[[Path], bool] | None = None,
    ) -> FileState | None:
        """Compares a file with the digest in a record; a file that differs is a problem, an absent one is not.

        Args:
            what: Description of the file, for messages.
            path: Its recorded path.
            expected: Its recorded digest; if None, the result is None.
            digest: Computes the digest.
            exists: Whether the file exists; `is_file` by default.
        """
        if expected is None:
            return None
        if not (exists or is_file)(path):
            return "gone"
        try:
            found = digest(path)
        except (OSError, DataError) as error:
            self.problems.append(f"{path}: {what} can't be read ({str(error).splitlines()[0]})")
            return "changed"
        if found == expected:
            return "unchanged"
        self.problems.append(f"{path}: {what} has digest {found}, expected {expected}: it was changed or replaced")
        return "changed"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "summary": self.summary,
            "facts": self.facts,
            "digests": self.digests,
            "problems": self.problems,
        }


class Record:
    """The content of a record; each value is checked when it is read, and a wrong one is a problem.

    Args:
        source: The file, for messages.
        content: Its content.
        problems: List that problems are added to.
    """

    def __init__(self, source: str, content: Mapping[str, Any], problems: list[str]) -> None:
        self.source, self.content, self.problems = source, content, problems

    def get(self, name: str, kind: type[T], *, optional: bool = False) -> T | None:
        """A value by its name, as ``data.folder``; None where it is absent or of another type.

        Args:
            name: Names, with dots between those of nested objects.
            kind: str, int, float (finite; a whole number too), dict or list.
            optional: Whether it may be absent or null.
        """
        value: Any = self.content
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if optional and value is None:
            return None
        if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
            value = float(value)
        if isinstance(value, kind) and not isinstance(value, bool) and (kind is not float or math.isfinite(value)):  # type: ignore[arg-type]
            return value
        got = "nothing" if value is None else f"{value!r:.60}"
        self.problems.append(f"{self.source}: {name}: got {got}, expected {_TYPE_NAMES[kind]}")
        return None

    def folders(self, name: str, *, optional: bool = False) -> str | list[str] | None:
        """The folders of frames: one path, or a list of several; anything else is a problem."""
        value: Any = self.content
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, list) and value and all(isinstance(folder, str) for folder in value):
            return value
        return self.get(name, str, optional=optional)

    def mapping(self, name: str, *, optional: bool = False) -> dict[str, Any]:
        """An object by its name; empty if there is none."""
        found: dict[str, Any] | None = self.get(name, dict, optional=optional)
        return found or {}

    def entries(self, name: str, *, optional: bool = False) -> list["Record"]:
        """The objects of a list, each as a record of its own; others are problems."""
        listed: list[Any] = self.get(name, list, optional=optional) or []
        self.problems += [
            f"{self.source}: {name}, number {i}: got {entry!r:.60}, expected an object"
            for i, entry in enumerate(listed, start=1)
            if not isinstance(entry, dict)
        ]
        return [
            Record(f"{self.source}: {name}, number {i}", entry, self.problems)
            for i, entry in enumerate(listed, start=1)
            if isinstance(entry, dict)
        ]


def read_record_text(path: Path) -> str:
    """Reads a record.

    Raises:
        DataError: If the file is absent, no regular file, too large, or not UTF-8 text.
    """
    try:
        if not is_file(path):
            raise DataError(f"{path}: no such file")
        if (size := path.stat().st_size) > MAX_RECORD:
            raise DataError(f"{path}: has {size:,} bytes, expected a record of at most {MAX_RECORD:,}")
        return decode_text(path.read_bytes())  # somebody may have saved it in an editor since
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise DataError(f"{path}: is not UTF-8 text ({reason})") from error


def is_file(path: Path) -> bool:
    """Whether there is a regular file that this user can see; never raises, even if the text is no valid path."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_present(path: Path) -> bool:
    """Whether there is anything that this user can see; never raises."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def explain_missing_torch() -> str:
    """Why torch can't be used here; empty if it can."""
    try:
        import abawkit.models.weights  # noqa: F401 - it needs torch, and so does whoever asks
    except (ImportError, OSError, RuntimeError) as error:  # what a broken torch raises
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def make_plain(value: Any, depth: int = _DEPTH) -> Any:
    """A value as JSON: non-finite numbers as null, unknown types as text, values nested too deeply as ``...``."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not depth:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): make_plain(entry, depth - 1) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [make_plain(entry, depth - 1) for entry in value]
    return str(value)
