"""Rows go back to their places in the list, unless which of them belongs where can't be told."""

from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.formats.editions import ABAW7
from abawkit.formats.repair import RepairedSubmission, repair_content
from abawkit.formats.row_order import find_always_increasing, find_longest_increasing

Write = Callable[..., Path]
HEADER = "image,valence,arousal,expression,aus"


@pytest.fixture
def sort(write: Write) -> Callable[[str, str], RepairedSubmission]:
    """Repairs a file of these rows for a list of these; a row is a letter, and a digit for what it says."""

    def sort(listed: str, given: str) -> RepairedSubmission:
        frames = ABAW7().read_list(write("\n".join(["image", *(name(row) for row in listed.split())]), "list.txt"))
        rows = [f"{name(row)},0.{row[1:] or '0'},0,3{',1' * 12}" for row in given.split()]
        return repair_content(write("\n".join([HEADER, *rows, ""])), frames, ABAW7())

    return sort


def name(row: str) -> str:
    """Capital letters are frames of one video, small ones of another."""
    return f"{'v' if row[0].isupper() else 'w'}/{ord(row[0])}.jpg"


def rows_of(result: RepairedSubmission) -> list[str]:
    assert isinstance(result.content, bytes)
    return result.content.decode().split("\n")[1:-1]


def test_rows_go_to_their_places_and_the_fewest_are_named_as_moved(
    sort: Callable[[str, str], RepairedSubmission],
) -> None:
    result = sort("A B C D", "B C A D")
    assert [row.split(",")[0] for row in rows_of(result)] == [name(row) for row in "ABCD"]
    assert [(repair.lines, repair.what) for repair in result.repairs] == [
        ((4,), "'v/65.jpg' moved to row 1, its place in the list")
    ]
    assert not result.problems


def test_repeated_rows_that_say_the_same_may_have_moved_anywhere(
    sort: Callable[[str, str], RepairedSubmission],
) -> None:
    result = sort("A B A C A", "C A A B A")
    assert [row.split(",")[0] for row in rows_of(result)] == [name(row) for row in "ABACA"]
    assert not result.problems


@pytest.mark.parametrize("given", ["a A1 B A2 C", "C2 a A1 B A2", "A1 a B A2 C"])
def test_repeated_rows_that_differ_keep_their_order_where_they_did_not_move(
    sort: Callable[[str, str], RepairedSubmission], given: str
) -> None:
    result = sort("A B A C a", given)
    assert not result.problems
    assert [row.split(",")[1] for row in rows_of(result) if row.startswith(name("A"))] == ["0.1", "0.2"]


@pytest.mark.parametrize("given", ["B A1 A2 C a", "A1 A2 B C a", "B A1 C A2 a", "A1 C A2 B a", "a C A1 A2 B"])
def test_repeated_rows_that_differ_and_moved_are_refused(
    sort: Callable[[str, str], RepairedSubmission], given: str
) -> None:
    result = sort("A B A C a", given)
    told = [p.line for p in result.problems if "the order of these rows is unknown" in p.message]
    assert told == [line for line, row in enumerate(given.split(), start=2) if row[0] == "A"]
    assert [row.split(",")[0] for row in rows_of(result)] == [name(row) for row in given.split()]
    assert any("out of order" in p.message for p in result.problems)


def test_what_a_row_says_does_not_depend_on_how_it_is_written(sort: Callable[[str, str], RepairedSubmission]) -> None:
    assert not sort("A B A", "A1 A10 B").problems


def longest_by_trying(values: list[int]) -> set[tuple[int, ...]]:
    """The index sets of all longest increasing subsequences."""
    for length in range(len(values), -1, -1):
        found = {
            chosen
            for chosen in combinations(range(len(values)), length)
            if all(values[a] < values[b] for a, b in pairwise(chosen))
        }
        if found:
            return found
    raise AssertionError


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=8, unique=True) | st.lists(st.integers(0, 5), max_size=7))
def test_the_longest_increasing_part_and_what_all_such_parts_share(values: list[int]) -> None:
    every = longest_by_trying(values)
    array = np.array(values, dtype=np.int64)
    assert tuple(find_longest_increasing(array).tolist()) in every
    shared = set.intersection(*(set(chosen) for chosen in every))
    assert set(np.flatnonzero(find_always_increasing(array)).tolist()) == shared
