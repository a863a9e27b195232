"""Tables whose whole layout differs from the official one: one cause of many defects is reported once.

Spreadsheets separate cells by semicolons, pandas writes an index in front, names keep the folder that frames were read
from, and values are written as Python prints them. Such text is recognised here and rewritten line by line, so that
line numbers stay the same.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from abawkit.errors import format_count
from abawkit.formats.base import Column
from abawkit.formats.rows import shorten
from abawkit.frame_names import IMAGE_SUFFIXES
from abawkit.labels import ACTION_UNITS

_DELIMITERS: Final = {";": "';'", "\t": "tabs", "|": "'|'", " ": "blanks"}
_MAX_INDEXES: Final = 3
"""Largest number of index columns before a row: reading and writing a table in pandas can add one each time."""

_INTEGER: Final = re.compile(r'"?[0-9]+(?:\.0)?"?')
_INDEX_NAME: Final = re.compile(r'"?(?:|index|level_[0-9]+|Unnamed: [0-9]+(?:\.[0-9]+)?)"?')
_DECIMAL: Final = r"([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)"
_DECIMAL_CELL: Final = re.compile(rf' *"?{_DECIMAL}"? *')

_VALUE: Final = r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|True|False)"
_KEYWORDS: Final = re.compile(r"(?:, *(?:dtype|device|requires_grad|grad_fn)=[^,()]{1,60}){1,4}\)")
_CALL: Final = re.compile(
    rf"(?:(?:np|numpy|torch)\.)?(?:float|int|uint|bool|tensor|array)[0-9_]{{0,4}}\( *\[*{_VALUE}\.?\]* *\)"
)
_TRUTH: Final = re.compile(r"(?:(?:np|numpy)\.)?(True|False)_?")
_BRACKETS: Final = re.compile(rf"[\[(]{{0,2}}{_VALUE}[\])]{{0,2}}")


@dataclass(frozen=True)
class Deviation:
    """One way in which the layout of a table differs from the official one.

    Attributes:
        problem: What was found and what was expected.
        repair: What it was and what it is now.
        rows: Where, as positions in the lines that were given, ascending.
    """

    problem: str
    repair: str
    rows: tuple[int, ...]


def normalise_layout(
    lines: Sequence[str], columns: Sequence[Column], images: Sequence[str] = ()
) -> tuple[list[str], list[Deviation]]:
    """Rewrites a table in the official layout, as far as its meaning is certain.

    Args:
        lines: The lines of a file without their ends, a header among them or not.
        columns: The columns of a row of the format; the first may be the name of an image.
        images: Names of the list that the file answers.

    Returns:
        As many lines as were given, and how they deviated; a table in the official layout is returned as it is.
    """
    table = list(lines)
    named = columns[0].kind == "image"
    found = [_unwrap_values(table, columns), _join_decimals(table, columns), _replace_delimiter(table, columns)]
    found += [_drop_index(table, columns) for _ in range(_MAX_INDEXES)]
    if named and images:
        found += _rename_images(table, frozenset(images))
    return table, [deviation for deviation in found if deviation]


def describe_layout(content: bytes) -> str:
    """What is unusual in the first two lines of a refused table, and how to correct it; ``""`` where nothing is."""
    first, second = [*content[:4096].decode(errors="replace").split("\n"), ""][:2]
    for delimiter, name in _DELIMITERS.items():
        if delimiter in first and delimiter in second and "," not in first:
            return f"; its cells are separated by {name}: save it with commas, and with decimal points"
    if _INDEX_NAME.fullmatch(first.split(",")[0].strip()) and _INTEGER.fullmatch(second.split(",")[0].strip()):
        return "; its column 1 is an index: write it without one (index=False in pandas)"
    return ""


def _unwrap_values(lines: list[str], columns: Sequence[Column]) -> Deviation | None:
    """Takes numbers out of what Python prints around them: ``np.int64(1)``, ``tensor(0.2)``, ``[1, 0]``, ``True``."""
    example = ""

    def unwrap(line: str) -> str:
        nonlocal example
        if not any(sign in line for sign in ("(", "[", "True", "False")):
            return line
        cells = _CALL.sub(r"\1", _KEYWORDS.sub(")", line)).split(",")
        start = len(cells) - len(columns)
        for at, column in enumerate(columns):
            if column.kind != "image" and start >= 0:
                cells[start + at] = _unwrap_cell(cells[start + at], column)
        if example == "" and ",".join(cells) != line:
            example = next((cell for cell in re.split(r",(?![^()]*\))", line) if cell not in cells), line)
        return ",".join(cells)

    changed = _rewrite(lines, range(len(lines)), unwrap)
    if not changed:
        return None
    rounded = "; a printed tensor is rounded, float(x) writes all digits" if "tensor" in example else ""
    many = f"{len(changed):,} lines hold" if len(changed) > 1 else "1 line holds"
    return Deviation(
        f"{many} values as Python prints them, such as '{shorten(example.strip())}', expected plain numbers{rounded}",
        f"values as Python prints them, such as '{shorten(example.strip())}', became plain numbers",
        changed,
    )


def _unwrap_cell(cell: str, column: Column) -> str:
    bare = cell.strip()
    if truth := _TRUTH.fullmatch(bare):
        # A class or a number is never true or false; only the presence of an action unit is.
        return str(int(truth[1] == "True")) if column.name in ACTION_UNITS else cell
    bracketed = _BRACKETS.fullmatch(bare)
    return bracketed[1] if bracketed else cell


def _join_decimals(lines: list[str], columns: Sequence[Column]) -> Deviation | None:
    """Writes points into numbers that have decimal commas, in a table whose cells are separated by commas too."""
    parts = {"image": "([^,]+)", "real": f'"?{_DECIMAL}"?', "integer": '"?([0-9]+)"?'}
    row_pattern = re.compile(",".join(parts[column.kind] for column in columns))
    first = next((row for row, line in enumerate(lines[:2]) if row_pattern.fullmatch(line)), None)
    if first is None or not any(column.kind == "real" for column in columns):
        return None
    rows = [row for row, line in enumerate(lines) if row >= first and line]
    if not all(row_pattern.fullmatch(lines[row]) for row in rows):
        return None

    def join(line: str) -> str:
        cells = iter(line.split(","))
        return ",".join(
            f"{next(cells)}.{next(cells)}".replace('"', "") if column.kind == "real" else next(cells)
            for column in columns
        )

    changed = _rewrite(lines, rows, join)
    return Deviation("numbers have decimal commas, expected points", "decimal commas became points", changed)


def _replace_delimiter(lines: list[str], columns: Sequence[Column]) -> Deviation | None:
    """Writes commas between cells that something else separates, and points for decimal commas."""
    width = len(columns)
    body = [row for row, line in enumerate(lines) if line][1:] or [0]
    if width == 1 or (2 * sum(lines[row].count(",") + 1 >= width for row in body) > len(body) and "," in lines[0]):
        return None
    widths = range(width, width + _MAX_INDEXES + 1)
    delimiter = next((d for d in _DELIMITERS if all(lines[row].count(d) + 1 in widths for row in body)), "")
    if not delimiter or (delimiter == " " and "," in lines[0]):
        return None
    decimal = False

    def replace(line: str) -> str:
        nonlocal decimal
        cells = line.split(delimiter)
        for at, cell in enumerate(cells):
            if number := _DECIMAL_CELL.fullmatch(cell):
                cells[at] = f"{number[1]}.{number[2]}"
                decimal = True
        return ",".join(cells)

    changed = _rewrite(lines, range(len(lines)), replace)
    name = _DELIMITERS[delimiter]
    numbers = " and numbers have decimal commas" if decimal else ""
    return Deviation(
        f"cells are separated by {name}{numbers}, expected commas{' and decimal points' if decimal else ''}",
        f"{name} between cells became commas{', decimal commas became points' if decimal else ''}",
        changed,
    )


def _drop_index(lines: list[str], columns: Sequence[Column]) -> Deviation | None:
    """Takes away the column of row numbers that pandas and R write before all others."""
    head = lines[0].split(",")[0].strip() if lines else ""
    named = columns[0].kind == "image"
    headed = not _INTEGER.fullmatch(head)
    body = [row for row, line in enumerate(lines) if line][headed:]
    if not body or not _INTEGER.fullmatch(lines[body[0]].split(",")[0].strip()):
        return None
    cells = [lines[row].split(",") for row in body]
    if not all(len(row) > len(columns) and _INTEGER.fullmatch(row[0].strip()) for row in cells):
        return None
    index = [int(row[0].strip().strip('"').removesuffix(".0")) for row in cells]
    unnamed = headed and bool(_INDEX_NAME.fullmatch(head))
    if named:
        # An index behind which there is another still has the image's name further on.
        names = [[cell.strip(' "').lower() for cell in row[1 : 1 + _MAX_INDEXES]] for row in cells]
        if not all(any(name.endswith(IMAGE_SUFFIXES) for name in row) for row in names):
            return None
    elif not unnamed or index != list(range(index[0], index[0] + len(index))) or index[0] not in (0, 1):
        return None  # where rows have no names, only numbers without a gap say that none is missing
    rows = [0, *body] if unnamed else body
    changed = _rewrite(lines, rows, lambda line: line.partition(",")[2])
    start = ", ".join(str(number) for number in index[:3])
    return Deviation(
        f"column 1 is an index ({start}{', ...' if len(index) > 3 else ''}), expected "
        f"{'the image' if named else columns[0].name} (index=False in pandas)",
        f"the index in column 1 ({start}{', ...' if len(index) > 3 else ''}) removed",
        changed,
    )


def _rename_images(lines: list[str], listed: frozenset[str]) -> list[Deviation | None]:
    """Gives images the names of the list, where they have folders before them or the backslashes of Windows.

    A folder before one name of many is a wrong name; before every name, it is where the frames were read from.
    """
    prefixes: Counter[str] = Counter()
    backslashes: list[int] = []
    behind: list[int] = []
    names = [line.partition(",")[0].strip(' "') for line in lines]
    images = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in names)
    everywhere = images > 1 and not any(name.replace("\\", "/") in listed for name in names)
    for row, (line, name) in enumerate(zip(lines, names, strict=True)):
        if name in listed:
            continue
        parts = name.replace("\\", "/").split("/")
        starts = [at for at in range(len(parts)) if "/".join(parts[at:]) in listed]
        if len(starts) != 1 or (starts[0] and not everywhere):
            continue
        if "\\" in name:
            backslashes.append(row)
        if starts[0]:
            behind.append(row)
            prefixes["/".join(parts[: starts[0]]) + "/"] += 1
        lines[row] = ",".join(["/".join(parts[starts[0] :]), *line.split(",")[1:]])
    deviations: list[Deviation | None] = []
    if backslashes:
        rows = f"{len(backslashes):,} of {format_count(images, 'row')}"
        problem = f"names of images have '\\' between folder and file ({rows}), expected '/'"
        deviations.append(Deviation(problem, "'\\' in names of images became '/'", tuple(backslashes)))
    if behind:
        rows = f"{len(behind):,} of {format_count(images, 'row')}"
        prefix = f"'{shorten(prefixes.most_common(1)[0][0])}'"
        if len(prefixes) > 1:
            prefix += f" or {format_count(len(prefixes) - 1, 'other path')}"
        problem = f"names of images are those of the list behind {prefix} ({rows}), expected nothing before them"
        deviations.append(Deviation(problem, f"{prefix} before names of images removed", tuple(behind)))
    return deviations


def _rewrite(lines: list[str], rows: Iterable[int], change: Callable[[str], str]) -> tuple[int, ...]:
    """Changes lines in place; returns the positions of those that changed."""
    changed = []
    for row in rows:
        line = change(lines[row])
        if line != lines[row]:
            lines[row] = line
            changed.append(row)
    return tuple(changed)
