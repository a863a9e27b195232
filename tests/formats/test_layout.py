"""A table in another layout is recognised as a whole: one problem for `check`, one right answer for `--repair`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.formats.base import SubmissionFormat
from abawkit.formats.check import find_problems
from abawkit.formats.editions import ABAW3VA, ABAW7, ABAW5Expression
from abawkit.formats.readers import read_annotations
from abawkit.formats.repair import repair_content

Write = Callable[..., Path]

NAMES = ["video1/00001.jpg", "video1/00008.jpg", "video2/00003.jpg"]
VALUES = [
    "0.5,-0.25,3,1,0,0,0,1,0,0,0,0,0,1,0",
    "-1,0.123456,7,0,1,0,0,0,0,0,0,0,1,0,1",
    "1.0,-0.5,0,1,0,0,0,1,0,0,0,0,0,1,0",
]
HEADER = "image,valence,arousal,expression,aus"
GOOD = "\n".join([HEADER, *map(",".join, zip(NAMES, VALUES, strict=True)), ""])


@pytest.fixture
def examine(write: Write) -> Callable[..., tuple[list[tuple[int, str]], str, list[str]]]:
    """What `check` says of a file that answers `NAMES`, the repaired text, and what the repair left."""

    def examine(text: str, plugin: SubmissionFormat | None = None) -> tuple[list[tuple[int, str]], str, list[str]]:
        plugin = plugin or ABAW7()
        frames = plugin.read_list(write("\n".join([plugin.image_column_names[0], *NAMES]), "list.txt"))  # type: ignore[attr-defined]
        path = write(text)
        problems = [(problem.line, problem.message) for problem in find_problems(path, frames, plugin)]
        result = repair_content(path, frames, plugin)
        assert isinstance(result.content, bytes)
        return problems, result.content.decode(), [problem.message for problem in result.problems]

    return examine


Examine = Callable[..., tuple[list[tuple[int, str]], str, list[str]]]


def number_rows(text: str, name: str = "", start: int = 0) -> str:
    first, *rows = text.splitlines()
    return "\n".join([f"{name},{first}", *(f"{start + n},{row}" for n, row in enumerate(rows)), ""])


def change_cells(change: Callable[[str], str], separator: str = ",") -> str:
    """`GOOD` with every number written otherwise."""
    lines = [line.split(",") for line in GOOD.splitlines()]
    rows = [[row[0], *map(change, row[1:])] for row in lines[1:]]
    return "\n".join(separator.join(row) for row in [lines[0], *rows]) + "\n"


LAYOUTS = {
    "semicolons": (GOOD.replace(",", ";"), 1, "cells are separated by ';', expected commas"),
    "semicolons and decimal commas": (
        change_cells(lambda cell: cell.replace(".", ","), ";"),
        1,
        "cells are separated by ';' and numbers have decimal commas, expected commas and decimal points",
    ),
    "tabs": (GOOD.replace(",", "\t"), 1, "cells are separated by tabs, expected commas"),
    "bars": (GOOD.replace(",", "|"), 1, "cells are separated by '|', expected commas"),
    "blanks, as numpy.savetxt writes": (GOOD.replace(",", " "), 1, "cells are separated by blanks, expected commas"),
    "pandas' index": (
        number_rows(GOOD),
        1,
        "column 1 is an index (0, 1, 2), expected the image (index=False in pandas)",
    ),
    "an index read back": (
        number_rows(GOOD, "Unnamed: 0"),
        1,
        "column 1 is an index (0, 1, 2), expected the image (index=False in pandas)",
    ),
    "an index of other rows": (
        number_rows(GOOD, "index", start=7),
        1,
        "column 1 is an index (7, 8, 9), expected the image (index=False in pandas)",
    ),
    "a folder before every name": (
        GOOD.replace("video", "cropped_aligned/video"),
        2,
        "names of images are those of the list behind 'cropped_aligned/' (3 of 3 rows), expected nothing before them",
    ),
    "absolute paths": (
        GOOD.replace("video", "/data/aff/cropped_aligned/video"),
        2,
        "names of images are those of the list behind '/data/aff/cropped_aligned/' (3 of 3 rows), expected nothing "
        "before them",
    ),
    "two folders": (
        GOOD.replace("video1", "old/video1").replace("video2", "new/video2"),
        2,
        "names of images are those of the list behind 'old/' or 1 other path (3 of 3 rows), expected nothing before "
        "them",
    ),
    "backslashes": (
        GOOD.replace("/", "\\"),
        2,
        "names of images have '\\' between folder and file (3 of 3 rows), expected '/'",
    ),
    "NumPy scalars": (
        change_cells(lambda cell: f"np.{'float32' if '.' in cell else 'int64'}({cell})"),
        2,
        "3 lines hold values as Python prints them, such as 'np.float32(0.5)', expected plain numbers",
    ),
    "tensors": (
        change_cells(lambda cell: f"tensor({cell}, device='cuda:0', dtype=torch.float64)"),
        2,
        "3 lines hold values as Python prints them, such as 'tensor(0.5, device='cuda:0', dtype=torch.float64)', "
        "expected plain numbers; a printed tensor is rounded, float(x) writes all digits",
    ),
    "lists of one": (
        change_cells(lambda cell: f"[{cell}]"),
        2,
        "3 lines hold values as Python prints them, such as '[0.5]', expected plain numbers",
    ),
    "a list of action units": (
        GOOD.replace("3,1,0,0,0,1,0,0,0,0,0,1,0", "3,[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]"),
        2,
        "1 line holds values as Python prints them, such as '[1', expected plain numbers",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_one_problem_and_is_repaired(examine: Examine, layout: str) -> None:
    text, line, message = LAYOUTS[layout]
    problems, repaired_text, left = examine(text)
    assert (problems, repaired_text, left) == ([(line, f"{message}; --repair OUT corrects it")], GOOD, [])


def test_truth_values_are_those_of_action_units_alone(examine: Examine) -> None:
    rows = ["0.5,-0.25,3,True,False,False,False,np.True_,0,0,0,0,0,1,0", *VALUES[1:]]
    text = "\n".join([HEADER, *map(",".join, zip(NAMES, rows, strict=True)), ""])
    assert examine(text)[1:] == (GOOD, [])
    _, _, left = examine(GOOD.replace(",3,", ",True,"))
    assert left == ["got 'True', expected an integer in 0..7"]


def test_commas_between_cells_and_in_numbers_are_told_apart_by_the_columns(examine: Examine) -> None:
    decimals = ["0.5000,-0.2500", "-1.0000,0.1235", "1.0000,-0.5000"]
    rows = [f"{name},{va},{row.split(',', 2)[2]}" for name, va, row in zip(NAMES, decimals, VALUES, strict=True)]
    good = "\n".join([HEADER, *rows, ""])
    with_commas = "\n".join([HEADER, *(write_decimal_commas(row) for row in rows), ""])
    problems, text, left = examine(with_commas)
    assert problems == [(2, "numbers have decimal commas, expected points; --repair OUT corrects it")]
    assert (text, left) == (good, [])


def write_decimal_commas(row: str) -> str:
    name, v, a, rest = row.split(",", 3)
    return ",".join([name, v.replace(".", ","), a.replace(".", ","), rest])


def test_numbers_with_and_without_commas_in_one_file_are_not_guessed(examine: Examine) -> None:
    lines = GOOD.splitlines()
    lines[1] = lines[1].replace("0.5,", "0,5,")
    assert examine("\n".join([*lines, ""]))[2] == ["got 17 fields, expected 16 fields"]


def test_several_layouts_at_once_are_each_named(examine: Examine) -> None:
    text = number_rows(number_rows(GOOD.replace("video", "x/video")), "Unnamed: 0").replace(",", ";")
    problems, repaired_text, left = examine(text)
    assert [message.partition(",")[0].partition(" (")[0] for _, message in problems] == [
        "cells are separated by ';'",
        "column 1 is an index",
        "column 1 is an index",
        "names of images are those of the list behind 'x/'",
    ]
    assert (repaired_text, left) == (GOOD, [])


def test_what_is_wrong_behind_a_layout_is_named_with_it(examine: Examine) -> None:
    text = GOOD.replace("video", "x/video").replace(",7,", ",8,")
    problems, _, left = examine(text)
    assert [line for line, _ in problems] == [2, 3]
    assert left == [problems[1][1]] == ["got '8', expected an integer in 0..7"]


def test_a_name_behind_which_two_names_of_the_list_stand_is_not_guessed(write: Write) -> None:
    frames = ABAW7().read_list(write("image\na/b/1.jpg\nb/1.jpg\n", "list.txt"))
    path = write(f"{HEADER}\nx/a/b/1.jpg,{VALUES[0]}\nb/1.jpg,{VALUES[1]}\n")
    assert [problem.message for problem in find_problems(path, frames, ABAW7())] == [
        "got 'x/a/b/1.jpg', the list does not have it",
        "row missing: 'a/b/1.jpg' (line 2 of the list)",
    ]


def test_a_folder_before_one_name_is_a_wrong_name(examine: Examine) -> None:
    _, _, left = examine(GOOD.replace("video2", "x/video2"))
    assert left == [
        "got 'x/video2/00003.jpg', the list does not have it",
        "row missing: 'video2/00003.jpg' (line 4 of the list)",
    ]


def test_a_good_file_is_nothing_else(examine: Examine) -> None:
    assert examine(GOOD) == ([], GOOD, [])


def test_a_class_alone_is_no_index(examine: Examine) -> None:
    header = ABAW5Expression().header
    text = "\n".join([header, *(f"{name},{row}" for row, name in enumerate(NAMES)), ""])
    assert examine(text, ABAW5Expression()) == ([], text, [])
    assert examine(number_rows(text), ABAW5Expression())[1:] == (text, [])


def test_rows_without_names_lose_an_index_only_if_it_has_no_gap(tmp_path: Path, write: Write) -> None:
    frames = ABAW3VA().read_list(write("image\nvideo1/00001.jpg\nvideo1/00003.jpg\n", "list.txt"))
    folder = tmp_path / "sub"
    folder.mkdir()
    file = folder / "video1.txt"
    good = "valence,arousal\n0.5,-0.25\n-1,0.5\n1,0\n"
    file.write_text(number_rows(good))
    [problem] = find_problems(folder, frames, ABAW3VA())
    assert problem.message == (
        "column 1 is an index (0, 1, 2), expected valence (index=False in pandas); --repair OUT corrects it"
    )
    assert repair_content(folder, frames, ABAW3VA()).content == {"video1.txt": good.encode()}
    file.write_text(number_rows(good).replace("\n2,", "\n5,"))
    assert repair_content(folder, frames, ABAW3VA()).problems


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (number_rows(GOOD), "its column 1 is an index: write it without one"),
        (GOOD.replace(",", ";"), "its cells are separated by ';': save it with commas"),
        (GOOD.replace(",", "\t"), "its cells are separated by tabs: save it with commas"),
    ],
)
def test_annotations_and_lists_in_another_layout_are_refused_by_its_name(write: Write, text: str, named: str) -> None:
    for read in (read_annotations, ABAW7().read_list):
        with pytest.raises(DataError, match=named):
            read(write(text))
