"""Frames that can't be aligned crops are refused with their count, others of a wrong size are counted and said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from abawkit.errors import DataError, DataWarning
from abawkit.frames.crops import FrameSummary, is_crop
from abawkit.frames.reader import read_frames

Scene = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]
NAMES = [f"video{video}/{number:05}.jpg" for video in (0, 1) for number in (1, 8, 17)]


def count(root: Path, images: list[str], size: int = 256) -> FrameSummary:
    counts = FrameSummary.begin(root, images)
    for chunk in read_frames(images, root, workers=1, size=size):
        counts.add(chunk)
    counts.finish()
    return counts


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((112, 112), True),
        ((224, 224), True),
        ((32, 32), True),
        ((31, 31), False),
        ((1, 1), False),
        ((640, 360), False),
        ((112, 96), False),
        ((96, 112), False),
    ],
)
def test_a_crop_is_square_and_not_tiny(size: tuple[int, int], expected: bool) -> None:
    assert is_crop(size) == expected


def test_crops_of_the_official_size_give_no_word(root: Path) -> None:
    counts = count(root, NAMES)
    counts.warn()
    found = counts.as_dict()
    assert found.pop("mean_rgb") == pytest.approx([128, 128, 128], abs=60)
    assert found == {
        "folders": {str(root): 6},
        "differing": 0,
        "read": 6,
        "not_crops": 0,
        "sizes": {"112x112": 6},
        "black": 0,
        "conversions": {},
    }


@pytest.mark.parametrize("size", [(360, 640), (1, 1), (112, 96)])
def test_pictures_that_are_no_crops_are_refused_with_the_count_and_what_crops_must_be(
    root: Path, scene: Scene, encode: Encode, size: tuple[int, int]
) -> None:
    height, width = size
    for name in NAMES[:4]:
        (root / name).write_bytes(encode(scene(height, width)))
    with pytest.raises(DataError) as caught:
        count(root, NAMES)
    found, expected, advice = str(caught.value).splitlines()
    assert found.endswith(f"4 of 6 frames are not aligned crops: {width} x {height} pixels (4, such as {NAMES[0]})")
    assert "112 x 112 pixels" in expected
    assert "docs/how-to/curate.md" in advice


def test_a_long_list_is_refused_as_soon_as_it_is_known(root: Path, scene: Scene, encode: Encode) -> None:
    (root / NAMES[0]).write_bytes(encode(scene(40, 50)))
    with pytest.raises(DataError, match=r"4 of the first 4 frames are not aligned crops"):
        count(root, [NAMES[0]] * 200 + NAMES[1:], size=4)


def test_frames_that_are_missing_do_not_hide_that_the_others_are_no_crops(
    root: Path, scene: Scene, encode: Encode
) -> None:
    (root / NAMES[0]).write_bytes(encode(scene(40, 50)))
    with pytest.raises(DataError, match="1 of the first 1 frames are not aligned crops"):
        count(root, [NAMES[0], *[f"video7/{k}.jpg" for k in range(150)]])


def test_a_small_share_is_resized_with_a_warning_that_counts_it(root: Path, scene: Scene, encode: Encode) -> None:
    (root / NAMES[0]).write_bytes(encode(scene(40, 50)))
    counts = count(root, [*NAMES[1:] * 20, NAMES[0]])
    with pytest.warns(DataWarning, match=r"1 of 101 frames are not 112 x 112 .* 50 x 40 .*; 1 of them are not square"):
        counts.warn()
    assert counts.as_dict()["sizes"] == {"112x112": 100, "50x40": 1}


def test_square_crops_of_another_size_are_resized_with_a_warning(root: Path, scene: Scene, encode: Encode) -> None:
    for name in NAMES[:3]:
        (root / name).write_bytes(encode(scene(224, 224)))
    counts = count(root, NAMES)
    with pytest.warns(DataWarning, match=r"3 of 6 frames .* were resized: 224 x 224 pixels \(3, such as video0/00001"):
        counts.warn()
    assert (counts.not_crops, counts.as_dict()["conversions"]) == (0, {"resized": 3})


def test_the_stored_size_counts_and_names_are_escaped(root: Path, scene: Scene, encode: Encode) -> None:
    name = "video0/\x1b[2J.jpg"
    (root / name).write_bytes(encode(scene(40, 50)))
    with pytest.raises(DataError, match="50 x 40 pixels") as caught:
        count(root, [name])
    assert "\x1b" not in str(caught.value)


def test_black_frames_are_named(root: Path, encode: Encode) -> None:
    for name in NAMES[:4]:
        (root / name).write_bytes(encode(np.zeros((112, 112, 3), np.uint8)))
    counts = count(root, NAMES)
    with pytest.warns(DataWarning, match=rf"4 of 6 frames are black, .*: {NAMES[0]}, {NAMES[1]}, {NAMES[2]}, \.\.\."):
        counts.warn()
    assert counts.as_dict()["black"] == 4


def test_a_frame_with_a_light_spot_is_not_black(root: Path, encode: Encode) -> None:
    dark = np.zeros((112, 112, 3), np.uint8)
    dark[50:60, 50:60] = 40
    (root / NAMES[0]).write_bytes(encode(dark))
    assert count(root, NAMES).black == []


def test_conversions_are_said(root: Path, scene: Scene, encode: Encode) -> None:
    for name in NAMES[:2]:
        (root / name).write_bytes(encode(Image.fromarray(scene()).convert("L")))
    with pytest.warns(DataWarning, match=r"of 6 frames, some are not .* were converted: grayscale 2$"):
        count(root, NAMES).warn()


@pytest.mark.parametrize(("order", "warned"), [("RGB", False), ("BGR", True)])
def test_crops_whose_red_and_blue_are_swapped_are_a_warning(
    root: Path, scene: Scene, encode: Encode, order: str, warned: bool
) -> None:
    skin = (scene() * [0.9, 0.7, 0.6]).astype(np.uint8)
    for name in NAMES:
        (root / name).write_bytes(encode(skin if order == "RGB" else skin[..., ::-1]))
    counts = count(root, NAMES * 4)
    if warned:
        with pytest.warns(DataWarning, match=r"the middle of the frames is blue .*cv2\.imwrite takes BGR"):
            counts.warn()
    else:
        counts.warn()
    counts = count(root, NAMES)  # too few to be judged
    counts.warn()
