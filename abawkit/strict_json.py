"""Reading JSON objects strictly: every key is known, no value is guessed."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from abawkit.errors import DataError, printable


def load_strictly(path: Path, expected: str, limit: int) -> "StrictObject":
    """Reads a file that holds one JSON object, in which no key stands twice and every number is finite.

    Args:
        path: The file.
        expected: What it should be, for messages.
        limit: Most bytes that it may have.

    Raises:
        DataError: If it is anything else.
    """
    try:
        if (size := path.stat().st_size) > limit:
            raise DataError(f"{path}: has {size:,} bytes, expected {expected}, of at most {limit:,}")
        content = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); expected {expected}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({printable(str(error)[:200])}); expected {expected}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds JSON, but no object; expected {expected}")
    return StrictObject(path, "", content)


@dataclass
class StrictObject:
    """An object of a file, whose keys are taken one by one; those that are left are unknown.

    Attributes:
        path: The file, for messages.
        name: What leads to this object in it, with a dot behind each key.
        content: The object.
        taken: The keys that were asked for.
    """

    path: Path
    name: str
    content: dict[str, Any]
    taken: set[str] = field(default_factory=set)

    def has(self, key: str) -> bool:
        """Whether the object has a key."""
        return key in self.content

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is."""
        self.taken.add(key)
        return self.content.get(key, default)

    def mapping(self, key: str) -> "StrictObject":
        """The object of a key; an empty one where the key is absent."""
        value = self.take(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, value, "an object")
        return StrictObject(self.path, f"{self.name}{printable(key)}.", value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """The number of a key, in `low`..`high`; an absent one without a default is refused."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, value, f"a number, {low:g}..{high:g}")
        return float(value)

    def wrong(self, key: str, value: Any, expected: str) -> DataError:
        """The error of a value that is not what is expected."""
        return DataError(f"{self.path}: {self.name}{printable(key)}: got {_shown(value)}, expected {expected}")

    def finish(self) -> None:
        """Refuses the keys that nothing has asked for."""
        for key in self.content:
            if key not in self.taken:
                known = ", ".join(sorted(self.taken))
                raise DataError(f"{self.path}: {self.name}{printable(key)}: unknown key; expected any of {known}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("one key stands twice in an object")
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _shown(value: Any) -> str:
    return "nothing" if value is None else printable(f"{value!r:.60}")
