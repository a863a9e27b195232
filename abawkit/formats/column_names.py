"""Names of columns in a header: their meaning, the order that they give, and the track that they belong to.

Tables of entrants have columns in any order, so a header is read or refused by name, never just skipped.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from abawkit.errors import list_first
from abawkit.formats.label_columns import ANSWER_COLUMNS, HEADER_NAMES
from abawkit.formats.rows import shorten
from abawkit.labels import ACTION_UNITS, COMPOUND_EXPRESSIONS, EXPRESSIONS, FIELDS, TASKS, Answer

ALL_UNITS: Final = "aus"
"""The name of all twelve action units together in the official header of the multi-task track."""

OTHER_TRACK: Final = "; this is a file of "
"""In the message of a problem, before the names of the formats that have such a header."""

_SYNONYMS: Final = {
    **dict.fromkeys(("image", "imagelocation", "imagename"), "image"),
    **dict.fromkeys(("valence", "val", "v"), "valence"),
    **dict.fromkeys(("arousal", "aro", "a"), "arousal"),
    **dict.fromkeys(("expression", "expr", "exp", "emotion", "e"), "expression"),
    **dict.fromkeys(("aus", "au", "actionunits"), ALL_UNITS),
    **dict.fromkeys(("compound", "compoundexpression"), "compound"),
    **{name.lower(): name for name in EXPRESSIONS},
    **{name.replace("_", "").lower(): name for name in COMPOUND_EXPRESSIONS},
}
_UNIT: Final = re.compile(r"(?:au|actionunit)0*([1-9][0-9]?)")
_RESEMBLING: Final = re.compile(
    "|".join(["valen", "arous", "expr", "emotion", "au[0-9]", *map(str.lower, EXPRESSIONS)])
)
"""Found in unknown names that still resemble a known one, as ``arousal_mean``."""

_SHOWN_NAMES: Final = 8
"""Names that a message lists before it only counts."""


class ColumnOrder(NamedTuple):
    """In which order the rows of a file have their columns.

    Attributes:
        columns: The official names, in the order of the file.
        remark: A warning about the header; ``""`` where there is none.
    """

    columns: tuple[str, ...]
    remark: str = ""


def split_header(header: str) -> list[str]:
    """The names behind the first field of a header, without blanks, quotes and the commas at its end."""
    names = [name.strip(" \t").strip("\"'").strip(" \t") for name in header.rstrip(", \t").split(",")]
    return names[1:]


def find_column(name: str) -> str | None:
    """The official name of a column, however it is written: ``AU1`` of ``au_01``; None for a name that is not known.

    A unit outside the official twelve keeps its number, as in ``AU5``.
    """
    key = re.sub(r"[\s_-]", "", name).lower()
    if unit := _UNIT.fullmatch(key):
        return f"AU{unit[1]}"
    return _SYNONYMS.get(key)


def order_columns(header: str, columns: Sequence[str] = FIELDS[1:]) -> ColumnOrder:
    """Reads a header by name.

    It may be narrower than rows are, as the official one is: names that are not given are those of the columns that
    follow. ``aus`` means all twelve units.

    Args:
        header: The first line of a file; its first field names the column of images.
        columns: The official names of the other columns, in the official order.

    Returns:
        The order of the columns in the file.

    Raises:
        ValueError: If the header names a column twice, one that such a file does not have, or columns in an order that
            does not give the position of each. The text has what was found and what was expected.
    """
    names = split_header(header)
    known = [find_column(name) for name in names]
    if names and not any(known) and not any(_RESEMBLING.search(name.lower()) for name in names):
        remark = f"the header names no known column ({list_names(names)}); columns are read in the official order"
        return ColumnOrder(tuple(columns), remark)
    named: list[str] = []
    for name, column in zip(names, known, strict=True):
        meant = ACTION_UNITS if column == ALL_UNITS else (column or "",)
        if not set(meant) <= set(columns):
            got = f"names '{shorten(name)}'" if name else "has a column without a name"
            raise ValueError(f"the header {got}, expected {_describe_columns(columns)}")
        if set(meant) & set(named):
            raise ValueError(f"the header names {column} twice, expected each column once")
        named += meant
    if named == list(columns[: len(named)]):
        return ColumnOrder(tuple(columns))
    if sorted(named) != sorted(columns):
        absent = list_names([column for column in columns if column not in named])
        raise ValueError(
            f"the header names {list_names(names)} and leaves out {absent}, so the order of the columns is unknown; "
            "expected all columns, or the first ones in the official order"
        )
    moved = [column for column, official in zip(named, columns, strict=True) if column != official]
    remark = f"columns are read by name: the header has {list_names(moved)} in another order than the official one"
    return ColumnOrder(tuple(named), remark)


def find_track(header: str) -> tuple[Answer, ...] | None:
    """The answers of the track whose official header this is; None for any other header.

    Args:
        header: The first line of a file. Names may be written in any way that `find_column` knows, units as ``aus``.
    """
    named = _expand_names(split_header(header))
    return next((tasks for tasks, forms in _TRACKS.items() if named in forms), None)


def find_other_track(header: str, tasks: Sequence[Answer]) -> tuple[Answer, ...] | None:
    """The answers of another track, where this is its official header; None for any other header."""
    found = find_track(header)
    return found if found != tuple(tasks) else None


def refuse_other_track(header: str, tasks: Sequence[Answer]) -> None:
    """Refuses the header of a list that names anything but the answers of a track.

    Args:
        header: The first line of the list. Without any name behind that of the images it fits every track.
        tasks: The answers of the track.

    Raises:
        ValueError: If it names anything else. The text has what was found and what was expected.
    """
    names = split_header(header)
    forms = _TRACKS.get(tuple(tasks)) or (tuple(name for answer in tasks for name in ANSWER_COLUMNS[answer]),)
    named, other = _expand_names(names), find_track(header)
    if other in (None, tuple(tasks)) and any(_is_beginning(named, form) for form in forms):
        return
    raise ValueError(f"the header names {list_names(names)}, expected {_describe_columns(forms[0])}")


def _is_beginning(named: Sequence[str], form: Sequence[str]) -> bool:
    """Whether names are all or the first ones of a form. Of classes all are: fewer are those of another edition."""
    enough = len(form) if form in _CLASS_FORMS and named else 0
    return len(named) >= enough and tuple(named) == tuple(form[: len(named)])


def list_names(names: Sequence[str]) -> str:
    """The first names of a sequence, and how many more there are."""
    return ", ".join(list_first([shorten(name, 30) or "nothing" for name in names], _SHOWN_NAMES))


def _expand_names(names: Sequence[str]) -> tuple[str, ...]:
    """Official names, the units one by one; what is not known stays as it is written, in quotes."""
    columns = [find_column(name) or f"'{name}'" for name in names]
    return tuple(unit for column in columns for unit in (ACTION_UNITS if column == ALL_UNITS else (column,)))


def _describe_columns(columns: Sequence[str]) -> str:
    """The columns of a file in few words."""
    if set(ACTION_UNITS) < set(columns):
        columns = [*(column for column in columns if column not in ACTION_UNITS), "12 action units (aus)"]
    return ", ".join(columns)


_CLASS_FORMS: Final = (HEADER_NAMES["expression"], HEADER_NAMES["compound"])

_TRACKS: Final[dict[tuple[Answer, ...], tuple[tuple[str, ...], ...]]] = {
    TASKS: (FIELDS[1:],),
    **{(answer,): (HEADER_NAMES[answer], ANSWER_COLUMNS[answer]) for answer in HEADER_NAMES},
}
"""What the header of each track names, the official form first."""
