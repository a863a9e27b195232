"""Rows missing, added, moved or repeated wrongly: each is named once, and no other row is blamed for it."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.formats.row_order import find_order_problems
from abawkit.tables import FrameList


def frames(names: str) -> FrameList:
    images = pa.array([f"v/{name}.jpg" for name in names], pa.string())
    return FrameList(images=images, lines=np.arange(len(names), dtype=np.int64) + 2)


def found(file: str, listed: str) -> list[tuple[int, str]]:
    """Line and kind of each problem; the letters stand for frames, in the order of rows from line 2."""
    kinds = {
        "none of its": "nothing in common",
        "row missing": "missing",
        "out of order": "moved",
        "does not have it": "extra",
        "one more": "again",
    }
    problems = sorted(find_order_problems(frames(file), frames(listed)))
    return [(p.line, next(kind for text, kind in kinds.items() if text in p.message)) for p in problems]


@pytest.mark.parametrize(
    ("file", "listed", "expected"),
    [
        ("abcd", "abcd", []),
        ("bcd", "abcd", [(2, "missing")]),
        ("acd", "abcd", [(3, "missing")]),
        ("abc", "abcd", [(5, "missing")]),
        ("ad", "abcd", [(3, "missing"), (3, "missing")]),
        ("abxcd", "abcd", [(4, "extra")]),
        ("xabcd", "abcd", [(2, "extra")]),
        ("abbcd", "abcd", [(4, "again")]),
        ("abcd", "abbcd", [(4, "missing")]),
        ("bcda", "abcd", [(5, "moved")]),
        ("dabc", "abcd", [(2, "moved")]),
        ("abcabc", "abcabc", []),
        ("abcab", "abcabc", [(7, "missing")]),
        ("bcax", "abcd", [(4, "moved"), (4, "missing"), (5, "extra")]),
    ],
)
def test_each_difference_is_named_once_with_its_line(file: str, listed: str, expected: list[tuple[int, str]]) -> None:
    assert sorted(found(file, listed)) == sorted(expected)


def test_two_swapped_rows_are_one_row_moved() -> None:
    assert [kind for _, kind in found("acbd", "abcd")] == ["moved"]


def test_a_reversed_file_has_all_rows_but_one_moved() -> None:
    assert [kind for _, kind in found("edcba", "abcde")] == ["moved"] * 4


def test_messages_say_where_a_row_belongs() -> None:
    (missing,) = find_order_problems(frames("acd"), frames("abcd"))
    assert missing.message == "row missing: 'v/b.jpg' (line 3 of the list)"
    (moved,) = find_order_problems(frames("bcda"), frames("abcd"))
    assert moved.message == "got 'v/a.jpg' out of order; its place in the list is row 1 (line 2 of the list)"
    (again,) = find_order_problems(frames("aba"), frames("ab"))
    assert again.message == "got 'v/a.jpg', the list has it 1 time, this is one more"


def test_a_row_of_the_wrong_width_shifts_no_other_row(
    defects: Callable[..., list[tuple[int, str, str]]], rows: Callable[..., list[str]]
) -> None:
    lines = rows(1, 8, 17, 21)
    listed = [row.split(",")[0] for row in lines]
    lines[0] += ",0"
    assert {line for line, _, _ in defects(lines, listed)} <= {2, 3}


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text("abc", max_size=8), st.text("abc", min_size=1, max_size=8))
def test_problems_account_for_every_row(file: str, listed: str) -> None:
    kinds = [kind for _, kind in found(file, listed)]
    assert (kinds == ["nothing in common"]) == (bool(file) and not set(file) & set(listed))
    if "nothing in common" in kinds:
        return
    added = kinds.count("extra") + kinds.count("again")
    assert len(file) - added == len(listed) - kinds.count("missing")
    assert (kinds == []) == (file == listed)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.permutations(list(range(7))))
def test_the_fewest_rows_are_called_moved(order: list[int]) -> None:
    names = "".join("abcdefg"[k] for k in order)
    longest = [1] * 7  # longest increasing run that ends in each place, by trying all before it
    for k in range(7):
        longest[k] = 1 + max([longest[j] for j in range(k) if order[j] < order[k]], default=0)
    assert [kind for _, kind in found(names, "abcdefg")] == ["moved"] * (7 - max(longest))
