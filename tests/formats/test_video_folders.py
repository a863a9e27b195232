"""A folder with a file for each video: files missing, extra, too short or broken, hostile names, and what is a list."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError, ProblemsError
from abawkit.formats import frame_lines as timeline
from abawkit.formats.editions import ABAW3VA, ABAW3ActionUnits, ABAW3Expression
from abawkit.tables import FrameList, Submission

HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"

Files = Callable[..., Path]
Defects = Callable[..., list[tuple[str, int, str, str]]]


def frames(*names: str) -> FrameList:
    return FrameList(images=pa.array(names, pa.string()), lines=np.arange(len(names)) + 2)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Makes a folder of these files; a text's lines are those below the header."""

    def make(header: str = HEADER, **contents: str | bytes) -> Path:
        folder = tmp_path / "submission"
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            text = f"{header}\n{content}" if isinstance(content, str) else content
            (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return make


@pytest.fixture
def defects(files: Files) -> Defects:
    """File, line, column and message of each problem of such a folder, against a list of sparse frames."""

    def defects(*names: str, **contents: str | bytes) -> list[tuple[str, int, str, str]]:
        found = ABAW3Expression().check(files(**contents), frames(*(names or ("a/00001.jpg", "a/00003.jpg"))))
        return [(problem.file, problem.line, problem.column, problem.message) for problem in found]

    return defects


def test_a_good_folder_has_no_defect(defects: Defects) -> None:
    assert defects(a="0\n7\n3\n") == []


def test_a_file_that_is_missing_is_named_with_its_last_frame(defects: Defects) -> None:
    found = defects("a/00003.jpg", "b/01234.jpg", a="0\n7\n3")
    assert found == [("b.txt", 0, "", "file missing: its video is listed up to frame 1,234")]


def test_a_file_of_a_video_that_is_not_listed_is_named(defects: Defects) -> None:
    assert defects(a="0\n7\n3", z="1") == [("z.txt", 0, "", "the list has no frame of this video")]


def test_a_file_with_too_few_lines_is_named_with_the_line_at_which_it_ends(defects: Defects) -> None:
    assert defects(a="0\n7") == [("a.txt", 4, "", "got lines for 2 frames, expected 3: line k + 1 is frame k")]


def test_more_lines_than_a_sparse_list_names_are_no_defect_as_a_video_may_end_later(defects: Defects) -> None:
    assert defects(a="0\n7\n3\n1\n1") == []


def test_more_lines_than_a_list_of_every_frame_names_are_a_defect(defects: Defects) -> None:
    found = defects("a/00002.jpg", "a/00001.jpg", a="0\n7\n3")
    assert found == [("a.txt", 4, "", "got lines for 3 frames, the list has 2 of this video")]


@pytest.mark.parametrize("cell", ["3.0", "nan", "8", "-1", "", " 1", "happy", "0x1", "\uff11", "1e0"])
def test_a_bad_cell_is_named_with_file_line_and_column(defects: Defects, cell: str) -> None:
    got = f"'{cell}'" if cell else "nothing"
    found = defects(a=f"0\n{cell}\n3")
    assert found == [("a.txt", 3, "expression", f"got {got}, expected an integer in 0..7")]


@pytest.mark.parametrize(("row", "got"), [("1,2", "2 fields"), ("a/00002.jpg,1", "2 fields"), ("1,", "2 fields")])
def test_a_line_of_another_width_is_named_and_shifts_no_other(defects: Defects, row: str, got: str) -> None:
    assert defects(a=f"0\n{row}\n3") == [("a.txt", 3, "", f"got {got}, expected 1 field")]


@pytest.mark.parametrize("cell", ["1.5,0", "0,-2", "nan,0", "0,inf", "0", "0,0,0", ""])
def test_bad_pairs_of_valence_and_arousal_are_named(files: Files, cell: str) -> None:
    path = files("valence,arousal", a=f"0.5,0.5\n{cell}\n0,0")
    problems = ABAW3VA().check(path, frames("a/00003.jpg"))
    assert [(problem.file, problem.line) for problem in problems] == [("a.txt", 3)]


def test_every_defect_is_named_in_the_order_of_files_and_lines(defects: Defects) -> None:
    found = defects("a/00003.jpg", "b/00002.jpg", "c/00001.jpg", b="9\n9", a="1\n9\n1", z="0")
    assert [(file, line) for file, line, _, _ in found] == [
        ("a.txt", 3),
        ("b.txt", 2),
        ("b.txt", 3),
        ("c.txt", 0),
        ("z.txt", 0),
    ]


@pytest.mark.parametrize("header", ["valence,arousal", f"{HEADER},", f"image,{HEADER}", HEADER.lower()])
def test_another_header_is_a_defect_of_line_1(files: Files, header: str) -> None:
    path = files(header, a="0\n1\n2")
    (problem,) = ABAW3Expression().check(path, frames("a/00003.jpg"))
    assert problem.text(path).startswith(f"{path}/a.txt:1: got the header '{header[:60]}")


def test_a_file_without_a_header_is_that_one_defect_and_its_first_line_is_still_a_frame(defects: Defects) -> None:
    assert defects(a=b"0\n1\n2\n") == [("a.txt", 1, "", f"got no header, expected '{HEADER}'")]


def test_without_a_header_the_lines_of_a_file_are_counted_from_its_first_frame(defects: Defects) -> None:
    short = defects("a/00003.jpg", a=b"0\n1\n")
    assert short[1:] == [("a.txt", 3, "", "got lines for 2 frames, expected 3: line k + 1 is frame k")]
    long = defects("a/00001.jpg", "a/00002.jpg", a=b"0\n1\n2\n")
    assert long[1:] == [("a.txt", 3, "", "got lines for 3 frames, the list has 2 of this video")]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 0, "is empty; expected text with the header"),
        (b"\x89PNG\r\n\x1a\n", 0, "looks like a PNG image"),
        (b"a\0b", 0, "looks like binary data"),
        (f"{HEADER}\n1\n\xe9\n".encode("latin-1"), 3, "is not UTF-8 text"),
        (HEADER.encode(), 2, "holds a header and no lines"),
    ],
)
def test_a_file_that_can_not_be_read_is_a_defect_of_the_folder(
    defects: Defects, content: bytes, line: int, message: str
) -> None:
    (found,) = defects("a/00001.jpg", "b/00001.jpg", a=content, b="1")
    assert found[:3] == ("a.txt", line, "")
    assert found[3].startswith(message)


