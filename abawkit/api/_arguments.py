"""What the functions accept: paths, one value or several, assignments."""

import csv
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from abawkit.errors import DataWarning

StrPath = str | os.PathLike[str]
Progress = Callable[[int, int], None]


def as_list(given: str | Sequence[str]) -> list[str]:
    """One word, or several."""
    return [given] if isinstance(given, str) else list(given)


def as_paths(given: StrPath | Sequence[StrPath] | None) -> list[Path] | None:
    """One path, or several."""
    if given is None:
        return None
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(path) for path in given]


def as_assignments(given: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """``KEY=VALUE`` as the command line takes it; values of a mapping are written as TOML."""
    if isinstance(given, Mapping):
        return [f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in given.items()]
    return as_list(given)


def as_columns(given: Mapping[str, str] | Sequence[str]) -> list[str]:
    """``FIELD=COLUMN`` as the command line takes it; columns of a mapping may hold commas."""
    if not isinstance(given, Mapping):
        return as_list(given)
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(f"{name}={column}" for name, column in given.items())
    return [text.getvalue()]


def warn(text: str) -> None:
    """Warns whoever called a function of the API."""
    warnings.warn(text, DataWarning, stacklevel=4)
