"""The report of a curation: every number is the one that curation counted, and the lists' rows are not in it."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from abawkit.choices import Split
from abawkit.curation import Curation, Sources, curate
from abawkit.curation.curate import ExaminedRows
from abawkit.errors import DataWarning
from abawkit.reports.curation import make_curation_page
from abawkit.reports.page import Cell, Page, ReportTable, render_page

EVIL = "<script>alert(1)<"  # what the name of a video may hold
UNITS = ",0" * 11 + ",1"


def write_lists(folder: Path, train: list[str], validation: list[str]) -> Sources:
    paths = [folder / "train.txt", folder / "validation.txt"]
    for path, rows in zip(paths, (train, validation), strict=True):
        path.write_text("\n".join(["image", *rows]))
    return Sources(train=paths[0], validation=paths[1], frames=None)


def curate_rows(folder: Path, train: list[str], validation: list[str]) -> tuple[Curation, Mapping[Split, ExaminedRows]]:
    found: dict[Split, ExaminedRows] = {}
    out = folder / "curated"
    out.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        result = curate(write_lists(folder, train, validation), out, repeats="unique", on_rows=found.update)
    return result, found


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """Of 8 training rows: one without an expression, two of one image that contradict each other, five whole."""
    train = [f"{EVIL}a/{frame}.jpg,0.5,0.1,3{UNITS}" for frame in (1, 2, 3)]
    train += [f"b/1.jpg,0.5,0.1,-1{UNITS}", f"b/5.jpg,-0.5,0.1,4{UNITS}", f"b/9.jpg,0,0,4{UNITS}"]
    train += [f"b/20.jpg,0.5,0.1,0{UNITS}", f"b/20.jpg,0.5,0.1,1{UNITS}"]
    result, rows = curate_rows(tmp_path, train, [f"c/{frame}.jpg,0.25,0.5,3{UNITS}" for frame in (1, 2)])
    return make_curation_page(result, rows, files=[(EVIL, tmp_path / "train.txt")])


def find_table(page: Page, title: str) -> ReportTable:
    (section,) = (section for section in page.sections if section.title == title)
    return section.tables[0]


def find_row(table: ReportTable, name: str) -> list[str]:
    (row,) = (row for row in table.rows if row[0] == name)
    return [cell.text if isinstance(cell, Cell) else cell for cell in row[1:]]


def test_dropped_rows_are_counted_by_rule_and_by_video(page: Page) -> None:
    assert page.subtitle == "8 training rows and 2 validation rows, policy strict, repeats: unique"
    dropped = find_table(page, "What was dropped")
    assert [row[0] for row in dropped.rows] == ["expression-missing", "repeat", "conflict"]
    assert find_row(dropped, "expression-missing") == ["1 (12.50%)", "0 (0.00%)"]
    assert find_row(dropped, "conflict") == ["2 (25.00%)", "0 (0.00%)"]
    videos = find_table(page, "Videos")
    assert [row[0] for row in videos.rows] == ["b", f"{EVIL}a", "c"]  # what loses most first
    assert videos.columns[2:] == [
        "rows", "kept", "share", "last frame", "largest gap", "repeated", "expression-missing", "repeat", "conflict"
    ]  # fmt: skip
    assert find_row(videos, "b") == ["train", "5", "2", "40%", "20", "11", "1", "1", "1", "2"]


def test_classes_are_counted_before_and_after_beside_the_official_ones(page: Page) -> None:
    table = find_table(page, "Expressions")
    assert table.columns[1:4] == ["train, all", "train, kept", "train, official"]
    assert find_row(table, "Neutral") == ["1", "0", "23,976", "0", "0", "1,886"]
    assert find_row(table, "Fear") == ["3", "3", "3,122", "2", "2", "1,254"]
    assert find_row(find_table(page, "Action units"), "AU26") == ["8", "5", "10,756", "2", "2", "2,934"]


def test_the_distance_of_the_splits_is_the_one_that_is_stated(page: Page) -> None:
    (section,) = (section for section in page.sections if section.title.startswith("How far"))
    tiles = {tile.label: tile.value for tile in section.tiles}
    kept = np.array([0.5, 0.5, 0.5, -0.5, 0.0])
    shift = (0.25 - kept.mean()) / kept.std()
    # Fear is 3 of 5 rows against 2 of 2, Happiness 2 of 5 against none
    assert tiles == {
        "expressions": "0.400", "action units": "0.000", "valence": f"{shift:+.3f}", "arousal": "+10.500"
    }  # fmt: skip


def test_names_are_never_markup_and_the_same_rows_give_the_same_page(page: Page) -> None:
    text = render_page(page)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;a" in text
    assert text == render_page(page)
    assert f"{EVIL}a/1.jpg" not in text  # no row of a list


def test_a_set_without_a_task_or_frame_numbers_has_a_page(tmp_path: Path) -> None:
    rows = [f"a/x{letter}.jpg,0.5,0.1,3{UNITS}" for letter in "abc"]
    page = make_curation_page(*curate_rows(tmp_path, rows, [f"b/y.jpg,0.1,0.2,2{UNITS}"]))
    (coverage,) = (section for section in page.sections if section.title == "Coverage of the videos")
    assert (list(coverage.charts), coverage.text) == ([], "Names without frame numbers have none.")
    assert find_row(find_table(page, "Videos"), "a") == ["train", "3", "3", "100%", "-", "-", "0"]
    assert render_page(page)