@pytest.mark.parametrize(
    "name", ["notes.md", "a.txt.bak", ".DS_Store", "b.txt/inner.txt", " a.txt", "b\\c.txt", ".txt"]
)
def test_anything_but_files_of_videos_is_a_defect_and_is_not_opened(files: Files, name: str) -> None:
    path = files(a="0\n1\n2")
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("anything")
    problems = ABAW3Expression().check(path, frames("a/00003.jpg"))
    assert [problem.file for problem in problems] == [name.split("/")[0]]
    with pytest.raises(ProblemsError):
        ABAW3Expression().read(path)


def test_a_file_name_that_is_not_utf_8_is_a_defect_that_can_be_printed(files: Files) -> None:
    path = files(a="0\n1\n2")
    (path / "v\udce9.txt").write_text("anything")
    (problem,) = ABAW3Expression().check(path, frames("a/00003.jpg"))
    assert problem.message == "has a name that is not UTF-8"
    assert problem.text(path).isprintable()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda _: None])
def test_what_is_no_folder_of_files_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "none"
    make(path)
    for read in (ABAW3VA().read, lambda path: ABAW3VA().check(path, frames("a/1.jpg"))):
        with pytest.raises(DataError, match=r"expected a folder with a text file for each video"):
            read(path)


def test_reading_refuses_what_the_checker_names(files: Files) -> None:
    path = files(a="0\n9", b="x")
    with pytest.raises(ProblemsError) as caught:
        ABAW3Expression().read(path)
    assert str(caught.value).startswith(f"{path}/a.txt:3: column 'expression': got '9', expected an integer in 0..7\n")
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [("a.txt", 3), ("b.txt", 2)]
    assert str(caught.value).endswith(f"\nabawkit check {path} --format abaw3-expr --list LIST names every defect")


