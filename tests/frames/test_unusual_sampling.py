"""JPEGs of 4:1:0: decoded as Pillow does, and refused where anything of them is missing."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from abawkit.frames.decode import FrameError, decode
from abawkit.frames.entropy import UnsupportedError, check_entropy_data

Scene = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]


def test_it_has_the_pixels_that_pillow_reads(four_one_zero: bytes) -> None:
    decoded = decode(four_one_zero, "v/1.jpg")
    expected = np.asarray(Image.open(io.BytesIO(four_one_zero)).convert("RGB"))
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.conversions == ()


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", b"\0" * 64, b"\0" * 64 + b"\xff\xd9"])
def test_cut_anywhere_it_is_refused(four_one_zero: bytes, end: bytes) -> None:
    for length in [*range(2, len(four_one_zero) - 2, 37), len(four_one_zero) - 3]:
        with pytest.raises(FrameError):
            decode(four_one_zero[:length] + end, "v/1.jpg")


def test_with_bytes_left_over_it_is_refused(four_one_zero: bytes) -> None:
    with pytest.raises(FrameError, match="more data than the picture has"):
        decode(four_one_zero[:-2] + b"\x12\x34\xff\xd9", "v/1.jpg")


def test_a_channel_without_data_is_refused(four_one_zero: bytes) -> None:
    last = four_one_zero.rindex(b"\xff\xda")
    with pytest.raises(FrameError, match="a channel has no data"):
        decode(four_one_zero[:last] + b"\xff\xd9", "v/1.jpg")


@pytest.mark.parametrize(
    "options",
    [{"subsampling": k} for k in range(3)] + [{"optimize": True}, {"restart_marker_rows": 1}, {"quality": 100}],
    ids=str,
)
@pytest.mark.parametrize("size", [(112, 112), (50, 91), (8, 8)])
def test_what_is_whole_is_followed_to_its_end_and_what_is_cut_is_not(
    scene: Scene, encode: Encode, options: dict[str, int], size: tuple[int, int]
) -> None:
    content = encode(scene(*size), **options)
    check_entropy_data(content)
    first, last = content.index(b"\xff\xda") + 14, len(content) - 3
    for length in range(first, last, max(61, (last - first) // 40)):
        with pytest.raises(ValueError, match=r"."):
            check_entropy_data(content[:length] + b"\xff\xd9")


def test_grey_is_followed_too(scene: Scene, encode: Encode) -> None:
    check_entropy_data(encode(Image.fromarray(scene(30, 70)).convert("L")))


def test_a_progressive_jpeg_is_not_followed(scene: Scene, encode: Encode) -> None:
    with pytest.raises(UnsupportedError):
        check_entropy_data(encode(scene(), progressive=True))


def test_a_file_of_nothing_but_tables_is_refused_at_once(four_one_zero: bytes) -> None:
    start, end = four_one_zero.index(b"\xff\xc4"), four_one_zero.index(b"\xff\xda")
    with pytest.raises(ValueError, match="more than 256 segments"):
        check_entropy_data(four_one_zero[:start] + four_one_zero[start:end] * 300 + four_one_zero[end:])


def test_random_damage_is_refused_or_a_frame(four_one_zero: bytes) -> None:
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(200):
        damaged = bytearray(four_one_zero)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        try:
            assert decode(bytes(damaged), "v/1.jpg").pixels.shape == (112, 112, 3)
        except FrameError:
            refused += 1
    assert refused > 50
