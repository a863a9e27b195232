"""Lists of videos without frames, and folders that need a line for each frame of a video."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError, DataWarning, ProblemsError
from abawkit.formats.base import get_format
from abawkit.formats.editions import ABAW3VA
from abawkit.formats.frame_counts import (
    apply_frame_counts,
    count_frames,
    list_crops,
    read_frame_counts,
    refuse_other_counts,
)
from abawkit.tables import FrameCount, FrameList, Submission, VideoList

Write = Callable[..., Path]
Folder = Callable[..., Path]

CASE = Path(__file__).parents[1] / "cases/list-of-videos"
VIDEOS = ["2-30-640x360", "6-30-1920x1080_left", "6-30-1920x1080_right", "video9"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A submission whose files have these numbers of lines below the header."""

    def folder(**lines: int) -> Path:
        path = tmp_path / "submission"
        path.mkdir(exist_ok=True)
        for video, count in lines.items():
            (path / f"{video}.txt").write_text("valence,arousal\n" + "0,0\n" * count)
        return path

    return folder


@pytest.fixture
def crops(tmp_path: Path) -> Folder:
    """A folder with crops of these frames of each video."""

    def crops(**frames: list[int]) -> Path:
        for video, numbers in frames.items():
            (tmp_path / "crops" / video).mkdir(parents=True)
            for number in numbers:
                (tmp_path / "crops" / video / f"{number:05}.jpg").touch()
        return tmp_path / "crops"

    return crops


def problems(path: Path, listed: FrameList, counts: dict[str, FrameCount] | None = None) -> list[tuple[str, int, str]]:
    plugin = ABAW3VA() if counts is None else ABAW3VA().with_frame_counts(counts)
    return [(problem.file, problem.line, problem.message) for problem in plugin.check(path, listed)]


@pytest.mark.parametrize("name", ["names.txt", "names_crlf.txt"])
def test_an_official_list_of_videos_is_read_and_each_needs_a_file(name: str) -> None:
    listed = ABAW3VA().read_list(CASE / name)
    assert isinstance(listed, VideoList)
    assert listed.videos.to_pylist() == VIDEOS
    assert listed.lines.tolist() == [1, 2, 3, 4]
    assert ABAW3VA().check(CASE / "sub", listed) == []


