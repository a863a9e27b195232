"""Probabilities in an ``.npz``: see `abawkit.postprocessing.stored` for its form."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from abawkit.errors import DataError, printable
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.columns import COLUMNS, Cells
from abawkit.tables import Array

MAX_BYTES: Final = 1 << 30
"""Most that an archive may unpack to: a hundred times the probabilities of the official test list."""

MAX_ROWS: Final = 1 << 23
"""More rows than all frames of Aff-Wild2."""

_ORDERS: Final[Mapping[str, Task]] = {"dimensions": "va", "expressions": "expression", "action_units": "au"}
_NAMES: Final = ("images", "list_digest", *TASKS, *_ORDERS)
_FORM: Final = "expected the .npz of `abawkit predict`, or images and any of va (n, 2), expression (n, 8), au (n, 12)"


def read_archive(path: Path) -> Cells:
    """Reads an ``.npz``; nothing is unpickled, and nothing is unpacked that would be too large.

    Raises:
        DataError: If it does not have the form.
    """
    found = _arrays(path)
    if "images" not in found or not any(task in found for task in TASKS):
        raise _refusal(path, f"it has {', '.join(sorted(found)) or 'nothing'}")
    images = _texts(path, "images", found["images"])
    columns: dict[Task, Array] = {}
    for task in TASKS:
        if task in found:
            column, shape = found[task], (len(images), len(COLUMNS[task]))
            if column.shape != shape or column.dtype.kind != "f":
                raise _refusal(path, f"{task} is {column.dtype} {column.shape}, expected floats {shape}")
            columns[task] = column
    for what, task in _ORDERS.items():
        if what in found and task not in columns:
            raise _refusal(path, f"it has {what}, which names the columns of {task}, and no {task}")
        if what in found:
            columns[task] = columns[task][:, _order(path, what, _texts(path, what, found[what]), COLUMNS[task])]
    listed = None
    if "list_digest" in found:
        listed = ", ".join(_texts(path, "list_digest", np.atleast_1d(found["list_digest"])))
    return Cells(images, columns, listed)


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of an archive; nothing is unpickled."""
    try:
        with path.open("rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in entries}
            if len(sizes) < len(entries):
                raise ValueError("it has two arrays of one name")
            if unknown := sorted(set(sizes) - set(_NAMES)):
                raise ValueError(f"it has '{printable(unknown[0][:60])}'")
            if sum(sizes.values()) > MAX_BYTES:
                raise ValueError(f"it unpacks to {sum(sizes.values()):,} bytes")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in sizes}
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); {_FORM}") from error
    except Exception as error:  # a damaged or hostile archive can end in many ways: compression, encryption, sizes
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "allow_pickle" in reason:
            reason = "it holds Python objects; store names as np.array(names, dtype=str), numbers as floats"
        raise _refusal(path, reason) from error


def _texts(path: Path, name: str, column: Array) -> list[str]:
    if column.ndim != 1 or column.dtype.kind not in "US" or len(column) > MAX_ROWS:
        raise _refusal(path, f"{name} is {column.dtype} {column.shape}, expected names, one a row")
    try:
        texts = [text.decode() if isinstance(text, bytes) else text for text in column.tolist()]
        "".join(texts).encode()
    except UnicodeError as error:
        raise _refusal(path, f"{name} holds text that is not Unicode") from error
    return texts


def _order(path: Path, what: str, named: Sequence[str], expected: Sequence[str]) -> list[int]:
    """Where each label's column is; every label must be named once."""
    if sorted(named) != sorted(expected):
        got = printable(", ".join(named)[:200])
        raise _refusal(path, f"{what} names {got}; expected each of {', '.join(expected)} once")
    return [named.index(name) for name in expected]


def _refusal(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: does not hold probabilities ({printable(reason)}); {_FORM}")
