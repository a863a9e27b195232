"""The test list, in each of the ways in which its editions were released."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataError, DataWarning, ProblemsError
from abawkit.formats.editions import ABAW7

Write = Callable[..., Path]
NAMES = ["video45_1/00001.jpg", "video45_1/00008.jpg", "video45_1/00001.jpg", "video7_left/00002.jpg"]


@pytest.mark.parametrize("ending", ["", ",", ",,,", ",-5,-5,-1" + ",-1" * 12, ",0.1", " ", ",  "])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_rows_end_in_nothing_a_comma_or_dummy_values(write: Write, ending: str, newline: str) -> None:
    path = write(newline.join(["image,valence,arousal,expression,aus", *(name + ending for name in NAMES)]))
    frames = ABAW7().read_list(path)
    assert frames.images.to_pylist() == NAMES
    assert frames.lines.tolist() == [2, 3, 4, 5]


def test_a_list_without_a_header_keeps_its_first_frame(write: Write) -> None:
    with pytest.warns(DataWarning, match="no header"):
        frames = ABAW7().read_list(write("\n".join(NAMES)))
    assert frames.images.to_pylist() == NAMES
    assert frames.lines.tolist() == [1, 2, 3, 4]


def test_repeated_rows_are_kept_in_their_place(write: Write) -> None:
    frames = ABAW7().read_list(write("\n".join(["image", *NAMES * 3])))
    assert frames.images.to_pylist() == NAMES * 3


@pytest.mark.parametrize(
    "name",
    ["../x/1.jpg", "/v/1.jpg", "C:/v/1.jpg", "v\\1.jpg", "v//1.jpg", "./v/1.jpg", "", ",0.5", "v/1.bmp", "1.jpg"],
)
def test_a_bad_name_is_refused_with_its_line(write: Write, name: str) -> None:
    path = write("\n".join(["image", NAMES[0], name, NAMES[1]]))
    with pytest.raises(ProblemsError) as caught:
        ABAW7().read_list(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, "image")]


def test_an_unknown_header_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="got the header 'valence,arousal'"):
        ABAW7().read_list(write("valence,arousal\n0.1,0.2\n"))