def test_a_video_without_a_file_and_a_file_without_a_video_are_named(write: Write, folder: Folder) -> None:
    listed = ABAW3VA().read_list(write("a\nb\n"))
    assert problems(folder(a=1, c=2), listed) == [
        ("b.txt", 0, "file missing: its video is listed"),
        ("c.txt", 0, "the list has no frame of this video"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a\nb\na\n", 3, "got a video that is listed before: 'a'"),
        ("a\n\nb\n", 2, "got a name that no video can have: ''"),
        ("a\nb.txt\n", 2, "got the name of a file, expected that of a video, without an ending: 'b.txt'"),
        ("a.MP4\nb\n", 1, "got the name of a file, expected that of a video, without an ending: 'a.MP4'"),
        ("a\n..\n", 2, "got a name that no video can have: '..'"),
        ("a\n b\n", 2, "got a name that no video can have: ' b'"),
        ("a\nb\\c\n", 2, "got a name that no video can have: 'b\\c'"),
    ],
)
def test_a_line_that_names_no_video_is_refused(write: Write, content: str, line: int, message: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        ABAW3VA().read_list(write(content))
    assert [(problem.line, problem.column, problem.message) for problem in caught.value.problems] == [
        (line, "video", message)
    ]


@pytest.mark.parametrize("name", ["abaw7", "abaw5-va", "abaw7-ce"])
def test_a_list_of_videos_is_none_of_a_format_that_answers_frames(write: Write, name: str) -> None:
    with pytest.raises(DataError, match=f":1: got a list of videos, .*; {name} answers frames: give a list of frames"):
        get_format(name).read_list(write("a\nb\n"))


# how many lines


@pytest.mark.parametrize("lines", [2, 3, 4])
def test_a_file_has_a_line_for_each_frame_of_its_video(write: Write, folder: Folder, lines: int) -> None:
    counts = read_frame_counts(write("video,frames\na,3\n", "counts.txt"))
    path = folder(a=lines)
    for listed in (ABAW3VA().read_list(write("a\n")), ABAW3VA().read_list(write("image\na/00001.jpg\na/00002.jpg\n"))):
        what = f"got lines for {lines} frames, its video has 3: a header and a line for each frame"
        assert problems(path, listed, counts) == ([] if lines == 3 else [("a.txt", min(lines, 3) + 2, what)])


def test_two_persons_of_one_video_have_its_frames(write: Write, folder: Folder) -> None:
    counts = read_frame_counts(write("a.mp4 2\nb_left 1\nb 3\n", "counts.txt"))
    listed = ABAW3VA().read_list(write("a_left\na_right\nb_left\nb_right\n"))
    assert problems(folder(a_left=2, a_right=2, b_left=1, b_right=3), listed, counts) == []


def test_a_video_without_a_count_and_a_frame_behind_the_last_are_named(write: Write, folder: Folder) -> None:
    counts = {"a": FrameCount(3)}
    listed = ABAW3VA().read_list(write("image\na/00004.jpg\nb/00001.jpg\n"))
    assert problems(folder(a=3, b=1), listed, counts) == [
        ("a.txt", 0, "its video is listed up to frame 4, its frame count is 3"),
        ("b.txt", 0, "the frame counts do not have its video"),
    ]
    with pytest.raises(DataError, match=r"--frame-counts: a: its video is listed up to frame 4.*\(and 1 more\)"):
        refuse_other_counts(ABAW3VA().with_frame_counts(counts), listed.images.to_pylist())


@pytest.mark.parametrize(
    "content", ["a,3\nb,4\n", "name,length\na,3\nb,4\n", "a 3\r\nb\t4\r\n", "a;3;\nb; 4\n", '"a",3\n"b",4']
)
def test_counts_are_read_from_a_line_a_video(write: Write, content: str) -> None:
    assert read_frame_counts(write(content)) == {"a": FrameCount(3), "b": FrameCount(4)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,3\nb,x\n", ":2: got 'b,x', expected a video and its number of frames"),
        ("a,3\na,4\n", ":2: column 'frames': got 4 frames of 'a', a line before has 3"),
        ("a,0\n", ":1: column 'frames': got 0, expected 1..10,000,000"),
        ("a,3.5\nb,1\n", ":1: got 'a,3.5'"),
        ("video,frames\n", "names no video; expected a file of VIDEO,FRAMES lines"),
        ("frames,video\n128,5\n", ":1: got the header 'frames,video', expected one as 'video,frames': the video, then"),
        ("n_frames\tname\n128\t5\n", ":1: got the header 'n_frames"),
        ("a,b\nc,5\n", ":1: got the header 'a,b'"),
        ("video,fps,frames\na,30,128\n", ":1: got the header 'video,fps,frames'"),
        ("a,30,128\n", ":1: got 'a,30,128', expected a video and its number of frames"),
    ],
)
def test_a_line_that_is_no_count_is_named(write: Write, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_frame_counts(write(content))


def test_crops_of_every_frame_count_them_others_are_a_bound(crops: Folder, folder: Folder, write: Write) -> None:
    counts = read_frame_counts(crops(a=[1, 2, 3], b=[2, 5]))
    assert counts == {"a": FrameCount(3), "b": FrameCount(5, exact=False)}
    listed = ABAW3VA().read_list(write("a\nb\n"))
    assert problems(folder(a=3, b=5), listed, counts) == []
    assert [file for file, _, _ in problems(folder(a=4, b=4), listed, counts)] == ["a.txt", "b.txt"]
    with pytest.warns(DataWarning, match=r"b\.txt: has lines for 6 frames, the last crop is of frame 5"):
        assert problems(folder(a=3, b=6), listed, counts) == []


def test_what_is_no_source_of_counts_is_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataError, match=r"holds no video .* and no folder of crops"):
        read_frame_counts(tmp_path)
    with pytest.raises(ConfigError, match="--frame-counts: abaw7 has no file for each video"):
        apply_frame_counts(get_format("abaw7"), write("a,3\n"))
    assert apply_frame_counts(get_format("abaw7"), None).name == "abaw7"


