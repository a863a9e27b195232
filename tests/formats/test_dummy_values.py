"""Dummy values that were left in a submission: the list's own, or one row for many frames."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.formats.base import get_format
from abawkit.formats.check import DummyRows, find_dummy_rows

Write = Callable[..., Path]
Find = Callable[..., list[DummyRows]]

CASE = Path(__file__).parents[1] / "cases/dummy-values"
UNITS = ",".join("010000000001")
SAME = "hold just the values of the list"


@pytest.fixture
def find(write: Write) -> Find:
    """What is found in a submission of these answers, against a list with these values behind its names."""

    def find(name: str, answers: list[str], dummies: list[str] | str = "") -> list[DummyRows]:
        plugin = get_format(name)
        header = getattr(plugin, "header", "")
        listed = [dummies] * len(answers) if isinstance(dummies, str) else dummies
        names = [f"v/{row:05}.jpg" for row in range(len(answers))]
        rows = [f"{image},{text}" for image, text in zip(names, answers, strict=True)]
        given = [f"{image},{text}" for image, text in zip(names, listed, strict=True)]
        path, frames = write("\n".join([header, *rows]), "s.txt"), plugin.read_list(write("\n".join([header, *given])))
        assert plugin.check(path, frames) == []
        return find_dummy_rows(path, frames, plugin)

    return find


def test_values_of_the_list_that_were_left_in_are_named_with_their_lines() -> None:
    plugin = get_format("abaw5-va")
    found = find_dummy_rows(CASE / "s.txt", plugin.read_list(CASE / "list.txt"), plugin)
    assert found == [DummyRows(SAME, (4, 5, 6), 3)]


@pytest.mark.parametrize("written", ["0.5,-0.5", "0.500000,-0.500000", "5e-1,-.5", "+0.50,-0.5"])
def test_numbers_are_compared_as_numbers(find: Find, written: str) -> None:
    assert find("abaw5-va", ["0.1,0.2", written, "0.3,0.4"], "0.5,-0.5,") == [DummyRows(SAME, (3,), 1)]


def test_each_row_is_compared_with_its_own_row_of_the_list(find: Find) -> None:
    assert find("abaw5-va", ["0.1,0", "0.2,0", "0.3,0"], ["0.3,0", "0.1,0", "0.2,0"]) == []
    assert find("abaw5-va", ["0.1,0", "0.2,0", "0.3,0"], ["0.9,0", "0.2,0", "0.9,0"])[0].lines == (3,)


@pytest.mark.parametrize("dummy", ["", ",", "0.1", "-5,-5", "x,y", "0.1,0.2,0.3"])
def test_a_list_without_such_values_says_nothing(find: Find, dummy: str) -> None:
    assert find("abaw5-va", ["0.1,0.2", "0.2,0.2"], dummy) == []


def test_a_row_of_all_tasks_is_left_in_where_all_of_it_is_that_of_the_list(find: Find) -> None:
    dummy = f"0.0,0.0,3,{UNITS}"
    answers = [f"0.000000,0.000000,3,{UNITS}", f"0.0,0.0,4,{UNITS}", f"0.1,0.0,3,{UNITS}"]
    assert find("abaw7", answers, dummy) == [DummyRows(SAME, (2,), 1)]


@pytest.mark.parametrize("name", ["abaw5-expr", "abaw7-ce"])
def test_one_class_may_well_be_right_for_some_frames_and_not_for_all(find: Find, name: str) -> None:
    assert find(name, ["0", "0", "1", "2", "3"], "0") == []
    assert find(name, ["0", "0", "0", "2", "3"], "0") == [DummyRows(SAME, (2, 3, 4), 3)]
    assert find(name, ["0", "1", "2", "2", "3"], ["0", "1", "2", "2", "4"]) == []  # a list with the truth in it
    assert find(name, ["4", "4", "4", "4"]) == []
    assert find(name, ["4"] * 5)[0].what == "hold one and the same answer, '4'"


def test_one_row_for_many_frames_is_named(find: Find) -> None:
    varied = [f"{row / 1000:.3f},0.5" for row in range(60)]
    assert find("abaw5-va", varied) == []
    assert find("abaw5-va", [*varied, *["0.25,-0.75"] * 4]) == []
    found = find("abaw5-va", [*varied, *["0.25,-0.75"] * 5])
    assert found == [DummyRows("hold one and the same answer, '0.25,-0.75'", tuple(range(62, 67)), 5)]


def test_both_kinds_are_told_apart(find: Find) -> None:
    answers = [*[f"0.{row},0.5" for row in range(1, 5)], *["0,0"] * 6, *["1,1"] * 7]
    assert find("abaw5-va", answers, ["1,1"] * 17) == [
        DummyRows(SAME, tuple(range(12, 19)), 7),
        DummyRows("hold one and the same answer, '0,0'", tuple(range(6, 12)), 6),
    ]


def test_a_repeated_frame_counts_once(write: Write) -> None:
    plugin = get_format("abaw5-va")
    path = write("\n".join([plugin.header, *["v/1.jpg,0.5,0.5"] * 9, "v/2.jpg,0,0", ""]))  # type: ignore[attr-defined]
    frames = plugin.read_list(write("\n".join(["image", *["v/1.jpg"] * 9, "v/2.jpg"]), "list.txt"))
    assert find_dummy_rows(path, frames, plugin) == []


@pytest.mark.parametrize(
    ("a", "b", "rows"),
    [
        (["0,0"] * 9, ["0.1,0"] * 9, None),
        (["0,0"] * 9, ["0,0"] * 9, 18),
        (["0,0", "0.1,0"] * 5, ["0,0", "0.2,0"] * 2, 7),
        (["0.1,0", "0.2,0"] * 2, ["0.1,0", "0.2,0"] * 2, None),
    ],
)
def test_lines_of_a_folder_that_follow_each_other_count_once(
    tmp_path: Path, a: list[str], b: list[str], rows: int | None
) -> None:
    for video, lines in (("a", a), ("b", b)):
        (tmp_path / f"{video}.txt").write_text("\n".join(["valence,arousal", *lines, ""]))
    found = find_dummy_rows(tmp_path, get_format("abaw3-va").read_list(tmp_path), get_format("abaw3-va"))
    assert [dummy.rows for dummy in found] == ([] if rows is None else [rows])
