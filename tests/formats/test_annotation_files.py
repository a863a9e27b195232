"""Annotation files: missing values become masks, everything else that is not a label is a problem."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataWarning, ProblemsError
from abawkit.formats.readers import read_annotations
from abawkit.labels import FIELDS
from abawkit.tables import Annotations

Write = Callable[..., Path]
AU = ",0" * 11 + ",1"


@pytest.fixture
def read(write: Write) -> Callable[..., Annotations]:
    return lambda *rows, header="image,valence": read_annotations(write("\n".join([header, *rows])))


def test_values_keep_their_columns(read: Callable[..., Annotations]) -> None:
    table = read("v/1.jpg,0.25,-0.75,6,1,0,1,0,0,0,0,0,0,0,0,1")
    assert table.va.tolist() == [[0.25, -0.75]]
    assert table.expression.tolist() == [6]
    assert table.au.tolist() == [[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    assert table.all_valid.tolist() == [True]


@pytest.mark.parametrize("missing", ["-5", "-5.0", "-5.", "-05", "-5e0"])
def test_minus_five_is_missing_however_it_is_written(read: Callable[..., Annotations], missing: str) -> None:
    table = read(f"v/1.jpg,{missing},{missing},6{AU}", f"v/2.jpg,0.5,0.5,6{AU}")
    assert table.va_valid.tolist() == [False, True]
    assert table.va_partial.tolist() == [False, False]
    assert table.va[0].tolist() == [0.0, 0.0]  # no magic number past the reader


@pytest.mark.parametrize("pair", ["-5,0.5", "0.5,-5"])
def test_one_of_valence_and_arousal_missing_is_the_pair_missing(read: Callable[..., Annotations], pair: str) -> None:
    table = read(f"v/1.jpg,{pair},6{AU}")
    assert (table.va_valid.tolist(), table.va_partial.tolist()) == ([False], [True])
    assert table.va.tolist() == [[0.0, 0.0]]


def test_some_action_units_missing_is_all_missing(read: Callable[..., Annotations]) -> None:
    table = read("v/1.jpg,0,0,6,-1" + ",1" * 11, "v/2.jpg,0,0,6" + ",-1" * 12, "v/3.jpg,0,0,6" + ",0" * 12)
    assert table.au_valid.tolist() == [False, False, True]
    assert table.au_partial.tolist() == [True, False, False]
    assert table.au[0].tolist() == [0] * 12


def test_a_row_without_any_active_unit_is_annotated(read: Callable[..., Annotations]) -> None:
    assert read("v/1.jpg,0,0,0" + ",0" * 12).au_valid.tolist() == [True]


def test_an_integer_with_a_point_is_read_as_the_integer(read: Callable[..., Annotations]) -> None:
    table = read("v/1.jpg,0,0,2.0" + ",1.0" * 12, "v/2.jpg,0,0,-1.0" + ",-1." * 12)
    assert table.expression.tolist() == [2, 0]
    assert table.au[0].tolist() == [1] * 12
    assert table.expression_valid.tolist() == table.au_valid.tolist() == [True, False]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (f"v/1.jpg,1.0001,0,6{AU}", "valence"),
        (f"v/1.jpg,0,-7,6{AU}", "arousal"),
        (f"v/1.jpg,-4.999,0,6{AU}", "valence"),
        *[(f"v/1.jpg,{cell},0,6{AU}", "valence") for cell in ("nan", "inf", "1e999", "0x1", "\uff11", "1_0", "")],
        (f"v/1.jpg,0,0,8{AU}", "expression"),
        (f"v/1.jpg,0,0,happy{AU}", "expression"),
        (f"v/1.jpg,0,0,2.5{AU}", "expression"),
        (f"v/1.jpg,0,0,-5{AU}", "expression"),
        ("v/1.jpg,0,0,6" + ",0" * 11 + ",0.5", "AU26"),
        ("v/1.jpg,0,0,6,2" + ",0" * 11, "AU1"),
        (f"v/1.jpg,0,0,6{AU},0", ""),
        ("v/1.jpg,0,0,6" + ",0" * 11, ""),
        ("", ""),
    ],
)
def test_a_bad_cell_or_row_is_a_problem_with_its_line_and_column(
    read: Callable[..., Annotations], row: str, column: str
) -> None:
    with pytest.raises(ProblemsError) as caught:
        read(f"v/0.jpg,0,0,6{AU}", row, f"v/2.jpg,0,0,6{AU}")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, column)]


def test_the_message_says_what_was_found_what_was_expected_and_what_to_do(read: Callable[..., Annotations]) -> None:
    with pytest.raises(ProblemsError) as caught:
        read(f"v/1.jpg,0,1.7,6{AU}")
    first, last = str(caught.value).split("\n")
    assert first.endswith(":2: column 'arousal': got '1.7', expected a number in -1..1, or -5 (missing)")
    assert last == "1 problem found; correct these lines, or download the file again, and retry"


@pytest.mark.parametrize("width", [1, 2, 5, 16])
def test_the_width_of_the_header_is_never_trusted(read: Callable[..., Annotations], width: int) -> None:
    table = read(f"v/1.jpg,0,0,6{AU}", header=",".join(FIELDS[:width]))
    assert table.images.to_pylist() == ["v/1.jpg"]
    assert table.lines.tolist() == [2]


@pytest.mark.parametrize("width", [2, 5, 16, 30])
def test_words_that_name_no_column_of_any_file_are_shown_and_the_official_order_is_taken(
    read: Callable[..., Annotations], width: int
) -> None:
    with pytest.warns(DataWarning, match=r"names no known column \(x.*; columns are read in the official order"):
        table = read(f"v/1.jpg,0.5,-0.25,6{AU}", header="image" + ",x" * (width - 1))
    assert table.va.tolist() == [[0.5, -0.25]]
    assert table.lines.tolist() == [2]


def test_a_file_without_a_header_keeps_its_first_row(read: Callable[..., Annotations]) -> None:
    with pytest.warns(DataWarning, match="no header"):
        table = read(f"v/2.jpg,0,0,6{AU}", header=f"v/1.jpg,0.5,0,6{AU}")
    assert table.images.to_pylist() == ["v/1.jpg", "v/2.jpg"]
    assert table.lines.tolist() == [1, 2]