def test_a_folder_is_written_with_a_line_for_each_frame_of_the_video() -> None:
    images = pa.array(["a/00002.jpg", "b/00001.jpg"])
    submission = Submission.of(images, va=np.array([[0.5, 0.5], [0.25, 0.25]]))
    plugin = ABAW3VA().with_frame_counts({"a": FrameCount(4), "b": FrameCount(1, exact=False)})
    content = plugin.encode(submission)
    assert {name: text.decode().splitlines()[1:] for name, text in content.items()} == {
        "a.txt": ["0.500000,0.500000"] * 4,
        "b.txt": ["0.250000,0.250000"],
    }
    with pytest.raises(DataError, match=r"abaw3-va: b\.txt: the frame counts do not have its video; nothing"):
        ABAW3VA().with_frame_counts({"a": FrameCount(4)}).encode(submission)


def test_the_frames_of_listed_videos_are_their_crops_in_order(crops: Folder, write: Write) -> None:
    root = crops(b=[10, 9], a=[1, 100], c=[])
    found = list_crops(ABAW3VA().read_list(write("b\na\n")), [root])  # type: ignore[arg-type]
    assert found.images.to_pylist() == ["b/00009.jpg", "b/00010.jpg", "a/00001.jpg", "a/00100.jpg"]
    more = root.with_name("more")
    for number in (1, 50):
        (more / "a").mkdir(parents=True, exist_ok=True)
        (more / "a" / f"{number}.jpg").touch()
    both = list_crops(ABAW3VA().read_list(write("a\n")), [root, more])  # type: ignore[arg-type]
    assert both.images.to_pylist() == ["a/00001.jpg", "a/50.jpg", "a/00100.jpg"]
    for video in ("c", "d"):
        with pytest.raises(DataError, match=f"line 1 of the list: .*/{video} holds no crop of this video"):
            list_crops(ABAW3VA().read_list(write(f"{video}\n")), [root])  # type: ignore[arg-type]


def test_the_crops_of_a_video_in_two_folders_are_those_of_both(crops: Folder, write: Write, tmp_path: Path) -> None:
    first, second = crops(a=[1, 100]), tmp_path / "second"
    (second / "a").mkdir(parents=True)
    for number in (50, 100):
        (second / "a" / f"{number:05}.jpg").touch()
    found = list_crops(ABAW3VA().read_list(write("a\n")), [first, second])  # type: ignore[arg-type]
    assert found.images.to_pylist() == ["a/00001.jpg", "a/00050.jpg", "a/00100.jpg"]


# video files


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def track(handler: bytes, frames: int, table: bytes = b"stsz") -> bytes:
    sizes = box(table, struct.pack(">III", 0, 0, frames))
    media = box(b"mdia", box(b"hdlr", bytes(8), handler, bytes(12)), box(b"minf", box(b"stbl", sizes)))
    return box(b"trak", box(b"tkhd"), media)


def chunk(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2)


def avi(frames: int, total: int | None = None) -> bytes:
    stream = chunk(b"strh", b"vids", bytes(28), struct.pack("<I", frames), bytes(20))
    sound = chunk(b"strh", b"auds", bytes(28), struct.pack("<I", 999), bytes(20))
    lists = [chunk(b"LIST", b"strl", sound), chunk(b"LIST", b"strl", stream, chunk(b"junk", b"x"))]
    lists += [] if total is None else [chunk(b"LIST", b"odml", chunk(b"dmlh", struct.pack("<I", total)))]
    header = chunk(b"LIST", b"hdrl", chunk(b"avih", bytes(56)), *lists)
    return chunk(b"RIFF", b"AVI ", header, chunk(b"LIST", b"movi"))


@pytest.mark.parametrize(
    ("content", "frames"),
    [
        (box(b"ftyp", b"isom") + box(b"mdat", bytes(50)) + box(b"moov", track(b"soun", 9), track(b"vide", 7)), 7),
        (box(b"moov", track(b"vide", 5, b"stz2")), 5),
        (struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4) + box(b"moov", track(b"vide", 3)), 3),
        (avi(12), 12),
        (avi(12, 30), 30),
    ],
)
def test_a_video_file_is_counted_by_its_container(tmp_path: Path, content: bytes, frames: int) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    assert count_frames(path) == frames
    assert read_frame_counts(tmp_path) == {"v": FrameCount(frames)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a video at all",
        box(b"moov", track(b"vide", 0)),
        box(b"moov", track(b"soun", 5)),
        box(b"moov", track(b"vide", 5))[:-9],
        box(b"moov"),
        avi(12)[:60],
        avi(0),
    ],
)
def test_a_file_whose_frames_are_not_counted_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.avi"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.avi: .*; give a file of VIDEO,FRAMES lines"):
        count_frames(path)
