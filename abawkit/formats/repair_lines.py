"""Repairs within lines that change how a line is written, never what it means."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from abawkit.formats.base import Column
from abawkit.formats.layout import normalise_layout
from abawkit.formats.rows import INTEGER_WITH_POINT, REAL, shorten
from abawkit.formats.text import BOM, IMAGE_HEADERS
from abawkit.frame_names import IMAGE_SUFFIXES

_CANONICAL = {"image": r'[^,\s"](?:[^,"]*[^,\s"])?', "real": r'[^,\s"]+', "integer": "(?:0|[1-9][0-9]*)"}
_SHORT_NAMES = {"v": "valence", "a": "arousal", "e": "expression", "au": "aus"} | {
    name.lower(): "image" for name in IMAGE_HEADERS
}


@dataclass(frozen=True)
class Repair:
    """One kind of correction, in one line or in many.

    Attributes:
        what: What it was and what it is now, in one line.
        column: Name of the column, or ``""`` where it is no single cell's.
        lines: Lines of the file as it was, counted from 1, in order; empty where it is the file's as a whole.
        file: Name of the file within a folder.
    """

    what: str
    column: str
    lines: tuple[int, ...]
    file: str = ""


@dataclass
class RepairNotes:
    """The corrections so far, each kind once, with all its lines."""

    lines: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, what: str, line: int | None = None, column: str = "") -> None:
        """Adds a line of a correction; None for the file as a whole."""
        lines = self.lines.setdefault((what, column), [])
        if line is not None:
            lines.append(line)

    def repairs(self, file: str = "") -> list[Repair]:
        """All corrections, each where it was first made."""
        return [Repair(what, column, tuple(lines), file) for (what, column), lines in self.lines.items()]


@dataclass
class RepairedText:
    """A file whose lines have been repaired one by one.

    Attributes:
        header: Its first line.
        rows: The other lines.
        numbers: Line of the header and of each row in the original file.
        notes: The corrections.
        doubt: Why the header was not corrected, where that has to be reported.
    """

    header: str
    rows: list[str]
    numbers: list[int]
    notes: RepairNotes
    doubt: str = ""

    @property
    def content(self) -> bytes:
        """The file."""
        return "".join(f"{line}\n" for line in [self.header, *self.rows]).encode()

    def line_before(self, line: int) -> int:
        """The line in the file as it was of a line of `content`; 0, which is the file as a whole, stays."""
        last = len(self.numbers)
        return self.numbers[line - 1] if 1 <= line <= last else line and self.numbers[-1] + line - last


def repair_text(raw: bytes, header: str, columns: Sequence[Column], images: Sequence[str] = ()) -> RepairedText:
    """Repairs the lines of a file one by one.

    Args:
        raw: UTF-8 text as it is in the file, not blank throughout.
        header: The official header.
        columns: Of a row. Without an image among them, rows are known by their position alone: blank lines between
            them stay.
        images: Names of the list that the file answers.
    """
    notes = RepairNotes()
    lines, numbers = _split_lines(raw, notes, between=columns[0].kind == "image")
    lines, deviations = normalise_layout(lines, columns, images)
    for deviation in deviations:
        for row in deviation.rows:
            notes.add(deviation.repair, numbers[row])
    found, doubt = lines[0], ""
    if found != header:
        if _is_row(found, columns):
            lines.insert(0, header)
            numbers.insert(0, numbers[0])
            notes.add(f"header added: '{header}'")
        else:
            meant, doubt = _match_header(found, header, columns)
            if meant:
                notes.add(f"header '{shorten(found)}' became '{header}'", numbers[0])
                lines[0] = header
    canonical = re.compile(",".join(_CANONICAL[column.kind] for column in columns))
    rows = [
        text if canonical.fullmatch(text) else _repair_row(text, line, columns, notes)
        for text, line in zip(lines[1:], numbers[1:], strict=True)
    ]
    return RepairedText(lines[0], rows, numbers, notes, doubt)


def _split_lines(raw: bytes, notes: RepairNotes, *, between: bool) -> tuple[list[str], list[int]]:
    """The lines without their ends and blanks, and the number of each; blank ones `between` others go too."""
    if raw.startswith(BOM):
        notes.add("byte-order mark removed")
        raw = raw.removeprefix(BOM)
    if b"\r" in raw:
        for line, end in enumerate(raw.splitlines(keepends=True), start=1):
            if end.endswith(b"\r\n"):
                notes.add("line end CRLF became LF", line)
            elif end.endswith(b"\r"):
                notes.add("line end CR became LF", line)
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    texts = raw.decode().split("\n")
    if texts[-1]:
        notes.add("newline added at the end", len(texts))
    else:
        del texts[-1]
    last = max((line for line, text in enumerate(texts, start=1) if text.strip(" \t")), default=0)
    lines, numbers = [], []
    for line, text in enumerate(texts, start=1):
        bare = text.rstrip(" \t")
        if not bare and (between or line > last):
            notes.add("blank line removed", line)
            continue
        if bare != text:
            notes.add("trailing blanks removed", line)
        lines.append(bare)
        numbers.append(line)
    return lines, numbers


def _is_row(line: str, columns: Sequence[Column]) -> bool:
    """Whether a first line is no header but a row."""
    fields = [_strip_cell(cell) for cell in line.split(",")]
    if columns[0].kind == "image":
        return fields[0].lower().endswith(IMAGE_SUFFIXES)
    return any(fields) and all(REAL.fullmatch(cell) for cell in fields if cell)


def _match_header(line: str, header: str, columns: Sequence[Column]) -> tuple[bool, str]:
    """Whether a header certainly means the official one; if not, why, where that has to be reported.

    It does where its names are those of the official header, or of the columns, each in its position. Names at the end
    may be absent, names may be short, and commas may follow. A name in another position may mean that columns were
    swapped, and any other word that they hold something else: the cells don't show it.
    """
    forms = [header.split(","), [column.name for column in columns]]
    names = [_strip_cell(cell) for cell in line.rstrip(", \t").split(",")]
    for place, name in enumerate(names):
        places = {
            at
            for form in forms
            for at, official in enumerate(form)
            if _normalise_name(official) == _normalise_name(name)
        }
        if places and place not in places:
            reason = f"the header has '{shorten(name)}' in another position than the official one"
            return False, f"{reason}; whether the columns are in another order too is unknown"
    agreed, form = max(((_count_matches(names, form), form) for form in forms), key=lambda pair: pair[0])
    if agreed in {0, len(names)}:
        return agreed > 0, ""  # where none agrees, the check of the format reports the header
    got = f"'{shorten(names[agreed])}'" if names[agreed] else "nothing"
    wanted = f"'{form[agreed]}'" if agreed < len(form) else "no name"
    return False, f"the header has {got} where the official one has {wanted}; what the column holds is unknown"


def _count_matches(names: list[str], form: list[str]) -> int:
    """How many names, from the first, are those of a form."""
    pairs = enumerate(zip(names, form, strict=False))
    return next(
        (at for at, (name, official) in pairs if _normalise_name(name) != _normalise_name(official)),
        min(len(names), len(form)),
    )


def _normalise_name(name: str) -> str:
    """A column's name without what differs between systems: ``AU01`` and ``au 1`` are one, so are all of images."""
    key = re.sub(r"(?<=au)0+(?=[0-9])", "", re.sub(r"\s", "", _strip_cell(name)).lower())
    return _SHORT_NAMES.get(key, key)


