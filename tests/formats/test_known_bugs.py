"""Bugs of published participants' code that touch reading and writing: each is impossible here, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.formats.editions import ABAW7
from abawkit.formats.readers import read_annotations
from abawkit.frame_columns import find_videos
from abawkit.tables import FrameList, Predictions, Submission

Write = Callable[..., Path]
Rows = Callable[..., list[str]]
Defects = Callable[..., list[tuple[int, str, str]]]
AU = ",0" * 11 + ",1"


def predict(*names: str) -> Predictions:
    """Predictions whose values tell rows and columns apart."""
    count = len(names)
    expression = np.full((count, 8), 0.02, np.float32)
    expression[np.arange(count), np.arange(count) % 8] = 0.86
    va = np.column_stack([np.linspace(0.1, 0.9, count), np.linspace(-0.1, -0.9, count)]).astype(np.float32)
    au = (np.arange(count)[:, None] % 2 == np.arange(12) % 2).astype(np.float32)
    return Predictions(images=pa.array(names, pa.string()), va=va, expression=expression, au=au)


def write_and_read(write: Write, submission: Submission) -> Submission:
    return ABAW7().read(write(ABAW7().encode(submission)))


@pytest.mark.parametrize("count", [1, 31, 32, 33])
def test_last_partial_batch_dropped(defects: Defects, rows: Rows, count: int) -> None:
    lines = rows(*range(1, 34))
    listed = [row.split(",")[0] for row in lines]
    problems = defects(lines[:count], listed)
    assert len(problems) == 33 - count
    assert all("row missing" in message for _, _, message in problems)


def test_two_rows_a_batch(defects: Defects, rows: Rows) -> None:
    lines = rows(*range(1, 33))
    listed = [row.split(",")[0] for row in lines]
    assert len(defects(lines[:2], listed)) == 30


def test_missing_image_dropped_so_that_later_rows_shift(defects: Defects, rows: Rows) -> None:
    lines = rows(1, 8, 17, 21)
    listed = [row.split(",")[0] for row in lines]
    assert defects([lines[0], *lines[2:]], listed) == [
        (3, "image", "row missing: 'video1/00008.jpg' (line 3 of the list)")
    ]


def test_labels_of_one_row_under_the_name_of_another_after_a_sort(write: Write) -> None:
    names = ("b/2.jpg", "a/1.jpg", "b/1.jpg")
    order = np.argsort(names)
    chosen = predict(*names).select(order).decide()
    assert chosen.images.to_pylist() == sorted(names)
    assert write_and_read(write, chosen).expression.tolist() == order.tolist()


def test_twenty_three_fields_in_place_of_sixteen(defects: Defects, rows: Rows) -> None:
    row = rows(1)[0]
    assert (2, "", "got 23 fields, expected 16 fields") in defects([row + ",0" * 7])


def test_encoded_rows_have_sixteen_fields(write: Write) -> None:
    content = ABAW7().encode(predict("v/1.jpg", "v/2.jpg").decide()).decode()
    assert [len(line.split(",")) for line in content.splitlines()] == [5, 16, 16]


def test_trailing_comma_kept_in_the_image_name(write: Write) -> None:
    frames = ABAW7().read_list(write("image,\nvideo45_1/00001.jpg,\n"))
    assert frames.images.to_pylist() == ["video45_1/00001.jpg"]


def test_repeated_rows_lost_through_a_set_or_a_join_on_the_name(write: Write) -> None:
    names = ["v/1.jpg", "v/2.jpg", "v/1.jpg", "v/1.jpg"]
    again = write_and_read(write, predict(*names).decide())
    assert again.images.to_pylist() == names
    assert again.expression.tolist() == [0, 1, 2, 3]  # each repeat has its own row's answer


def test_repeats_of_the_list_lost_in_the_submission(defects: Defects, rows: Rows) -> None:
    lines = rows(1, 8)
    names = [row.split(",")[0] for row in lines]
    assert [message[:11] for _, _, message in defects(lines, [*names, names[0]])] == ["row missing"]


def test_valence_and_arousal_swapped(write: Write) -> None:
    path = write(f"image\nv/1.jpg,0.25,-0.75,6{AU}\n")
    assert read_annotations(path).va.tolist() == [[0.25, -0.75]]
    submission = ABAW7().read(write(f"image,valence,arousal,expression,aus\nv/1.jpg,0.25,-0.75,6{AU}\n"))
    assert submission.va.tolist() == [[0.25, -0.75]]
    assert b"v/1.jpg,0.250000,-0.750000,6" in ABAW7().encode(submission)


def test_frame_names_regenerated_as_1_to_n(defects: Defects, rows: Rows) -> None:
    listed = [row.split(",")[0] for row in rows(1, 8, 17)]
    assert defects(rows(1, 2, 3), listed) != []


@pytest.mark.parametrize("video", ["video_left", "clip_elf", "t_left_right", "left", "video1_right"])
def test_rstrip_left_and_left_or_right_in_name(video: str) -> None:
    assert find_videos(pa.array([f"{video}/1.jpg"])).to_pylist() == [video]


def test_minus_five_point_zero_compared_as_text(write: Write) -> None:
    table = read_annotations(write(f"image\nv/1.jpg,-5.0,-5.0,1{AU}\nv/2.jpg,-5,-5,1{AU}\n"))
    assert table.va_valid.tolist() == [False, False]


def test_argmin_for_the_expression() -> None:
    assert predict(*[f"v/{k}.jpg" for k in range(8)]).decide().expression.tolist() == list(range(8))


def test_three_point_zero_in_an_integer_column(defects: Defects, rows: Rows) -> None:
    assert defects([rows(1)[0].replace(",3,", ",3.0,")]) == [
        (2, "expression", "got '3.0', expected an integer in 0..7")
    ]


def test_written_integers_have_no_point(write: Write) -> None:
    row = ABAW7().encode(predict("v/1.jpg").decide()).decode().splitlines()[1]
    assert all(cell in "01234567" and len(cell) == 1 for cell in row.split(",")[3:])


def test_valence_and_arousal_outside_minus_one_to_one(defects: Defects, rows: Rows) -> None:
    assert [column for _, column, _ in defects([rows(1)[0].replace("0.5,", "1.5,")])] == ["valence"]
    far = Predictions(
        images=pa.array(["v/1.jpg"]),
        va=np.array([[1.7, -3.0]], np.float32),
        expression=np.eye(1, 8, dtype=np.float32),
        au=np.zeros((1, 12), np.float32),
    )
    assert far.decide().va.tolist() == [[1.0, -1.0]]


def test_rows_with_no_unit_active_taken_for_unlabelled(write: Write) -> None:
    assert read_annotations(write("image\nv/1.jpg,0,0,0" + ",0" * 12)).au_valid.tolist() == [True]


@pytest.mark.parametrize("unit", range(12))
def test_au_mask_read_from_the_first_unit_only(write: Write, unit: int) -> None:
    units = ["-1" if k == unit else "1" for k in range(12)]
    assert read_annotations(write(f"image\nv/1.jpg,0,0,0,{','.join(units)}")).au_valid.tolist() == [False]


def test_infinity_above_minus_five_let_in_by_a_naive_mask(write: Write) -> None:
    with pytest.raises(Exception, match="column 'valence': got 'inf'"):
        read_annotations(write(f"image\nv/1.jpg,inf,0,0{AU}"))


def test_first_rows_lost_to_a_header_of_another_width(write: Write) -> None:
    path = write(f"image,valence,arousal,expression,aus\nv/1.jpg,0,0,0{AU}\nv/2.jpg,0,0,0{AU}")
    assert read_annotations(path).images.to_pylist() == ["v/1.jpg", "v/2.jpg"]


def test_lists_of_other_frames_have_another_digest() -> None:
    digests = {
        FrameList(images=pa.array(names), lines=np.arange(2)).digest for names in (["a/1.jpg"] * 2, ["a/1.jpg", "b"])
    }
    assert len(digests) == 2
