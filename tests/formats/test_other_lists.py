"""The list of another track is refused by its header; one of other frames is named in a sentence, before all else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import SHOWN_PROBLEMS, DataError, ProblemsError
from abawkit.formats.base import get_format
from abawkit.formats.column_names import find_column
from abawkit.formats.readers import read_annotations
from abawkit.formats.row_order import find_order_problems
from abawkit.labels import ACTION_UNITS
from abawkit.tables import FrameList

Write = Callable[..., Path]

HEADERS = {
    "abaw7": "image,valence,arousal,expression,aus",
    "abaw5-va": "image_location,valence,arousal",
    "abaw5-expr": "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
    "abaw5-au": f"image_location,{','.join(ACTION_UNITS)}",
    "abaw7-ce": "image_location,Fearfully_Surprised,Happily_Surprised,Sadly_Surprised,Disgustedly_Surprised,"
    "Angrily_Surprised,Sadly_Fearful,Sadly_Angry",
}
SAME = {"abaw4": "abaw7", "abaw11": "abaw7", "abaw3-va": "abaw5-va", "abaw3-expr": "abaw5-expr", "abaw3-au": "abaw5-au"}
FORMATS = [*HEADERS, *SAME]
FRAMES = ["a/00001.jpg", "a/00008.jpg", "b/00002.jpg"]


def listing(header: str) -> str:
    return "\n".join([header, *FRAMES, ""])


@pytest.mark.parametrize("track", HEADERS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore:.*the header's first field is 'image_location':abawkit.errors.DataWarning")
def test_a_list_is_taken_by_the_formats_of_its_track_alone(write: Write, name: str, track: str) -> None:
    plugin, path = get_format(name), write(listing(HEADERS[track]))
    if SAME.get(name, name) == track:
        assert plugin.read_list(path).images.to_pylist() == FRAMES
        return
    with pytest.raises(DataError) as caught:
        plugin.read_list(path)
    first, advice = str(caught.value).split("\n")
    assert first.startswith(f"{path}:1: the header names ")
    assert "; this is a list of " in first
    assert track in first.split("; this is a list of ")[1].split(" or ")
    assert advice.startswith(
        f"give the list of {name}: lists of other tracks name other videos; if this is it, keep only"
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore:.*the header's first field is:abawkit.errors.DataWarning")
def test_a_list_whose_header_names_the_images_alone_fits_every_track(write: Write, name: str) -> None:
    for header in ("image", "image,", "image_location", "image_location,,,"):
        assert get_format(name).read_list(write(listing(header))).images.to_pylist() == FRAMES


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("abaw7", "image,V,A,E,AU"),
        ("abaw7", f"image,valence,arousal,expression,{','.join(ACTION_UNITS)}"),
        ("abaw7", '"image", "valence", "arousal", "expression", "aus"'),
        ("abaw7", "image,valence"),
        ("abaw5-va", "image_location,Valence, Arousal,"),
        ("abaw5-expr", "image_location,expression"),
        ("abaw5-expr", HEADERS["abaw5-expr"].replace(",S", ", S").lower()),
        ("abaw5-au", "image_location,aus"),
        ("abaw5-au", HEADERS["abaw5-au"].replace("AU1,", "AU01,")),
        ("abaw7-ce", HEADERS["abaw7-ce"].replace("y_S", "y s")),
    ],
)
def test_names_of_the_track_are_known_however_they_are_written(write: Write, name: str, header: str) -> None:
    assert get_format(name).read_list(write(listing(header))).images.to_pylist() == FRAMES


@pytest.mark.parametrize(
    ("name", "header", "names"),
    [
        ("abaw7", "image,x", "x"),
        ("abaw7", "image,arousal,valence,expression,aus", "arousal, valence, expression, aus"),
        ("abaw5-va", "image_location,arousal,valence", "arousal, valence"),
        ("abaw5-va", "image_location,valence,dominance", "valence, dominance"),
        ("abaw5-va", "image_location,valence,arousal,expression", "valence, arousal, expression"),
        ("abaw5-expr", "image_location,Neutral,Anger,Contempt", "Neutral, Anger, Contempt"),
        ("abaw5-expr", HEADERS["abaw5-expr"].removesuffix(",Other"), "Neutral, .*, Surprise"),  # the seven of ABAW2
        ("abaw3-expr", HEADERS["abaw5-expr"].removesuffix(",Other"), "Neutral, .*, Surprise"),
        ("abaw5-au", "image_location,AU1,AU2,AU4,AU5", "AU1, AU2, AU4, AU5"),
    ],
)
def test_other_names_than_those_of_the_track_are_refused(write: Write, name: str, header: str, names: str) -> None:
    with pytest.raises(DataError, match=f":1: the header names {names}, expected "):
        get_format(name).read_list(write(listing(header)))


def test_a_folder_of_another_track_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{','.join(ACTION_UNITS)}\n{','.join(['-1'] * 12)}\n")
    with pytest.raises(DataError, match=r"a\.txt:1: got the header 'AU1,.*expected 'valence,arousal'"):
        get_format("abaw3-va").read_list(tmp_path)


ROWS = {
    "abaw7": f"0.5,0.5,3,{','.join(['0'] * 12)}",
    "abaw5-va": "0.5,0.5",
    "abaw5-expr": "3",
    "abaw5-au": ",".join(["0"] * 12),
    "abaw7-ce": "3",
}


@pytest.mark.parametrize("track", HEADERS)
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.filterwarnings("ignore:.*the header's first field is 'image_location':abawkit.errors.DataWarning")
def test_a_file_of_another_track_is_one_problem_and_not_one_for_each_row(write: Write, name: str, track: str) -> None:
    plugin = get_format(name)
    path = write("\n".join([HEADERS[track], *(f"{image},{ROWS[track]}" for image in FRAMES)]), "given.txt")
    problems = plugin.check(path, plugin.read_list(write(listing("image"))))
    if name == track:
        assert problems == []
        return
    (problem,) = problems
    assert (problem.line, problem.column) == (1, "")
    assert track in problem.message.split("; this is a file of ")[1].split(" or ")
    with pytest.raises(DataError, match="got the header"):
        plugin.read(path)


@pytest.mark.parametrize("track", ["abaw5-va", "abaw5-expr", "abaw5-au", "abaw7-ce"])
def test_annotations_of_another_track_are_one_problem(write: Write, track: str) -> None:
    header = HEADERS[track].replace("image_location", "image")
    with pytest.raises(ProblemsError) as caught:
        read_annotations(write("\n".join([header, *(f"{image},{ROWS[track]}" for image in FRAMES)])))
    assert [problem.line for problem in caught.value.problems] == [1]


@pytest.mark.parametrize("name", ["abaw7", "abaw5-va", "abaw7-ce"])
@pytest.mark.parametrize("ending", ["", ",", ",,,"])
def test_a_list_that_was_given_as_an_answer_to_it_is_one_problem(write: Write, name: str, ending: str) -> None:
    plugin = get_format(name)
    path = write("\n".join([HEADERS[name], *(image + ending for image in FRAMES)]))
    (problem,) = plugin.check(path, plugin.read_list(path))
    assert problem.message == "its 3 rows hold names alone: this is a list of frames, not an answer to it"
    if name != "abaw7":
        return
    with pytest.raises(ProblemsError, match="its 3 rows hold names alone: this is a list of frames, expected"):
        read_annotations(path)


def test_each_file_of_a_folder_of_another_track_is_one_problem(tmp_path: Path) -> None:
    for video in ("a", "b"):
        (tmp_path / f"{video}.txt").write_text(f"{','.join(ACTION_UNITS)}\n" + f"{','.join(['0'] * 12)}\n" * 8)
    listed = FrameList(images=pa.array(FRAMES), lines=np.arange(3))
    problems = get_format("abaw3-va").check(tmp_path, listed)
    assert [(problem.file, problem.line) for problem in problems] == [("a.txt", 1), ("b.txt", 1)]
    assert all(problem.message.endswith("; this is a file of abaw3-au") for problem in problems)


def frames(video: str, count: int) -> FrameList:
    images = [f"{video}/{k:05}.jpg" for k in range(count)]
    return FrameList(images=pa.array(images, pa.string()), lines=np.arange(count, dtype=np.int64) + 2)


def test_a_list_that_has_nothing_in_common_with_a_file_is_one_sentence() -> None:
    (problem,) = find_order_problems(frames("a", 1000), frames("b", 2000))
    assert (problem.line, problem.column) == (0, "image")
    assert problem.message == (
        "none of its 1,000 rows names one of the 2,000 listed frames: it begins with 'a/00000.jpg', the list with "
        "'b/00000.jpg'; this is the list of another track or split, or names are written otherwise"
    )


def test_a_list_that_has_little_in_common_with_a_file_is_said_to_before_its_rows_are_named() -> None:
    file = frames("a", 100)
    images = [*file.images.to_pylist()[:30], *frames("b", 100).images.to_pylist()]
    listed = FrameList(images=pa.array(images, pa.string()), lines=np.arange(130, dtype=np.int64) + 2)
    first, *rest = sorted(find_order_problems(file, listed))
    assert first.message.startswith("only 30 of its 100 rows name one of the 130 listed frames; this is the list of an")
    assert len(rest) == 170
    # half a file is no other list, and a few rows are read as they are
    assert all(problem.line for problem in find_order_problems(frames("a", 30), frames("a", 100)))
    assert all(problem.line for problem in find_order_problems(frames("a", 8), listed.select(np.arange(5, 10))))
    assert SHOWN_PROBLEMS >= 13


def test_a_folder_that_has_nothing_in_common_with_a_list_is_one_sentence(tmp_path: Path) -> None:
    for video in ("a", "b"):
        (tmp_path / f"{video}.txt").write_text("valence,arousal\n0,0\n")
    (problem,) = get_format("abaw3-va").check(tmp_path, _one("c"))
    assert problem.message == (
        "none of its 2 files is of one of the 1 listed videos: its first is 'a.txt', the first listed video is 'c'; "
        "this is the list of another track or split, or files are named otherwise"
    )
    assert [p.file for p in get_format("abaw3-va").check(tmp_path, _one("a"))] == ["b.txt"]


def _one(video: str) -> FrameList:
    return FrameList(images=pa.array([f"{video}/00001.jpg"]), lines=np.array([2]))


def test_headers_of_this_file_are_those_of_the_formats() -> None:
    assert {name: getattr(get_format(name), "header", "") for name in HEADERS} == HEADERS
    assert all(find_column(name) for header in HEADERS.values() for name in header.split(","))