def _strip_cell(cell: str) -> str:
    """A cell without the blanks and the quotes around it."""
    bare = cell.strip(" \t")
    if len(bare) >= 2 and bare[0] == bare[-1] == '"' and '"' not in bare[1:-1]:
        bare = bare[1:-1].strip(" \t")
    return bare


def _repair_row(text: str, line: int, columns: Sequence[Column], notes: RepairNotes) -> str:
    """One row, repaired where its meaning is certain."""
    cells = text.split(",")
    width = len(columns)
    kept = len(cells)
    while kept > width and not _strip_cell(cells[kept - 1]):
        kept -= 1
    if kept < len(cells):
        notes.add("trailing comma removed" if kept + 1 == len(cells) else "trailing commas removed", line)
        del cells[kept:]
    if len(cells) == width + 1 and columns[0].kind == "image" and not _strip_cell(cells[1]):
        notes.add("comma behind the image name removed", line)
        del cells[1]
    if len(cells) == width:
        for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
            cells[place] = bare = _repair_integer(cell) if column.kind == "integer" else _strip_cell(cell)
            if bare != cell:
                notes.add(f"'{shorten(cell)}' became '{shorten(bare)}'", line, column.name)
    return ",".join(cells)


@functools.lru_cache(maxsize=1024)
def _repair_integer(cell: str) -> str:
    """An integer as it is written in official files, be it out of range; what is none stays."""
    bare = _strip_cell(cell)
    if not INTEGER_WITH_POINT.fullmatch(bare):
        return bare
    digits = bare.partition(".")[0].lstrip("+-").lstrip("0")
    return ("-" if bare[0] == "-" and digits else "") + (digits or "0")
