"""A report as one HTML file: sections of numbers, tables and charts, without anything loaded from elsewhere.

The content policy allows the page's own script and styles alone. All text is escaped by Jinja2; only SVG that
`abawkit.reports.drawing` makes goes in as it is. The same content gives the same bytes.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from abawkit.errors import printable
from abawkit.system.files import Kind, write_bytes

GENERATOR: Final = "abawkit"
_MARK: Final = f'<meta name="generator" content="{GENERATOR} '


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What it shows.
        shade: How dark its background is, in [0, 1].
    """

    text: str
    shade: float = 0.0


@dataclass(frozen=True)
class ReportTable:
    """A table.

    Attributes:
        caption: What it shows, in a few words.
        columns: Headings.
        rows: Cells; a string is a cell without a shade.
        text_columns: How many columns at the left are text; the first names the row.
        sortable: Whether a script sorts by a column and filters rows by a word, where scripts run.
        wide: Whether it takes the whole width of the page.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    text_columns: int = 1
    sortable: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart, with the numbers that it is drawn from.

    Attributes:
        title: What it shows.
        text: What is to be seen in it, for those who can't see it.
        svg: From `abawkit.reports.charts`.
        table: Its numbers.
    """

    title: str
    text: str
    svg: str
    table: ReportTable


@dataclass(frozen=True)
class Tile:
    """One number in large type.

    Attributes:
        label: What it is.
        value: The number.
        note: What it is to be read with: a range, a unit.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Heading.
        text: A paragraph on how to read it.
        tiles: Numbers.
        charts: Charts.
        tables: Tables.
        notes: Sentences to be read with them, as a list.
    """

    title: str
    text: str = ""
    tiles: Sequence[Tile] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[ReportTable] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: Heading.
        subtitle: What it is about: files, rows, protocol.
        sections: Parts, in order.
        facts: Name and value of what the report was made from, for the end of the page.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = field(default=())


def render_page(page: Page) -> str:
    """The HTML of a page."""
    folder = files(__package__)
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["svg"] = Markup
    return environment.get_template("page.html.j2").render(
        page=page,
        generator=f"{GENERATOR} {version('abawkit')}",
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=_hash_source(script),
        as_cell=lambda cell: cell if isinstance(cell, Cell) else Cell(cell),
    )


def write_page(path: Path, page: Page) -> None:
    """Writes a page, whole or not at all.

    Raises:
        DataError: If it can't be written.
    """
    write_bytes(path, render_page(page).encode())


def _hash_source(script: str) -> str:
    """The hash by which a content policy allows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _difference_from_report(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(2048).decode(errors="replace")
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return "" if _MARK in start else "is no report of abawkit"


REPORT: Final = Kind("a report", _difference_from_report)
"""Told by the name of the program at the start of the page."""
