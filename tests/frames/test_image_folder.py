import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from abawkit.errors import DataError
from abawkit.frames.decode import decode
from abawkit.frames.image_folder import FolderFrames

NAMES = [f"video{video}/{number:05}.jpg" for video in (1, 0) for number in (17, 1, 8)]

Scene = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]


def test_frames_come_in_the_order_asked_for_repeats_kept(root: Path) -> None:
    frames = FolderFrames(NAMES, root, workers=2)
    assert len(frames) == 6
    indices = np.array([5, 0, 3, 3, 1])
    taken = frames.take(indices)
    assert taken.shape == (5, 112, 112, 3)
    assert taken.dtype == np.uint8
    assert taken.flags.c_contiguous
    for k, pixels in zip(indices.tolist(), taken, strict=True):
        assert np.array_equal(pixels, decode((root / NAMES[k]).read_bytes(), NAMES[k]).pixels)
    assert torch.from_numpy(taken).shape == taken.shape  # torch warns of arrays that can't be written to


@pytest.mark.parametrize("workers", [1, 3, 50, None])
def test_the_result_does_not_depend_on_workers(root: Path, workers: int | None) -> None:
    indices = np.random.default_rng(0).integers(0, len(NAMES), 100)
    expected = np.stack([decode((root / name).read_bytes(), name).pixels for name in NAMES])[indices]
    assert np.array_equal(FolderFrames(NAMES, root, workers=workers).take(indices), expected)


def test_no_frames_are_a_batch_of_none(root: Path) -> None:
    assert FolderFrames(NAMES, root).take(np.array([], np.int64)).shape == (0, 112, 112, 3)
    assert FolderFrames([], root).take(np.array([], np.int64)).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("index", [-1, 6])
def test_an_index_that_is_no_row_is_refused(root: Path, index: int) -> None:
    with pytest.raises(IndexError, match=r"expected 0\.\.5"):
        FolderFrames(NAMES, root).take(np.array([0, index]))


def test_names_may_hold_any_letters_and_files_may_be_png(root: Path, scene: Scene, encode: Encode) -> None:
    names = ["vidéo_ü/00001.jpg", "视频/00001.jpg", "video0/😀.png"]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(encode(scene(seed=seed), "PNG"))
    taken = FolderFrames(names, root).take(np.arange(3))
    assert np.array_equal(taken, np.stack([scene(seed=seed) for seed in range(3)]))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (None, r"missing \(No such file or directory\)"),
        (cut, r"unreadable \(truncated or damaged JPEG"),
        (lambda content: cut(content) + b"\xff\xd9", r"unreadable \(truncated or damaged JPEG"),
        (lambda content: cut(content).ljust(len(content), b"\0"), r"unreadable \(truncated or damaged JPEG"),
        (lambda _: b"", r"unreadable \(the content is empty \(0 bytes\)"),
        (lambda _: b"<html>404</html>", r"unreadable \(the content is HTML"),
        (lambda content: content.replace(b"\x00\x70\x00\x70", b"\xff\xff\xff\xff"), "65535 x 65535 pixels"),
    ],
    ids=["missing", "cut", "cut and ended", "cut and filled up", "empty", "HTML", "wrong header"],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_frame_that_is_not_whole_is_an_error_with_its_name_never_grey(
    root: Path, damage: Callable[[bytes], bytes] | None, found: str, workers: int
) -> None:
    frames = FolderFrames(NAMES, root, workers=workers)
    path = root / NAMES[4]
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(DataError, match=rf"{NAMES[4]}: .*{found}") as caught:
        frames.take(np.array([0, 4, 1, 4]))
    assert str(caught.value).count(NAMES[4]) == 1
    assert str(caught.value).endswith("extract or copy these frames again")
    assert frames.take(np.array([0, 1])).any()  # the others are still to be had


def test_ten_failures_are_named_and_the_rest_counted(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        FolderFrames([f"video0/absent\x1b{k}.jpg" for k in range(40)], root, workers=2).take(np.arange(40))
    lines = str(caught.value).splitlines()
    assert [line.startswith(f"video0/absent\\x1b{k}.jpg: missing") for k, line in enumerate(lines[1:11])] == [True] * 10
    assert lines[11] == "... and 30 more"


def test_a_name_that_leads_out_is_refused_before_a_file_is_opened(root: Path) -> None:
    with pytest.raises(DataError, match="No frame was read"):
        FolderFrames([*NAMES, "../x.jpg"], root)


def test_a_call_leaves_no_threads_and_a_pickled_copy_reads_the_same(root: Path) -> None:
    frames = FolderFrames([*NAMES, "video0/absent.jpg"], root, workers=3)
    taken = frames.take(np.arange(6))
    with pytest.raises(DataError):
        frames.take(np.arange(7))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames")]
    copy = pickle.loads(pickle.dumps(frames))  # noqa: S301 - made in this test
    assert np.array_equal(copy.take(np.arange(6)), taken)


def test_no_workers_are_an_error_at_once(root: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FolderFrames(NAMES, root, workers=0)
