"""Tables of one's own: columns are read as they are named, missing values are masked and counted, all else is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abawkit.errors import ConfigError, DataError, ProblemsError
from abawkit.formats.custom_table import CustomTable, parse_columns, read_custom_table
from abawkit.labels import ACTION_UNITS

Write = Callable[..., Path]
VA = "image=path,valence=v,arousal=a"
UNITS = ",".join(ACTION_UNITS)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str, end: str = "\n") -> Path:
        path = tmp_path / "own.csv"
        path.write_bytes((end.join(lines) + end).encode())
        return path

    return write


def read(path: Path, columns: str, *missing: str) -> CustomTable:
    return read_custom_table(path, parse_columns([columns], missing))


def problems(path: Path, columns: str, *missing: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ProblemsError) as caught:
        read(path, columns, *missing)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_columns_are_read_by_the_names_given_wherever_they_stand(write: Write) -> None:
    path = write("a,id,path,v", "-0.25,7,v/00002.jpg,0.5", "1,8,v/00001.jpg,-1")
    table = read(path, VA).annotations
    assert table.images.to_pylist() == ["v/00002.jpg", "v/00001.jpg"]
    assert table.va.tolist() == [[0.5, -0.25], [-1.0, 1.0]]
    assert table.lines.tolist() == [2, 3]
    assert [mask.tolist() for mask in (table.va_valid, table.expression_valid)] == [[True, True], [False, False]]


@pytest.mark.parametrize(
    ("columns", "header", "cells", "valid"),
    [
        ("image,valence,arousal", "image,valence,arousal", "0,0", "va_valid"),
        ("image,expression", "image,expression", "3", "expression_valid"),
        (f"image,{UNITS}", f"image,{UNITS}", "0,1" * 6, "au_valid"),
    ],
)
def test_any_task_can_be_alone_and_a_bare_field_is_a_column_of_that_name(
    write: Write, columns: str, header: str, cells: str, valid: str
) -> None:
    cells = cells.replace("10", "1,0")
    table = read(write(header, f"v/1.jpg,{cells}"), columns).annotations
    masks = {name: getattr(table, name).tolist() for name in ("va_valid", "expression_valid", "au_valid")}
    assert masks == {name: [name == valid] for name in masks}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_separator_is_the_one_with_which_the_header_has_the_columns(write: Write, separator: str, end: str) -> None:
    lines = [separator.join(cells) for cells in (("path", "v", "a", "x"), ("v/1.jpg", "0.5", "0", ""))]
    assert read(write(*lines, end=end), VA).annotations.va.tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize(
    ("cell", "number"),
    [("0", 0), ("7", 7), ("2.0", 2), ("Neutral", 0), ("anger", 1), ("OTHER", 7), (" Fear ", 3)],
)
def test_an_expression_is_a_number_or_a_name(write: Write, cell: str, number: int) -> None:
    assert read(write("image,expression", f"v/1.jpg,{cell}"), "image,expression").annotations.expression == [number]


def test_missing_values_are_masked_and_each_mark_is_counted(write: Write) -> None:
    path = write(
        *("path,v,a,emo", "v/1.jpg,,0.5,-1", "v/2.jpg,-5,-5.0,", "v/3.jpg,nan,NA,None", "v/4.jpg,-9,unknown,7"),
        "v/5.jpg,0.1,0.2,-9.0",
    )
    found = read(path, f"{VA},expression=emo", "-9", "unknown")
    assert found.missing == {
        "valence": {"-5": 1, "-9": 1, "empty": 1, "nan": 1},
        "arousal": {"-5": 1, "NA": 1, "unknown": 1},
        "expression": {"-1": 1, "-9": 1, "None": 1, "empty": 1},
    }
    table = found.annotations
    assert table.va_valid.tolist() == [False, False, False, False, True]
    assert table.va_partial.tolist() == [True, False, False, False, False]
    assert table.expression_valid.tolist() == [False, False, False, True, False]


def test_every_problem_is_named_with_line_and_column(write: Write) -> None:
    path = write(
        *(
            "path,v,a,emo",
            "v/1.jpg,1.7,0,happy",
            "v/2.jpg,0,inf,8",
            "v/3.jpg,0,0",
            "v/4.jpg,0,0,0,0",
            "",
            "../5.jpg,0,0,1",
        ),
        '"v/6.jpg",0_1,0x1,2.5',
        "v/7.jpg,0,0,0",
    )
    found = problems(path, f"{VA},expression=emo")
    assert [(line, column) for line, column, _ in found] == [
        *((2, "emo"), (2, "v"), (3, "a"), (3, "emo"), (4, ""), (5, ""), (6, ""), (7, "path")),
        *((8, "a"), (8, "emo"), (8, "v")),
    ]
    assert (
        found[0][2]
        == "got 'happy', expected an integer in 0..7 or the name of an expression, or -1 or nothing (missing)"
    )
    assert [message for *_, message in found[4:7]] == [
        "got 3 fields, expected 4 fields",
        "got 5 fields, expected 4 fields",
        "got a blank line, expected 4 fields",
    ]


def test_lines_are_those_of_the_file_behind_a_cell_with_line_breaks(write: Write) -> None:
    path = write("path,note,v,a", 'v/1.jpg,"one', 'two",0,0', "v/2.jpg,,0,3")
    assert [(line, column) for line, column, _ in problems(path, VA)] == [(4, "a")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_decimal_comma_is_named_for_what_it_is(write: Write, separator: str) -> None:
    path = write(*(separator.join(cells) for cells in (("path", "v", "a"), ("v/1.jpg", "0,5", "0"))))
    assert problems(path, VA)[0][2].endswith("; write a decimal point")


@pytest.mark.parametrize(
    ("header", "message"),
    [("path,v", "column 'a': is not in the table, for arousal"), ("path,v,a,v", "column 'v': is twice in the table")],
)
def test_a_column_that_is_not_there_or_there_twice_is_named_with_those_that_are(
    write: Write, header: str, message: str
) -> None:
    path = write(header, ",".join(["v/1.jpg", *"0000"][: header.count(",") + 1]))
    with pytest.raises(ProblemsError, match=rf"own\.csv:1: {message}") as caught:
        read(path, VA)
    assert str(caught.value).split("\n")[-1].startswith(f"its columns are: {header.replace(',', ', ')}; give --columns")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,v,a\n", "holds a header and no rows"),
        (b"", "is empty"),
        (b'path,v,a\n"v/1.jpg,0,0\n', "quotes"),
        (b"PK\x03\x04", "Office document"),
        (b"PAR1", "can't be read as a Parquet table"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path, VA)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("valence=v,arousal=a", "needs the column of image names"),
        ("image", "names no labels"),
        ("image,valence", "arousal not given; a task has all of its columns"),
        ("image,AU1,AU2", "AU4, AU6, .* not given"),
        ("image,expression,expression=e", "expression is given twice"),
        ("image,valence=v,arousal=v", "the column 'v' is given twice"),
        ("image,emotion=e", "expected FIELD=COLUMN with one of image, valence"),
        ("image=,expression", "got 'image='"),
        ("", "got ''|needs the column"),
    ],
)
def test_columns_that_say_too_little_or_contradict_each_other_are_refused(columns: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_columns([columns])


def test_columns_can_be_given_in_parts_and_with_a_comma_in_a_name() -> None:
    columns = parse_columns(["image=path,Valence=v", '"arousal=a, mean"'])
    assert columns.names == {"image": "path", "valence": "v", "arousal": "a, mean"}
    assert columns.tasks == ("va",)


@pytest.mark.parametrize("index", [None, "path"])
def test_parquet_is_read_with_its_types(tmp_path: Path, index: str | None) -> None:
    content: dict[str, Any] = {
        "path": ["v/1.jpg", "v/2.jpg", "v/3.jpg"],
        "v": np.array([0.5, np.nan, -5], np.float32),
        "a": pd.array([0, 1, None], "Int64"),
        "emo": pd.Categorical(["Fear", None, "other"]),
        **{name: [True, False, None] for name in ACTION_UNITS},
    }
    frame = pd.DataFrame(content)
    (frame.set_index(index) if index else frame).to_parquet(tmp_path / "own.parquet")
    found = read(tmp_path / "own.parquet", f"{VA},expression=emo,{UNITS}")
    table = found.annotations
    assert table.images.to_pylist() == content["path"]
    assert table.va_valid.tolist() == [True, False, False]
    assert table.va[0].tolist() == [0.5, 0.0]
    assert table.expression[[0, 2]].tolist() == [3, 7]
    assert table.au[:2].tolist() == [[1] * 12, [0] * 12]
    assert table.au_valid.tolist() == [True, True, False]
    assert found.missing["valence"] == {"-5": 1, "empty": 1}
    assert found.missing["AU26"] == {"empty": 1}


def test_problems_of_parquet_are_named_with_the_row_and_lists_are_no_values(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    pd.DataFrame({"path": ["v/1.jpg", None], "v": [0.0, 2.0], "a": [[0.0], [1.0]]}).to_parquet(path)
    assert [(line, column) for line, column, _ in problems(path, VA)] == [(0, "a"), (2, "path"), (2, "v")]
