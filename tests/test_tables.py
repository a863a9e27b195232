"""Tables are checked when built, never changed, and know their rows by number."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.frame_columns import count_occurrences, find_videos
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, FIELDS
from abawkit.tables import DECIMALS, FrameList, Predictions, Submission


def strings(*names: str) -> pa.StringArray:
    return pa.array(names, pa.string())


def submission(**changes: Any) -> Submission:
    columns: dict[str, Any] = {
        "images": strings("v/1.jpg", "v/2.jpg"),
        "va": np.zeros((2, 2)),
        "expression": np.zeros(2, np.int8),
        "au": np.zeros((2, 12), np.int8),
    }
    return Submission(**columns | changes)


def predictions(**changes: Any) -> Predictions:
    columns: dict[str, Any] = {
        "images": strings("v/1.jpg"),
        "va": np.zeros((1, 2), np.float32),
        "expression": np.full((1, 8), 0.125, np.float32),
        "au": np.zeros((1, 12), np.float32),
    }
    return Predictions(**columns | changes)


def test_a_row_has_sixteen_fields_in_the_order_of_the_challenge() -> None:
    assert ",".join(FIELDS) == (
        "image,valence,arousal,expression,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
    )
    assert EXPRESSIONS == ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
    assert len(ACTION_UNITS) == 12


def test_a_video_is_all_before_the_last_slash() -> None:
    names = strings("v/1.jpg", "a/b/1.jpg", "video_left/1.jpg", "left_/1.jpg")
    assert find_videos(names).to_pylist() == ["v", "a/b", "video_left", "left_"]


def test_occurrences_number_the_rows_of_a_repeated_image() -> None:
    assert count_occurrences(strings("b", "a", "b", "b", "a", "c")).tolist() == [0, 0, 1, 2, 1, 0]
    assert count_occurrences(strings()).tolist() == []


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_occurrences_agree_with_counting_one_by_one(names: list[str]) -> None:
    assert count_occurrences(strings(*names)).tolist() == [names[:row].count(name) for row, name in enumerate(names)]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="lines has 1 rows, images has 2"):
        FrameList(images=strings("v/1.jpg", "v/2.jpg"), lines=np.array([2]))


@pytest.mark.parametrize(
    "changes",
    [
        {"va": np.full((2, 2), 1.0001)},
        {"va": np.full((2, 2), np.nan)},
        {"va": np.full((2, 2), -5.0)},
        {"va": np.zeros((2, 3))},
        {"expression": np.array([0, 8], np.int8)},
        {"expression": np.array([-1, 0], np.int8)},
        {"au": np.full((2, 12), 2, np.int8)},
        {"au": np.full((2, 12), -1, np.int8)},
        {"au": np.zeros((2, 8), np.int8)},
    ],
)
def test_a_submission_with_values_that_no_task_has_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"va|expression|au"):
        submission(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"va": np.zeros((1, 2))},
        {"expression": np.zeros((1, 7), np.float32)},
        {"au": np.full((1, 12), np.nan, np.float32)},
        {"au": np.full((1, 12), np.inf, np.float32)},
    ],
)
def test_predictions_of_another_shape_or_type_or_not_finite_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got float|not finite"):
        predictions(**changes)


def test_the_arrays_of_a_table_can_not_be_changed() -> None:
    table = submission()
    with pytest.raises(ValueError, match="read-only"):
        table.va[0, 0] = 1.0


def test_selecting_takes_the_same_rows_of_every_column_by_mask_and_by_number() -> None:
    table = submission(va=np.array([[0.1, 0.2], [0.3, 0.4]]), expression=np.array([1, 2], np.int8))
    for rows in (np.array([False, True]), np.array([1])):
        chosen = table.select(rows)
        assert chosen.images.to_pylist() == ["v/2.jpg"]
        assert chosen.va.tolist() == [[0.3, 0.4]]
        assert chosen.expression.tolist() == [2]
    assert table.select(np.array([1, 0, 1])).images.to_pylist() == ["v/2.jpg", "v/1.jpg", "v/2.jpg"]


def test_the_digest_of_a_list_is_that_of_its_names_in_their_order() -> None:
    lists = [
        FrameList(images=strings(*names), lines=np.arange(len(names)) + first)
        for names, first in ((("v/1.jpg", "v/2.jpg"), 2), (("v/1.jpg", "v/2.jpg"), 1), (("v/2.jpg", "v/1.jpg"), 2))
    ]
    assert lists[0].digest == lists[1].digest != lists[2].digest


def test_decisions_take_the_likeliest_expression_and_units_from_one_half() -> None:
    expression = np.array([[0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.1, 0.1]], np.float32)
    au = np.array([[0.5, 0.49999, 0.9] + [0.0] * 9], np.float32)
    decided = predictions(expression=expression, au=au, va=np.array([[-1e-9, 1.0]], np.float32)).decide()
    assert decided.expression.tolist() == [5]
    assert decided.au.tolist() == [[1, 0, 1] + [0] * 9]
    assert not np.signbit(decided.va[0, 0])  # no "-0.000000" in the file


def test_decisions_keep_valence_first_and_clip_what_rounding_let_out() -> None:
    decided = predictions(va=np.array([[1.0000001, -0.25]], np.float32)).decide()
    assert decided.va.tolist() == [[1.0, -0.25]]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.floats(-1, 1, width=32))
def test_six_decimals_survive_a_round_trip_of_float32(value: float) -> None:
    text = f"{value:.{DECIMALS}f}"
    assert f"{np.float32(float(text)):.{DECIMALS}f}" == text
