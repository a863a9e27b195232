"""The quick reader answers nothing, or what the careful one answers: never more, never something else."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from abawkit.formats.label_columns import make_fields
from abawkit.formats.rows import Rows, _read_by_cell, _read_with_arrow, read_rows
from abawkit.labels import TASKS, Answer

MULTI_TASK = make_fields(TASKS)

REALS = ["0.5", "-1", "1e-5", "1E-5", ".5", "5.", "-.5", "0.", "-0", "-0.0", "+1", "007", " 1", "1_0", "0x1", "00.5"]
REALS += ["-5", "-5.0", "nan", "inf", "-inf", "1e999", "1e-999", "1.0001", "", "-", ".", "1e", "0.1.2", "\uff11", "1d0"]
INTEGERS = ["0", "1", "7", "8", "-1", "-0", "+1", "007", "0001", " 1", "1 ", "1_0", "0x1", "0X1", "00x1", "1.0", "1."]
INTEGERS += ["1e0", "-5", "300", "99999999999", "", "nan", "true", "\uff11", "0.5", "3.5"]
NAMES = ["v/1.jpg", "v1/0/x.jpg", "-v/1.jpg", "v/.jpg", "v/1.JPG", "v//1.jpg", "../v/1.jpg", "./1.jpg", "/v/1.jpg"]
NAMES += [
    "v/1.txt",
    "",
    "v\\1.jpg",
    "é/1.jpg",
    '"v/1.jpg"',
    "0x1/0x1.jpg",
    "v /1.jpg",
    "C:/1.jpg",
    "v/..jpg",
    "v..x/1.jpg",
]

usual = st.tuples(
    st.sampled_from(["v/1.jpg", "v/2.jpg", "w_left/00001.jpg"]),
    st.sampled_from(["0.5", "-1", "0.25", "1e-5"]),
    st.sampled_from(["0", "-0.125"]),
    st.sampled_from(list("01234567")),
    *[st.sampled_from("01")] * 12,
)
odd = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(REALS), st.sampled_from(REALS), *[st.sampled_from(INTEGERS)] * 13
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Usual rows, in a few of which one cell is odd, a field is lost or one is added."""
    rows = [list(row) for row in draw(st.lists(usual, min_size=1, max_size=4))]
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(rows))
        change = draw(st.sampled_from(["cell", "cell", "cell", "cell", "lost", "added", "blank"]))
        column = draw(st.integers(0, 15))
        if change == "cell" and column < len(row):
            row[column] = draw(odd)[column]
        elif change == "lost":
            row.pop()
        elif change == "added":
            row.append(draw(st.sampled_from(["", "1", "x"])))
        elif change == "blank":
            row[:] = [""]
    header = draw(st.sampled_from(["", "image\n", "image,valence,arousal,expression,aus\n"]))
    return (header + "".join(",".join(row) + "\n" for row in rows)).encode()


def assert_same(quick: Rows, careful: Rows) -> None:
    for field in fields(Rows):
        a, b = getattr(quick, field.name), getattr(careful, field.name)
        if field.name == "images":
            assert a.equals(b)
        else:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@settings(derandomize=True, max_examples=600, deadline=None)
@given(texts(), st.booleans())
def test_the_quick_reader_answers_none_or_what_the_careful_one_answers(content: bytes, missing: bool) -> None:
    skip_lines = int(content.startswith(b"image"))
    quick = _read_with_arrow(content, MULTI_TASK, skip_lines, missing=missing, named=True)
    if quick is not None:
        careful, problems = _read_by_cell(content, MULTI_TASK, skip_lines, missing=missing, named=True)
        assert problems == []
        assert_same(quick, careful)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *[(0, name) for name in NAMES],
        *[(1, cell) for cell in REALS],
        *[(2, cell) for cell in REALS],
        *[(3, cell) for cell in INTEGERS],
        *[(15, cell) for cell in INTEGERS],
    ],
)
def test_the_two_readers_agree_on_each_odd_cell(column: int, cell: str, missing: bool) -> None:
    row = ["v/1.jpg", "0.5", "-0.25", "3", *"100000000001"]
    row[column] = cell
    content = f"image\n{','.join(row)}\n".encode()
    quick = _read_with_arrow(content, MULTI_TASK, 1, missing=missing, named=True)
    careful, problems = _read_by_cell(content, MULTI_TASK, 1, missing=missing, named=True)
    if quick is not None:
        assert problems == []
        assert_same(quick, careful)


