import io
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from abawkit.frames.decode import FRAME_SIZE, FrameError, decode

Pixels = NDArray[np.uint8]
Scene = Callable[..., Pixels]
Encode = Callable[..., bytes]


def by_pillow(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def largest_difference(a: NDArray[Any], b: NDArray[Any]) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"progressive": True},
        {"optimize": True},
        {"restart_marker_rows": 1},
        {"subsampling": 0, "keep_rgb": True},
    ],
    ids=str,
)
def test_a_plain_jpeg_has_the_pixels_that_pillow_reads(
    scene: Scene, encode: Encode, quality: int, options: dict[str, Any]
) -> None:
    content = encode(scene(), quality=quality, **options)
    decoded = decode(content, "v/1.jpg")
    assert decoded.pixels.shape == (112, 112, 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.conversions == ()
    # two builds of libjpeg-turbo may round differently by one; here they are equal
    assert largest_difference(decoded.pixels, by_pillow(content)) <= 1


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    """A JPEG of any size, quality, sampling, order of scans and number of channels."""
    side = st.one_of(st.just(FRAME_SIZE), st.integers(1, 160))
    height, width, seed, quality = draw(side), draw(side), draw(st.integers(0, 9)), draw(st.integers(1, 100))
    y, x = np.mgrid[:height, :width, :3][:2]
    noise = np.random.default_rng(seed).normal(0, 8, (height, width, 3))
    picture = (128 + 90 * np.sin((seed + 1) * x / 30 + np.arange(3)) * np.cos(y / 20) + noise).clip(0, 255)
    image = Image.fromarray(picture.astype(np.uint8)).convert(draw(st.sampled_from(["RGB", "RGB", "L", "CMYK"])))
    sampling = draw(st.sampled_from([0, 1, 2, "440", "411"])) if image.mode == "RGB" else 0
    if isinstance(sampling, str):  # Pillow writes neither
        return bytes(simplejpeg.encode_jpeg(np.asarray(image), quality, colorsubsampling=sampling))
    progressive, restart = draw(st.booleans()), draw(st.integers(0, 2))
    options: dict[str, Any] = {"subsampling": sampling, "progressive": progressive, "restart_marker_rows": restart}
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


@settings(derandomize=True, max_examples=150, deadline=None)
@given(content=jpegs())
def test_pillow_agrees_on_every_kind_of_jpeg(content: bytes) -> None:
    expected = by_pillow(content)
    if expected.shape[:2] != (FRAME_SIZE, FRAME_SIZE):
        expected = np.asarray(Image.fromarray(expected).resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.BILINEAR))
    assert largest_difference(decode(content, "v/1.jpg").pixels, expected) <= 1


@settings(derandomize=True, max_examples=150, deadline=None)
@given(content=jpegs(), junk=st.binary(max_size=40), data=st.data())
def test_a_cut_file_is_refused_or_whole(content: bytes, junk: bytes, data: st.DataObject) -> None:
    """Also where what is lost is filled up with zeros, and where junk follows the end."""
    whole = decode(content, "v/1.jpg").pixels
    length = data.draw(st.one_of(st.integers(0, len(content + junk)), st.integers(len(content) - 30, len(content))))
    cut = (content + junk)[:length]
    for damaged in (cut, cut.ljust(len(content), b"\0")):
        try:
            pixels = decode(damaged, "v/1.jpg").pixels
        except FrameError:
            assert length < len(content)
        else:
            assert np.array_equal(pixels, whole)
            assert length >= len(content)


def test_channels_are_red_green_blue(encode: Encode) -> None:
    red = np.zeros((112, 112, 3), np.uint8)
    red[..., 0] = 255
    for kind in ("JPEG", "PNG"):
        pixels = decode(encode(red, kind), "v/1.jpg").pixels
        assert pixels[56, 56, 0] > 250
        assert pixels[56, 56, 2] < 5


def test_a_png_named_jpg_is_read_by_its_content(scene: Scene, encode: Encode) -> None:
    decoded = decode(encode(scene(), "PNG"), "v/1.jpg")
    assert np.array_equal(decoded.pixels, scene())
    assert decoded.conversions == ()


def test_a_grey_jpeg_has_three_equal_channels(scene: Scene, encode: Encode) -> None:
    content = encode(Image.fromarray(scene()).convert("L"))
    decoded = decode(content, "v/1.jpg")
    assert decoded.conversions == ("grayscale",)
    assert largest_difference(decoded.pixels, by_pillow(content)) <= 1


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_a_cmyk_jpeg_is_converted_as_pillow_does(scene: Scene, encode: Encode, transform: int) -> None:
    content = bytearray(encode(Image.fromarray(scene()).convert("CMYK"), quality=95))
    adobe = content.find(b"Adobe")
    content[adobe + 11] = transform
    decoded = decode(bytes(content), "v/1.jpg")
    assert decoded.conversions == ("cmyk",)
    assert largest_difference(decoded.pixels, by_pillow(bytes(content))) <= 1


