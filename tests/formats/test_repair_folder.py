"""A folder is repaired file by file; a line's place in its file is never changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.formats.editions import ABAW3VA, ABAW3ActionUnits, ABAW3Expression
from abawkit.formats.repair import RepairedSubmission, repair_content

Mend = Callable[..., RepairedSubmission]
GOOD = {"v.txt": b"valence,arousal\n0.5,-1\n0,0\n0.25,1e-3\n", "w.txt": b"valence,arousal\n1,1\n"}


@pytest.fixture
def mend(tmp_path: Path) -> Mend:
    """Repairs a folder of `GOOD` files, with these put in place of them or beside them; None takes one away."""

    def mend(**changed: bytes | None) -> RepairedSubmission:
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        given = GOOD | {f"{name}.txt" if "." not in name else name: content for name, content in changed.items()}
        for name, content in given.items():
            if content is not None:
                (folder / name).write_bytes(content)
        listed = tmp_path / "list.txt"
        listed.write_text("image\nv/00001.jpg\nv/00003.jpg\nw/00001.jpg\n")
        return repair_content(folder, ABAW3VA().read_list(listed), ABAW3VA())

    return mend


def test_a_good_folder_needs_nothing(mend: Mend) -> None:
    assert mend() == RepairedSubmission(GOOD, [], [])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"valence,arousal\r\n0.5,-1\r\n0,0\r\n0.25,1e-3\r\n", "line end CRLF became LF"),
        (b"valence, arousal\n0.5,-1\n0,0\n0.25,1e-3\n", "header 'valence, arousal' became 'valence,arousal'"),
        (b"Valence\n0.5,-1\n0,0\n0.25,1e-3\n", "header 'Valence' became 'valence,arousal'"),
        (b"0.5,-1\n0,0\n0.25,1e-3\n", "header added: 'valence,arousal'"),
        (b"valence,arousal\n0.5,-1,\n0,0\n0.25,1e-3,\n", "trailing comma removed"),
        (b"valence,arousal\n0.5,-1\n0,0\n0.25,1e-3\n \n\n", "blank line removed"),
    ],
)
def test_what_has_one_right_answer_is_put_right_in_its_file_and_named(mend: Mend, content: bytes, what: str) -> None:
    result = mend(v=content)
    assert result.content == GOOD
    assert not result.problems
    assert [(repair.file, repair.what) for repair in result.repairs] == [("v.txt", what)]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"valence,arousal\n0.5,-1\n\n0,0\n0.25,1e-3\n", 3),
        (b"\nvalence,arousal\n0.5,-1\n0,0\n0.25,1e-3\n", 1),
        (b"valence,arousal\n0.5,-1\n0,0\n", 4),
        (b"arousal,valence\n0.5,-1\n0,0\n0.25,1e-3\n", 1),
        (b"valence,arousal\r\n0.5,-1\r\n0,nan\r\n0.25,1e-3\r\n", 3),
    ],
)
def test_a_line_that_may_stand_for_a_frame_is_left(mend: Mend, content: bytes, line: int) -> None:
    result = mend(v=content)
    assert {problem.file for problem in result.problems} == {"v.txt"}
    assert result.problems[0].line == line


def test_a_header_with_any_other_word_is_left_as_its_column_may_hold_something_else(mend: Mend) -> None:
    result = mend(v=b"valence,dominance\n0.5,-1\n0,0\n0.25,1e-3\n")
    assert not result.repairs
    assert [(problem.file, problem.line) for problem in result.problems] == [("v.txt", 1)] * 2
    reason = "the header has 'dominance' where the official one has 'arousal'; what the column holds is unknown"
    assert reason in [problem.message for problem in result.problems]


@pytest.mark.parametrize(
    ("header", "good"),
    [("expression", True), ("Neutral,anger", True), ("Contempt", False), ("…,Contempt", False), ("image", False)],
)
def test_a_header_of_expressions_is_put_right_only_if_they_are_the_official_ones(
    tmp_path: Path, header: str, good: bool
) -> None:
    plugin = ABAW3Expression()
    folder = tmp_path / "folder"
    folder.mkdir()
    text = header.replace("…", plugin.header.removesuffix(",Other"))
    (folder / "v.txt").write_text(f"{text}\n7\n")
    (tmp_path / "list.txt").write_text("image\nv/00001.jpg\n")
    result = repair_content(folder, plugin.read_list(tmp_path / "list.txt"), plugin)
    assert ({(problem.file, problem.line) for problem in result.problems} == set()) == good
    assert result.content == {"v.txt": f"{plugin.header if good else text}\n7\n".encode()}


def test_what_is_no_video_and_a_video_without_a_file_are_left(mend: Mend, tmp_path: Path) -> None:
    (tmp_path / "folder/x.txt").mkdir(parents=True)
    result = mend(**{"w": None, ".DS_Store": b"\0\1", "notes.md": b"to do\n", "z": b"\xff\xfe"})
    assert [problem.file for problem in result.problems] == [".DS_Store", "notes.md", "w.txt", "x.txt", "z.txt"]


def test_integers_are_put_right_in_folders_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    names = ABAW3ActionUnits().header
    (folder / "v.txt").write_text(f"{names}\n{'1.0,' * 11}0.\n")
    (tmp_path / "list.txt").write_text("image\nv/00001.jpg\n")
    result = repair_content(folder, ABAW3ActionUnits().read_list(tmp_path / "list.txt"), ABAW3ActionUnits())
    assert result.content == {"v.txt": f"{names}\n{'1,' * 11}0\n".encode()}
    assert [(repair.column, repair.lines) for repair in result.repairs] == [(name, (2,)) for name in names.split(",")]


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("image\nv/00001.jpg\n")
    with pytest.raises(DataError, match="expected a folder"):
        repair_content(tmp_path / "list.txt", ABAW3VA().read_list(tmp_path / "list.txt"), ABAW3VA())