def test_a_cell_of_a_million_digits_is_a_problem_like_any_other() -> None:
    content = b"image\nv/1.jpg,%bx,0,0" % (b"1" * 1_000_000) + b",0" * 12 + b"\n"
    _, problems = read_rows(content, MULTI_TASK, skip_lines=1, missing=True)
    assert [(problem.line, problem.column) for problem in problems] == [(2, "valence")]


def test_the_usual_file_takes_the_quick_way() -> None:
    content = b"image,aus\nvideo1_left/00001.jpg,0.123,-1,7" + b",1" * 12 + b"\n"
    assert _read_with_arrow(content, MULTI_TASK, 1, missing=False, named=True) is not None
    marked = content.replace(b"0.123", b"-5").replace(b",7,", b",-1,")
    assert _read_with_arrow(marked, MULTI_TASK, 1, missing=True, named=True) is not None


ODD: dict[Answer, list[str]] = {
    "va": [f"{cell},0.5" for cell in REALS] + [f"0.5,{cell}" for cell in REALS] + ["0.5", "0.5,0.5,"],
    "expression": [*INTEGERS, "3,", "3,4"],
    "au": [",".join([*"01010101010", cell]) for cell in INTEGERS] + ["0,1"],
    "compound": [*INTEGERS, "6", "6,"],
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("answer", ODD)
def test_the_two_readers_agree_on_odd_cells_of_every_form(answer: Answer, missing: bool, named: bool) -> None:
    fields = make_fields([answer])
    good = ",".join(["0"] * len(fields))
    answered = 0
    for cells in ODD[answer]:
        content = "".join(f"{'v/1.jpg,' * named}{row}\n" for row in ("header", good, cells, good)).encode()
        quick = _read_with_arrow(content, fields, 1, missing=missing, named=named)
        careful, problems = _read_by_cell(content, fields, 1, missing=missing, named=named)
        assert {problem.line for problem in problems} <= {3}
        if quick is not None:
            answered += 1
            assert problems == []
            assert_same(quick, careful)
    assert answered > 3


@pytest.mark.parametrize("first", [b"0x1", b"0X1"])
def test_a_hexadecimal_cell_that_begins_the_text_is_none_for_either_reader(first: bytes) -> None:
    (field,) = make_fields(["expression"])
    assert _read_with_arrow(first + b"\n", [field], 0, missing=False, named=False) is None
    _, problems = read_rows(first + b"\n", [field], skip_lines=0, missing=False, named=False)
    assert [problem.message[:9] for problem in problems] == [f"got '{first.decode()}'"]


@pytest.mark.parametrize("answer", ["va", "expression", "au", "compound"])
@pytest.mark.parametrize("named", [False, True])
def test_the_usual_file_of_every_form_takes_the_quick_way(answer: Answer, named: bool) -> None:
    fields = make_fields([answer])
    row = b"video1_left/00001.jpg," * named + b",".join([b"1"] * len(fields)) + b"\n"
    assert _read_with_arrow(b"header\n" + row * 3, fields, 1, missing=False, named=named) is not None


def test_a_value_marked_as_missing_is_read_in_annotations_only() -> None:
    content = b"image\nv/1.jpg,-5,-5,-1" + b",-1" * 12 + b"\n"
    rows, problems = read_rows(content, MULTI_TASK, skip_lines=1, missing=True)
    assert problems == []
    assert not rows.present.any()
    _, problems = read_rows(content, MULTI_TASK, skip_lines=1, missing=False)
    assert len(problems) == 15


def test_arrow_is_given_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads would else need the interpreter to let go of it, and abort a process that is just ending."""
    content = b"v/1.jpg," + b",".join([b"0.5", b"0", b"1", *[b"1"] * 12]) + b"\n"
    given = []

    def read(source: pa.BufferReader, *arguments: object) -> pa.Table:
        given.append(source.read_buffer().address)
        source.seek(0)
        table: pa.Table = csv.read_csv(source, *arguments)
        return table

    monkeypatch.setattr("abawkit.formats.rows.csv", SimpleNamespace(**{**vars(csv), "read_csv": read}))
    assert _read_with_arrow(content, MULTI_TASK, 0, missing=True, named=True) is not None
    [address] = given
    pythons = pa.py_buffer(content)
    assert not pythons.address <= address < pythons.address + pythons.size
