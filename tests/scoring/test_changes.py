"""How two submissions differ is counted row by row, and never across lists."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.labels import ACTION_UNITS
from abawkit.scoring.changes import ClassChange, UnitChange, compare_submissions
from abawkit.tables import Annotations, Submission

Truth = Callable[..., Annotations]
Answer = Callable[..., Submission]

IMAGES = ["v/1.jpg", "v/1.jpg", "v/2.jpg", "w/1.jpg", "w/2.jpg", "x/1.jpg", "x/2.jpg", "x/3.jpg"]


@pytest.fixture
def first(truth: Truth, answer: Answer) -> Submission:
    return answer(truth(images=IMAGES))


def changed(submission: Submission, column: str, *cells: tuple[int | tuple[int, int], float]) -> Submission:
    """The submission with these cells of one column."""
    values = getattr(submission, column).copy()
    for cell, value in cells:
        values[cell] = value
    return replace(submission, **{column: values})


def test_identical_submissions_have_no_change(first: Submission) -> None:
    found = compare_submissions(first, first)
    assert (found.rows, found.rows_changed, found.videos, found.videos_changed) == (8, 0, 3, ())
    assert found.rows_by_answer == {"va": 0, "expression": 0, "au": 0}
    assert all((v.rows, v.mean, v.largest) == (0, 0.0, 0.0) for v in found.values.values())
    assert [v.correlation for v in found.values.values()] == pytest.approx([1.0, 1.0])
    assert found.classes == {"expression": ClassChange(0, ())}
    assert set(found.units.values()) == {UnitChange(0, 0)}


def test_valence_and_arousal_are_compared_one_by_one(first: Submission) -> None:
    found = compare_submissions(
        first, changed(first, "va", ((2, 0), first.va[2, 0] + 0.25), ((7, 0), first.va[7, 0] - 0.75))
    )
    valence, arousal = found.values["valence"], found.values["arousal"]
    assert valence.rows == 2
    assert [valence.mean, valence.largest] == pytest.approx([1.0 / 8, 0.75])
    second = first.va[:, 0] + np.array([0, 0, 0.25, 0, 0, 0, 0, -0.75])
    assert valence.correlation == pytest.approx(np.corrcoef(first.va[:, 0], second)[0, 1])
    assert arousal.rows == 0
    assert found.rows_by_answer == {"va": 2, "expression": 0, "au": 0}


def test_what_does_not_vary_has_no_correlation(first: Submission) -> None:
    constant = replace(first, va=np.full((8, 2), 0.1))
    assert [v.correlation for v in compare_submissions(first, constant).values.values()] == [None, None]
    assert [v.correlation for v in compare_submissions(constant, constant).values.values()] == [None, None]


def test_expressions_are_counted_by_the_pair_that_changed_most_frequent_first(first: Submission) -> None:
    before = replace(first, expression=np.array([0, 0, 0, 1, 1, 2, 2, 7], np.int8))
    after = replace(first, expression=np.array([1, 0, 1, 0, 1, 2, 7, 0], np.int8))
    assert compare_submissions(before, after).classes["expression"] == ClassChange(
        5,
        (
            ("Neutral", "Anger", 2),
            ("Anger", "Neutral", 1),
            ("Disgust", "Other", 1),
            ("Other", "Neutral", 1),
        ),
    )


def test_action_units_are_counted_as_switched_on_and_off(first: Submission) -> None:
    before = replace(first, au=np.zeros((8, 12), np.int8))
    after = changed(before, "au", ((0, 0), 1), ((3, 0), 1), ((3, 11), 1))
    units = compare_submissions(before, after).units
    assert units["AU1"] == UnitChange(2, 0)
    assert units["AU26"] == UnitChange(1, 0)
    assert compare_submissions(after, before).units["AU1"] == UnitChange(0, 2)
    assert sum(unit.on + unit.off for unit in units.values()) == 3
    assert tuple(units) == ACTION_UNITS


def test_rows_and_videos_count_once_whatever_changed_in_them(first: Submission) -> None:
    second = changed(first, "expression", (0, 7), (5, 1), (6, 1))
    second = changed(second, "va", ((0, 0), 0.9), ((6, 1), 0.9))
    found = compare_submissions(first, second)
    assert found.rows_changed == 3
    assert found.videos_changed == (("x", 2, 3), ("v", 1, 3))
    assert found.rows_by_answer == {"va": 2, "expression": 3, "au": 0}


def test_only_what_a_track_asks_for_is_compared() -> None:
    images = pa.array(["v/1.jpg", "v/2.jpg"], pa.string())
    a = Submission.of(images, compound=np.array([0, 6], np.int8))
    b = Submission.of(images, compound=np.array([0, 1], np.int8))
    found = compare_submissions(a, b)
    assert found.rows_by_answer == {"compound": 1}
    assert found.classes == {"compound": ClassChange(1, (("Sadly_Angry", "Happily_Surprised", 1),))}
    assert (found.values, found.units) == ({}, {})


def test_submissions_to_two_tracks_are_refused(first: Submission) -> None:
    other = Submission.of(first.images, va=first.va)
    with pytest.raises(DataError, match="the first holds va, expression, au, the second va; only submissions to one"):
        compare_submissions(first, other)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2, 3, 4, 6, 5, 7], "row 6 is 'x/1.jpg' in the first and 'x/2.jpg' in the second"),
        ([0, 1, 2, 3, 4, 5, 6], "row 8 is 'x/3.jpg' in the first and no row in the second"),
        ([1, 2, 3, 4, 5, 6, 7], "row 2 is 'v/1.jpg' in the first and 'v/2.jpg' in the second"),
    ],
)
def test_other_lists_are_refused_and_the_first_difference_is_named(
    first: Submission, rows: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compare_submissions(first, first.select(np.array(rows)))


def test_what_is_written_as_json_names_every_count(first: Submission) -> None:
    content = compare_submissions(first, changed(first, "expression", (0, 7))).as_dict()
    assert content["videos_changed"] == [{"video": "v", "rows_changed": 1, "rows": 3}]
    assert content["classes"]["expression"] == {"rows": 1, "pairs": [{"from": "Neutral", "to": "Other", "rows": 1}]}
    assert content["units"]["AU1"] == {"on": 0, "off": 0}
    assert content["values"]["valence"]["largest"] == 0.0
