"""The CSV of dropped rows: complete, and harmless where it is opened."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.curation import Sources, curate
from abawkit.curation.cells import escape_cell

Release = Callable[..., Sources]
Row = Callable[..., str]


def dropped(out: Path) -> list[list[str]]:
    with (out / "dropped.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_every_dropped_row_is_listed_with_its_split_line_and_reasons(release: Release, row: Row, out: Path) -> None:
    train = [row("v/1.jpg"), row("v/2.jpg", va="-5,-5", expression="-1"), row("v/1.jpg")]
    curate(release(train, [row("clip/1.jpg", expression="-1"), row("clip/2.jpg")]), out, repeats="unique")
    assert dropped(out) == [
        ["split", "line", "image", "reasons"],
        ["train", "3", "v/2.jpg", "va-missing;expression-missing"],
        ["train", "4", "v/1.jpg", "repeat"],
        ["validation", "2", "clip/1.jpg", "expression-missing"],
    ]


def test_where_nothing_is_dropped_the_file_has_its_header_alone(release: Release, row: Row, out: Path) -> None:
    curate(release([row("v/1.jpg")]), out)
    assert dropped(out) == [["split", "line", "image", "reasons"]]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("v/1.jpg", "v/1.jpg"),
        ("=cmd()/1.jpg", "'=cmd()/1.jpg"),
        ("+v/1.jpg", "'+v/1.jpg"),
        ("-v/1.jpg", "'-v/1.jpg"),
        ("@v/1.jpg", "'@v/1.jpg"),
        ('v"w/1.jpg', 'v"w/1.jpg'),
        ("v\x1b[31m/1.jpg", r"v\x1b[31m/1.jpg"),
        ("v\u202e/1.jpg", r"v\u202e/1.jpg"),
        ("\tv/1.jpg", r"\tv/1.jpg"),
        ("é/1.jpg", "é/1.jpg"),
    ],
)
def test_a_cell_can_neither_be_a_formula_nor_move_the_terminal(
    release: Release, row: Row, out: Path, name: str, cell: str
) -> None:
    assert escape_cell(name) == cell
    if name == name.strip():  # others are no image names
        curate(release([row("v/0.jpg"), row(name, va="-5,-5")]), out)
        assert dropped(out)[1] == ["train", "3", cell, "va-missing"]
