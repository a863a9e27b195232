"""Pages: whole, escaped, without anything loaded from elsewhere."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from abawkit.errors import DataError
from abawkit.reports.charts import draw_bars, draw_density, draw_lines
from abawkit.reports.page import REPORT, Cell, Chart, Page, ReportTable, Section, Tile, render_page, write_page

EVIL = "<script>alert(1)</script>\"' onload=x \u202e</title>"


def make_page(text: str = "plain") -> Page:
    table = ReportTable(text, ["", text], [[text, Cell(text, 0.5)], [text, text]], sortable=True)
    svg = draw_bars("bars", text, text, ["a", "b"], [0.5, 1.0], low=[0.4, 0.9], high=[0.6, 1.0])
    chart = Chart(text, text, svg, table)
    section = Section(text, text, tiles=[Tile(text, text, text)], charts=[chart], tables=[table])
    return Page(text, text, [section] * 3, [(text, text)])


class Reader(HTMLParser):
    """The elements of a page, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    handle_startendtag = handle_starttag


def test_the_same_content_gives_the_same_bytes() -> None:
    assert render_page(make_page()) == render_page(make_page())


def test_text_is_never_markup() -> None:
    plain, evil = Reader(render_page(make_page())), Reader(render_page(make_page(EVIL)))
    assert evil.tags == plain.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in plain.attributes]
    assert "\u202e" not in render_page(make_page(EVIL))


def test_nothing_is_loaded_and_only_the_pages_own_script_may_run() -> None:
    text = render_page(make_page())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1].replace("&#43;", "+")
    links = [
        value for name, value in Reader(text).attributes if name in ("src", "href", "xlink:href", "srcset", "action")
    ]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(files("abawkit.reports").joinpath("page.js").read_bytes()) <= 10_000


def test_every_chart_has_a_role_a_title_a_text_and_its_numbers() -> None:
    text = render_page(make_page("words"))
    for figure in re.findall(r"<figure>.*?</figure>", text, re.DOTALL):
        svg = re.search(r'<svg [^>]*role="img" aria-labelledby="(.+?)" aria-describedby="(.+?)">', figure)
        assert svg
        assert f'<title id="{svg[1]}">words</title><desc id="{svg[2]}">words</desc>' in figure
        assert "<table" in figure
        assert "<caption>words</caption>" in figure


def test_charts_have_the_themes_colours_text_as_text_and_names_of_their_own() -> None:
    values = np.linspace(-1, 1, 50)
    charts = {
        "one": draw_density("one", "t", "d", values, values**3),
        "two": draw_lines("two", "t", "d", np.arange(50), [("annotated", values), ("predicted", -values)], gap=5),
        "three": draw_bars("three", "t", "d", ["AU1"], [0.3]),
    }
    names: list[str] = []
    for name, svg in charts.items():
        assert svg.startswith("<svg ")
        assert "var(--ink)" in svg
        assert "#12345" not in svg
        assert "<text" in svg
        names += re.findall(r'\bid="([^"]*)"', svg)
        assert all(each.startswith(f"{name}-") for each in re.findall(r'\bid="([^"]*)"', svg))
        assert all(f'id="{each}"' in svg for each in re.findall(r"url\(#([^)]*)\)", svg))
    assert len(names) == len(set(names))
    assert len(charts["one"]) < 40_000  # many rows are an image


def test_a_page_is_replaced_only_by_a_page(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", make_page())
    (tmp_path / "b.html").write_text("<html>mine</html>")
    assert REPORT.difference(tmp_path / "a.html") == ""
    assert REPORT.difference(tmp_path / "b.html") == "is no report of abawkit"
    with pytest.raises(DataError, match="absent"):
        write_page(tmp_path / "absent" / "a.html", make_page())


def test_a_table_that_would_fill_pages_scrolls() -> None:
    def show(rows: int) -> str:
        table = ReportTable("videos", ["", "rows"], [["v", "1"]] * rows)
        return render_page(Page("a", "b", [Section("c", tables=[table])]))

    assert 'class="table long"' not in show(60)
    assert 'class="table long"' in show(61)


def test_long_text_in_a_cell_gets_room_on_a_phone() -> None:
    table = ReportTable("notes", ["", "note", "number"], [["a", "n" * 41, "1"], ["b", "n" * 40, "2"]], text_columns=2)
    text = render_page(Page("a", "b", [Section("c", tables=[table])]))
    assert f'<td class="text prose">{"n" * 41}</td>' in text
    assert f"<td class=text>{'n' * 40}</td>" in text


def test_columns_of_text_are_named_as_such() -> None:
    table = ReportTable("settings", ["key", "value", "number"], [["seed", "one", "1"]], text_columns=2)
    text = render_page(Page("a", "b", [Section("c", tables=[table])]))
    cells = re.findall(r'<(t[hd])( scope="\w+")?( class=text)?>(\w+)</', text)
    assert [(name, bool(is_text)) for _, _, is_text, name in cells] == [
        ("key", True), ("value", True), ("number", False), ("seed", False), ("one", True), ("1", False)
    ]  # fmt: skip
