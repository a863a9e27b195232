"""Frames that were not found: the message says where they are."""

import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from abawkit.frames.hints import describe_failures
from abawkit.frames.paths import FrameFolders, FramesRoot
from abawkit.frames.reader import FrameFailure, read_frames

Encode = Callable[..., bytes]
NAMES = [f"video{video}/{number:05}.jpg" for video in (0, 1) for number in (1, 8, 17)]


def hints(root: FramesRoot, images: Sequence[str] = NAMES) -> list[str]:
    failures: list[FrameFailure] = []
    for chunk in read_frames(images, root, workers=1):
        failures += chunk.failures
    return describe_failures(root, failures, len(images))


def test_frames_that_are_all_there_give_no_word(root: Path) -> None:
    assert hints(root) == []


def test_a_folder_deeper_is_named(root: Path) -> None:
    deeper = root / "cropped_aligned"
    deeper.mkdir()
    for video in ("video0", "video1"):
        (root / video).rename(deeper / video)
    assert hints(root) == [f"none of 6 frames found in {root}; {deeper} has them: give this folder with --frames"]
    assert f"{deeper} has them" in hints(root.parent)[0]


def test_a_folder_higher_and_one_beside_it_are_named(root: Path) -> None:
    assert f"{root} has them" in hints(root / "video0")[0]
    beside = root.with_name("batch1")
    beside.mkdir()
    assert f"none of 6 frames found in {beside}; {root} has them" in hints(beside)[0]


def test_a_second_folder_that_has_only_some_says_how_many(root: Path) -> None:
    other = root.with_name("cropped_aligned_new_50_vids")
    other.mkdir()
    (root / "video1").rename(other / "video1")
    (other / NAMES[5]).unlink()
    assert hints(root) == [f"{other} has 2 of 3: add it with another --frames"]
    assert "none of" not in "".join(hints(FrameFolders((root, other))))


def test_frames_that_were_unpacked_into_several_folders_are_named_one_by_one(root: Path) -> None:
    for video in ("video0", "video1"):
        (root / f"batch_{video}").mkdir()
        (root / video).rename(root / f"batch_{video}" / video)
    first, second = hints(root)
    assert (
        first == f"none of 6 frames found in {root}; {root / 'batch_video0'} has 3 of 6: give this folder with --frames"
    )
    assert second == f"{root / 'batch_video1'} has 3 of 6: add it with another --frames"


def test_a_folder_before_every_name_of_the_list_is_named(root: Path) -> None:
    none, found = hints(root, [f"batch1/{name}" for name in NAMES])
    assert none == f"none of 6 frames found in {root}"
    assert found.startswith(
        f"{root} has 6 of 6 without the 'batch1/' that the list's names begin with, such as video0/"
    )


def test_an_ending_in_capitals_is_named_with_the_line_that_renames(root: Path) -> None:
    for name in NAMES:
        (root / name).rename((root / name).with_suffix(".JPG"))
    none, found, advice = hints(root)
    assert none == f"none of 6 frames found in {root}"
    assert found.startswith("6 of 6 are there with an ending in other letters: ")
    assert "video0 has 00001.JPG, the list has 00001.jpg" in found
    line = advice.partition("of .JPG: ")[2].replace("FRAMES", str(root))
    assert os.system(line) == 0  # noqa: S605 - the line that a user copies
    assert hints(root) == []


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ("video0/1.jpg", "video0 has 1.jpg, the list has 00001.jpg"),
        ("video0/frame_000001.jpg", "video0 has frame_000001.jpg, the list has 00001.jpg"),
        ("video0/00001.png", "video0 has 00001.png, the list has 00001.jpg"),
        ("video0/00001.jpeg", "video0 has 00001.jpeg, the list has 00001.jpg"),
    ],
)
def test_a_frame_under_another_name_is_named(root: Path, there: str, found: str) -> None:
    (root / NAMES[0]).rename(root / there)
    assert hints(root)[0].endswith(found)


def test_a_video_whose_name_is_written_otherwise_is_named(root: Path) -> None:
    (root / "video0").rename(root / "Video0")
    assert f"3 of 3 are of videos with another name: {root} has Video0, the list has video0" in hints(root)[0]


def test_a_name_whose_marks_are_letters_of_their_own_is_named(root: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "vidéo") for form in ("NFC", "NFD"))
    (root / "video0").rename(root / apart)
    assert "are of videos with another name" in hints(root, [f"{composed}/00001.jpg"])[1]


def test_archives_that_were_not_unpacked_are_named(root: Path) -> None:
    for video in ("video0", "video1"):
        shutil.rmtree(root / video)
        (root / f"{video}.zip").touch()
    assert hints(root)[1] == f"{root} holds 2 archives (video0.zip, video1.zip): unpack them there"


def test_empty_folders_are_named(root: Path) -> None:
    for name in NAMES:
        (root / name).unlink()
    assert hints(root)[1] == f"{root}: 2 of 2 videos' folders are empty, such as video0"
    for video in ("video0", "video1"):
        (root / video).rmdir()
    assert hints(root)[1] == f"{root} is empty"


def test_nothing_is_made_up_where_nothing_is_known(root: Path) -> None:
    assert hints(root, ["video7/1.jpg", NAMES[0]]) == []
    assert hints(root, ["video7/1.jpg"]) == [f"none of 1 frames found in {root}"]


def test_a_jpeg_of_unusual_sampling_comes_with_the_line_that_converts_it(root: Path, encode: Encode) -> None:
    inks = Image.new("CMYK", (112, 112), (10, 90, 120, 0))
    (root / NAMES[0]).write_bytes(encode(inks, subsampling=2))
    (found,) = hints(root)
    assert found.startswith("1 of them are a JPEG with an unusual sampling")
    assert "without loss" in found