def test_an_unusual_sampling_is_refused_and_not_called_damage(scene: Scene, encode: Encode) -> None:
    content = encode(Image.fromarray(scene()).convert("CMYK"), subsampling=2)
    with pytest.raises(FrameError, match="unusual sampling of its channels, which is not supported"):
        decode(content, "v/1.jpg")


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_of_16_bits_the_high_byte_is_kept(png: Encode, colour_type: int, channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (112, 112, channels))
    decoded = decode(png(samples, 16, colour_type), "v/1.png")
    assert np.array_equal(decoded.pixels, np.broadcast_to(samples >> 8, (112, 112, 3)))
    assert decoded.conversions == (("16-bit", "grayscale") if channels == 1 else ("16-bit",))


def test_transparency_lies_over_black(png: Encode) -> None:
    samples = np.full((112, 112, 4), 200)
    samples[:, :56, 3] = 0
    samples[:, 56:, 3] = 128
    decoded = decode(png(samples, 8, 6), "v/1.png")
    assert decoded.conversions == ("alpha",)
    assert (decoded.pixels[:, :56] == 0).all()
    assert largest_difference(decoded.pixels[:, 56:], np.array(200 * 128 / 255)) <= 1


def test_grey_of_16_bits_with_alpha_is_converted_in_three_ways(png: Encode) -> None:
    samples = np.full((112, 112, 2), 0xC800)
    samples[..., 1] = 0x8000
    decoded = decode(png(samples, 16, 4), "v/1.png")
    assert decoded.conversions == ("16-bit", "grayscale", "alpha")
    assert largest_difference(decoded.pixels, np.array(200 * 128 / 255)) <= 1


def test_a_transparent_colour_is_black(png: Encode, chunk: Callable[[bytes, bytes], bytes]) -> None:
    samples = np.full((112, 112, 3), 200)
    samples[:10] = (1, 2, 3)
    decoded = decode(png(samples, 8, 2, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))), "v/1.png")
    assert decoded.conversions == ("alpha",)
    assert (decoded.pixels[:10] == 0).all()
    assert (decoded.pixels[10:] == 200).all()


def test_a_transparent_colour_of_16_bits_is_refused(png: Encode, chunk: Callable[[bytes, bytes], bytes]) -> None:
    content = png(np.zeros((112, 112, 1)), 16, 0, chunk(b"tRNS", b"\0\0"))
    with pytest.raises(FrameError, match="16-bit PNG with a transparent colour"):
        decode(content, "v/1.png")


def test_a_palette_is_looked_up_without_a_mark(scene: Scene, encode: Encode) -> None:
    content = encode(Image.fromarray(scene()).quantize(16), "PNG")
    decoded = decode(content, "v/1.png")
    assert decoded.conversions == ()
    assert np.array_equal(decoded.pixels, by_pillow(content))


def test_one_bit_is_black_and_white(encode: Encode, scene: Scene) -> None:
    content = encode(Image.fromarray(scene()).convert("1"), "PNG")
    decoded = decode(content, "v/1.png")
    assert decoded.conversions == ("grayscale",)
    assert set(np.unique(decoded.pixels)) == {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(scene: Scene, encode: Encode, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(scene(), kind, exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    decoded = decode(content, "v/1.jpg")
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.conversions == (() if orientation == 1 else ("rotated",))


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"MM\x00*\x00\x00\xff\xff", b"II*\x00\x08\x00\x00\x00\xff\xff", b"junk" * 9]
)
def test_a_damaged_exif_block_does_not_cost_the_frame(scene: Scene, encode: Encode, exif: bytes) -> None:
    content = encode(scene())
    block = b"Exif\0\0" + exif
    with_exif = content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    assert np.array_equal(decode(with_exif, "v/1.jpg").pixels, decode(content, "v/1.jpg").pixels)


@pytest.mark.parametrize("size", [(224, 224), (56, 56), (100, 150), (1, 1)])
def test_other_sizes_are_resized_antialiased(scene: Scene, encode: Encode, size: tuple[int, int]) -> None:
    content = encode(scene(*size), quality=95)
    expected = Image.fromarray(by_pillow(content)).resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.BILINEAR)
    decoded = decode(content, "v/1.jpg")
    assert decoded.conversions == ("resized",)
    assert largest_difference(decoded.pixels, np.asarray(expected)) <= 1


def test_conversions_add_up_in_the_order_in_which_they_are_done(scene: Scene, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(scene(60, 80)).convert("L"), exif=exif.tobytes())
    assert decode(content, "v/1.jpg").conversions == ("grayscale", "rotated", "resized")


def test_decoding_and_packing_need_no_torch() -> None:
    code = "import sys, abawkit.frames.packed, abawkit.frames.augmentation_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
