"""Submission files: writing and reading is the identity, and every defect is named with its line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.errors import DataError, DataWarning, ProblemsError
from abawkit.formats import single_file
from abawkit.formats.editions import ABAW7
from abawkit.labels import ACTION_UNITS
from abawkit.tables import Submission

Defects = Callable[..., list[tuple[int, str, str]]]
Rows = Callable[..., list[str]]
Write = Callable[..., Path]

names = st.builds(
    "{}/{:05}{}".format, st.sampled_from(["v1", "v1_left", "é ü", "a/b"]), st.integers(1, 9), st.just(".jpg")
)
values = st.floats(-1, 1).map(lambda value: round(value, 6))
decisions = st.tuples(names, values, values, st.integers(0, 7), st.lists(st.integers(0, 1), min_size=12, max_size=12))


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(decisions, min_size=1, max_size=6))
def test_write_then_read_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, float, int, list[int]]]
) -> None:
    images, valence, arousal, expression, au = zip(*rows, strict=True)
    submission = Submission(
        images=pa.array(images, pa.string()),
        va=np.column_stack([valence, arousal]),
        expression=np.array(expression, np.int8),
        au=np.array(au, np.int8),
    )
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    path.write_bytes(ABAW7().encode(submission))
    again = ABAW7().read(path)
    assert again.images.equals(submission.images)
    assert again.va.tolist() == submission.va.tolist()
    assert again.expression.tolist() == submission.expression.tolist()
    assert again.au.tolist() == submission.au.tolist()
    assert ABAW7().check(path, ABAW7().read_list(path)) == []


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_a_file_is_the_same_however_many_rows_are_encoded_at_a_time(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(count)
    submission = Submission(
        images=pa.array([f"v/{k}.jpg" for k in range(count)], pa.string()),
        va=random.uniform(-1, 1, (count, 2)),
        expression=random.integers(0, 8, count).astype(np.int8),
        au=random.integers(0, 2, (count, 12)).astype(np.int8),
    )
    whole = ABAW7().encode(submission)
    assert whole.count(b"\n") == count + 1
    monkeypatch.setattr(single_file, "_ROWS_AT_ONCE", 2)
    assert ABAW7().encode(submission) == whole


def test_a_submission_that_was_read_holds_its_own_values_alone(write: Write, rows: Rows) -> None:
    submission = ABAW7().read(write("\n".join([ABAW7.header, *rows(1, 2), ""])))
    for column in (submission.va, submission.expression, submission.au):
        assert column.base is None or column.base.nbytes == column.nbytes


def test_the_official_file_byte_for_byte() -> None:
    submission = Submission(
        images=pa.array(["v/00001.jpg", "v/00001.jpg"], pa.string()),
        va=np.array([[0.5, -1.0], [0.123456, 0.0]]),
        expression=np.array([7, 0], np.int8),
        au=np.array([[1] * 11 + [0], [0] * 11 + [1]], np.int8),
    )
    assert ABAW7().encode(submission) == (
        b"image,valence,arousal,expression,aus\n"
        b"v/00001.jpg,0.500000,-1.000000,7,1,1,1,1,1,1,1,1,1,1,1,0\n"
        b"v/00001.jpg,0.123456,0.000000,0,0,0,0,0,0,0,0,0,0,0,0,1\n"
    )


def test_a_good_file_has_no_defect(defects: Defects, rows: Rows) -> None:
    assert defects(rows(1, 8, 17)) == []


@pytest.mark.parametrize(
    "cell", ["nan", "inf", "-inf", "1e999", "0x1", "\uff11", "1_0", "", "1.0001", "-5", "0,5", "x"]
)
@pytest.mark.parametrize("column", [1, 2])
def test_a_bad_valence_or_arousal_is_named_with_its_line(defects: Defects, rows: Rows, column: int, cell: str) -> None:
    lines = rows(1, 8, 17)
    fields = lines[1].split(",")
    fields[column] = cell
    lines[1] = ",".join(fields)
    found = defects(lines)
    assert {line for line, _, _ in found} <= {3, 4}
    assert found[0][0] == 3
    if "," not in cell:
        got = f"'{cell}'" if cell else "nothing"
        assert found == [(3, ["valence", "arousal"][column - 1], f"got {got}, expected a number in -1..1")]


@pytest.mark.parametrize(
    "cell", ["3.0", "nan", "inf", "1e999", "0x1", "\uff11", "1_0", "", "8", "-1", "0.5", "happy", "1e0"]
)
@pytest.mark.parametrize("column", [3, 4, 9, 15])
def test_a_bad_integer_is_named_with_its_line_and_column(defects: Defects, rows: Rows, column: int, cell: str) -> None:
    lines = rows(1, 8, 17)
    fields = lines[1].split(",")
    fields[column] = cell
    lines[1] = ",".join(fields)
    name, top = ("expression", 7) if column == 3 else (ACTION_UNITS[column - 4], 1)
    got = f"'{cell}'" if cell else "nothing"
    assert defects(lines) == [(3, name, f"got {got}, expected an integer in 0..{top}")]


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda row: row.rsplit(",", 1)[0], "got 15 fields, expected 16 fields"),
        (lambda row: row + ",0", "got 17 fields, expected 16 fields"),
        (lambda row: row + ",", "got 17 fields, expected 16 fields"),
        (lambda row: row + ",0" * 7, "got 23 fields, expected 16 fields"),
        (lambda row: row.replace(",", ";"), "got 1 field, expected 16 fields"),
        (lambda row: row[:0], "got a blank line, expected 16 fields"),
    ],
)
def test_a_row_of_another_width_is_named_with_its_line(
    defects: Defects, rows: Rows, change: Callable[[str], str], got: str
) -> None:
    lines = rows(1, 8, 17)
    names = [row.split(",")[0] for row in lines]
    lines[1] = change(lines[1])
    assert (3, "", got) in defects(lines, names)


def test_a_row_of_another_width_is_not_said_to_be_missing_too(defects: Defects, rows: Rows) -> None:
    lines = rows(1, 8, 17)
    names = [row.split(",")[0] for row in lines]
    lines[1] += ","
    assert defects(lines, names) == [(3, "", "got 17 fields, expected 16 fields")]


@pytest.mark.parametrize(
    "name", ["../x/1.jpg", "/v/1.jpg", "v\\1.jpg", "C:/v/1.jpg", "v//1.jpg", "./v/1.jpg", "", "v/1.txt"]
)
def test_a_bad_image_name_is_named_with_its_line(defects: Defects, rows: Rows, name: str) -> None:
    lines = rows(1, 8, 17)
    listed = [row.split(",")[0] for row in lines]
    lines[1] = lines[1].replace("video1/00008.jpg", name)
    assert any(line == 3 and column == "image" and "got" in message for line, column, message in defects(lines, listed))


def test_every_defect_of_a_file_is_named_in_the_order_of_lines(defects: Defects, rows: Rows) -> None:
    lines = rows(1, 8, 17, 21)
    lines[3] = lines[3].replace(",0.5,", ",7,")
    lines[0] = lines[0].replace(",3,", ",8,").replace(",-0.25,", ",,")
    assert [(line, column) for line, column, _ in defects(lines)] == [(2, "arousal"), (2, "expression"), (5, "valence")]


@pytest.mark.parametrize(
    "header",
    [
        "image,valence,arousal,expression",
        "image, valence,arousal,expression,aus",
        "image,arousal,valence,expression,aus",
    ],
)
def test_another_header_is_a_defect_of_line_1(write: Write, rows: Rows, header: str) -> None:
    path = write("\n".join([header, *rows(1)]))
    problems = ABAW7().check(path, ABAW7().read_list(write("\n".join(["image", *rows(1)]), "list.txt")))
    assert [(p.line, p.message) for p in problems] == [
        (1, f"got the header '{header}', expected 'image,valence,arousal,expression,aus'")
    ]


def test_no_header_is_a_defect_and_the_first_row_is_still_read(write: Write, rows: Rows) -> None:
    path = write("\n".join(rows(1, 8)))
    listed = ABAW7().read_list(write("\n".join(["image", *rows(1, 8)]), "list.txt"))
    with pytest.warns(DataWarning, match="no header"):
        problems = ABAW7().check(path, listed)
    assert [(p.line, p.message[:13]) for p in problems] == [(1, "got no header")]


def test_reading_refuses_what_the_checker_names_and_keeps_every_problem(write: Write, rows: Rows) -> None:
    lines = [row.replace(",3,", ",3.0,") for row in rows(*range(1, 31))]
    path = write("\n".join(["image,valence,arousal,expression,aus", *lines]))
    with pytest.raises(ProblemsError, match="and 10 more problems") as caught:
        ABAW7().read(path)
    assert [problem.line for problem in caught.value.problems] == list(range(2, 32))


@pytest.mark.parametrize(
    "content", [b"", b"image\n", gzip.compress(b"image", mtime=0), "image".encode("utf-16"), b"image\nv/1\0"]
)
def test_what_is_no_text_with_rows_is_refused_by_every_reader(write: Write, content: bytes) -> None:
    path = write(content)
    for read in (ABAW7().read, ABAW7().read_list, lambda path: ABAW7().check(path, None)):  # type: ignore[arg-type]
        with pytest.raises(DataError, match="expected"):
            read(path)


def test_a_hostile_name_is_escaped_in_messages_and_never_altered_in_the_file(write: Write, rows: Rows) -> None:
    name = "v\x1b[31m\u202e/1.jpg"
    row = rows(1)[0].replace("video1/00001.jpg", name)
    good = write(f"image,valence,arousal,expression,aus\n{row}\n")
    assert ABAW7().read(good).images.to_pylist() == [name]
    bad = write(f"image,valence,arousal,expression,aus\n{row.replace(name, '../' + name)}\n")
    with pytest.raises(ProblemsError) as caught:
        ABAW7().read(bad)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
