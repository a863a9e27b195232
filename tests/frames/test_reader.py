import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.frames.decode import decode
from abawkit.frames.reader import Chunk, read_frames

NAMES = [f"video{video}/{number:05}.jpg" for video in (1, 0) for number in (17, 1, 8)]


def read(names: list[str], root: Path, workers: int = 2, size: int = 2) -> list[Chunk]:
    return list(read_frames(names, root, workers=workers, size=size))


def test_every_row_is_in_one_chunk_in_order(root: Path) -> None:
    chunks = read(NAMES[:5], root)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 2), (2, 4), (4, 5)]
    assert np.concatenate([chunk.rows for chunk in chunks]).tolist() == [0, 1, 2, 3, 4]
    pixels = np.concatenate([chunk.pixels for chunk in chunks])
    for name, frame in zip(NAMES, pixels, strict=False):
        assert np.array_equal(frame, decode((root / name).read_bytes(), name).pixels)


@pytest.mark.parametrize(("workers", "size"), [(1, 1), (1, 100), (4, 1), (3, 5)])
def test_the_result_does_not_depend_on_workers_or_chunks(root: Path, workers: int, size: int) -> None:
    names = NAMES * 4
    pixels = np.concatenate([chunk.pixels for chunk in read(names, root, workers, size)])
    expected = np.concatenate([chunk.pixels for chunk in read(names, root, 2, 7)])
    assert np.array_equal(pixels, expected)


def test_rows_do_not_shift_where_a_frame_is_missing_or_unreadable(root: Path) -> None:
    (root / NAMES[1]).unlink()
    (root / NAMES[3]).write_bytes(b"<html>")
    (chunk,) = read(NAMES, root, size=10)
    assert chunk.rows.tolist() == [0, 2, 4, 5]
    assert np.array_equal(chunk.pixels[1], decode((root / NAMES[2]).read_bytes(), "").pixels)
    assert [(failure.row, failure.image, failure.reason) for failure in chunk.failures] == [
        (1, NAMES[1], "missing"),
        (3, NAMES[3], "unreadable"),
    ]
    assert chunk.failures[0].message == "No such file or directory"
    assert chunk.failures[1].message == "the content is HTML, not a JPEG or PNG image"


def test_a_missing_video_is_missing_frames(root: Path) -> None:
    (chunk,) = read(["video7/00001.jpg", "video0/00001.jpg/x.jpg"], root)
    assert [failure.reason for failure in chunk.failures] == ["missing", "missing"]


def test_a_folder_a_pipe_and_a_huge_file_are_unreadable(root: Path) -> None:
    (root / "video0" / "2.jpg").mkdir()
    os.mkfifo(root / "video0" / "3.jpg")
    with (root / "video0" / "4.jpg").open("wb") as file:
        file.truncate(2**30)
    (chunk,) = read([f"video0/{k}.jpg" for k in (2, 3, 4)], root, size=3)
    messages = [failure.message for failure in chunk.failures]
    assert {failure.reason for failure in chunk.failures} == {"unreadable"}
    assert messages[1] == "is not a regular file"
    assert messages[2] == "has 1,073,741,824 bytes, expected at most 67,108,864"


def test_conversions_are_counted(root: Path, encode: Callable[..., bytes], scene: Callable[..., object]) -> None:
    for name in NAMES[:2]:
        (root / name).write_bytes(encode(scene(60, 60)))
    (chunk,) = read(NAMES, root, size=10)
    assert chunk.conversions == {"resized": 2}


def test_read_ahead_is_bounded_and_ends_with_the_generator(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def counted(content: bytes, name: str) -> object:
        started.append(name)
        return decode(content, name)

    monkeypatch.setattr("abawkit.frames.reader.decode", counted)
    frames = read_frames(NAMES * 50, root, workers=2, size=5)
    next(frames)
    frames.close()
    assert 5 <= len(started) <= 15
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames")]


def test_no_rows_are_no_chunks(root: Path) -> None:
    assert read([], root) == []


@pytest.mark.parametrize(("workers", "size"), [(0, 1), (1, 0)])
def test_no_workers_or_empty_chunks_are_an_error_at_once(root: Path, workers: int, size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        read_frames(NAMES, root, workers=workers, size=size)
