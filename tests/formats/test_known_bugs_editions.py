"""Bugs of published participants' code, in the files of single tasks: each is impossible here, or refused."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataError, DataWarning
from abawkit.formats.base import get_format
from abawkit.formats.single_file import FlatFile

Write = Callable[..., Path]
Defects = Callable[..., list[tuple[int, str, str]]]

GOOD = {"abaw5-va": "0.5,-0.25", "abaw5-expr": "3", "abaw5-au": ",".join("010000100001"), "abaw7-ce": "6"}
FORMATS = sorted(GOOD)
find = functools.cache(get_format)
NAMES = ["video1/00001.jpg", "video1/00008.jpg", "video1/00001.jpg"]


@pytest.fixture
def defects(write: Write) -> Defects:
    """What the checker of a format says of rows: line, column and message of each problem."""

    def defects(name: str, rows: list[str], listed: list[str] = NAMES, header: str = "") -> list[tuple[int, str, str]]:
        plugin = find(name)
        assert isinstance(plugin, FlatFile)
        path = write("\n".join([header or plugin.header, *rows]), "submission.txt")
        frames = plugin.read_list(write("\n".join(["image", *listed]), "list.txt"))
        return [(problem.line, problem.column, problem.message) for problem in plugin.check(path, frames)]

    return defects


def rows(name: str, *, odd: str | None = None) -> list[str]:
    """Good rows; the second has these cells, where they are given."""
    cells = [GOOD[name], GOOD[name] if odd is None else odd, GOOD[name]]
    return [f"{image},{text}" for image, text in zip(NAMES, cells, strict=True)]


@pytest.mark.parametrize("name", FORMATS)
def test_good_rows_have_no_defect(defects: Defects, name: str) -> None:
    assert defects(name, rows(name)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_trailing_comma_kept_in_the_name_or_in_the_row(defects: Defects, name: str) -> None:
    width = len(GOOD[name].split(",")) + 1
    for odd in (f",{GOOD[name]}", f"{GOOD[name]},"):
        assert defects(name, rows(name, odd=odd)) == [(3, "", f"got {width + 1} fields, expected {width} fields")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_sixteen_fields_of_the_multi_task_file(defects: Defects, name: str) -> None:
    width = len(GOOD[name].split(",")) + 1
    found = defects(name, rows(name, odd="0.5,0.5,3" + ",1" * 12))
    assert found == [(3, "", f"got 16 fields, expected {width} fields")]


@pytest.mark.parametrize("name", ["abaw5-expr", "abaw7-ce"])
@pytest.mark.parametrize("cell", ["3.0", "nan", "inf", "0x1", "\uff11", "1_0", "", "-1", "Fear", "1e0", " 3", "300"])
def test_what_is_no_index_of_a_class(defects: Defects, name: str, cell: str) -> None:
    column, top = ("expression", 7) if name == "abaw5-expr" else ("compound", 6)
    got = f"'{cell}'" if cell else "nothing"
    assert defects(name, rows(name, odd=cell)) == [(3, column, f"got {got}, expected an integer in 0..{top}")]


@pytest.mark.parametrize(("name", "cell"), [("abaw5-expr", "8"), ("abaw7-ce", "7")])
def test_an_index_past_the_last_class(defects: Defects, name: str, cell: str) -> None:
    assert [line for line, _, _ in defects(name, rows(name, odd=cell))] == [3]


def test_eight_probabilities_in_place_of_one_index(defects: Defects) -> None:
    found = defects("abaw5-expr", rows("abaw5-expr", odd=",".join(["0.125"] * 8)))
    assert found == [(3, "", "got 9 fields, expected 2 fields")]


@pytest.mark.parametrize("cell", ["1.0", "0.7", "2", "-1", "nan", ""])
def test_a_probability_in_place_of_an_action_unit(defects: Defects, cell: str) -> None:
    found = defects("abaw5-au", rows("abaw5-au", odd=",".join([*"01000010000", cell])))
    assert [(line, column) for line, column, _ in found] == [(3, "AU26")]


@pytest.mark.parametrize("cells", ["1.0001,0", "0,-5", "nan,0", "0,inf"])
def test_valence_and_arousal_outside_minus_one_to_one(defects: Defects, cells: str) -> None:
    assert [line for line, _, _ in defects("abaw5-va", rows("abaw5-va", odd=cells))] == [3]


@pytest.mark.parametrize("name", FORMATS)
def test_repeated_rows_lost_rows_moved_and_rows_of_other_frames(defects: Defects, name: str) -> None:
    first, second, again = rows(name)
    assert [message[:11] for _, _, message in defects(name, [first, second])] == ["row missing"]
    assert [line for line, _, _ in defects(name, [second, first, again])] != []
    other = second.replace("00008", "00002")
    assert [line for line, _, _ in defects(name, [first, other, again])] == [3, 3]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("image", ["../x/1.jpg", "/v/1.jpg", "C:/v/1.jpg", "v\\1.jpg", "v//1.jpg", "", " v/1.jpg"])
def test_a_hostile_or_broken_name(defects: Defects, name: str, image: str) -> None:
    lines = rows(name)
    lines[1] = lines[1].replace(NAMES[1], image)
    assert any((line, column) == (3, "image") for line, column, _ in defects(name, lines))


@pytest.mark.parametrize("name", FORMATS)
def test_a_blank_line_between_rows(defects: Defects, name: str) -> None:
    first, second, again = rows(name)
    width = len(GOOD[name].split(",")) + 1
    assert defects(name, [first, second, "", again]) == [(4, "", f"got a blank line, expected {width} fields")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_header_of_another_edition_or_none(defects: Defects, name: str) -> None:
    found = defects(name, rows(name), header="image,valence,arousal,expression,aus")
    assert [(line, message[:14]) for line, _, message in found] == [(1, "got the header")]
    with pytest.warns(DataWarning, match="no header"):
        found = defects(name, rows(name)[1:], listed=NAMES, header=rows(name)[0])
    assert [(line, message[:13]) for line, _, message in found] == [(1, "got no header")]


@pytest.mark.parametrize("name", FORMATS)
def test_an_unknown_header_is_an_error_that_says_how_it_begins(write: Write, name: str) -> None:
    path = write("valence,arousal\n0.5,0.5\n")
    with pytest.raises(DataError, match="whose header begins with 'image_location'"):
        find(name).read(path)