def test_a_folder_of_annotations_is_a_list_whose_lines_are_its_frames_annotated_or_not(files: Files) -> None:
    listed = ABAW3VA().read_list(files("valence,arousal", b="-5,-5\n0.5,0.5", a="-5,-5"))
    assert listed.images.to_pylist() == ["a/00001.jpg", "b/00001.jpg", "b/00002.jpg"]
    assert listed.lines.tolist() == [2, 2, 3]


def test_a_folder_that_answers_each_line_of_a_folder_of_annotations_is_good_and_any_other_is_not(
    files: Files, tmp_path: Path
) -> None:
    plugin = ABAW3ActionUnits()
    header = plugin.header
    listed = plugin.read_list(files(header, a="\n".join([",".join(["-1"] * 12)] * 3)))
    for count in (2, 3, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "a.txt").write_text("\n".join([header, *[",".join("010000000001")] * count]))
        assert (plugin.check(folder, listed) == []) == (count == 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x/00001.jpg", "got a path with '..'"),
        ("/etc/00001.jpg", "got an absolute path"),
        ("C:/v/00001.jpg", "got an absolute path"),
        ("a\\b/00001.jpg", "got a backslash"),
        ("a/b/00001.jpg", "got a video in a folder of another"),
        ("a/x.jpg", "got a name without a frame number"),
        ("a/1a.jpg", "got a name without a frame number"),
        ("a/-1.jpg", "got a name without a frame number"),
        ("a/00000.jpg", "got a name without a frame number from 1"),
        ("a/\uff11.jpg", "got a name without a frame number"),
        ("a/12345678901.jpg", "got a name without a frame number"),
    ],
)
def test_a_frame_of_which_no_line_can_be_told_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"image\nv/00001.jpg\n{name}\n")
    with pytest.raises(ProblemsError) as caught:
        ABAW3VA().read_list(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, "image")]
    assert caught.value.problems[0].message.startswith(message)
    images = pa.array(["v/00001.jpg", name])
    with pytest.raises(DataError, match=r"abaw3-va: row 2: got a.*nothing was written"):
        ABAW3VA().encode(Submission.of(images, va=np.zeros((2, 2))))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "v.txt").write_text("valence,arousal\n0,0\n")
    with pytest.raises(DataError, match="line 3 of the list: got a"):
        ABAW3VA().check(folder, frames("v/00001.jpg", name))


def test_a_frame_number_that_would_fill_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_FRAMES", 100)
    good = Submission.of(pa.array(["v/00040.jpg", "v/00050.jpg", "w/50.jpg"]), va=np.zeros((3, 2)))
    assert [len(text.splitlines()) for text in ABAW3VA().encode(good).values()] == [51, 51]
    far = Submission.of(pa.array(["v/00040.jpg", "v/00050.jpg", "w/51.jpg"]), va=np.zeros((3, 2)))
    with pytest.raises(DataError, match="the last frames of the videos add up to 101, expected at most 100 in all"):
        ABAW3VA().encode(far)


def test_the_same_frame_under_two_names_is_one_line_of_the_first(tmp_path: Path) -> None:
    submission = Submission.of(pa.array(["v/2.jpg", "v/00002.png"]), expression=np.array([3, 4], np.int8))
    assert ABAW3Expression().encode(submission) == {"v.txt": f"{HEADER}\n3\n3\n".encode()}
