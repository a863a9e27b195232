import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from abawkit.errors import DataError
from abawkit.frames.decode import FrameError, decode

Scene = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]


def start_of_frame(content: bytes | bytearray) -> int:
    return min(at for at in (content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) if at > 0)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_jpeg_cut_anywhere_is_refused(scene: Scene, encode: Encode, options: dict[str, Any]) -> None:
    content = encode(scene(), quality=80, **options)
    for length in [*range(0, len(content), 10), len(content) - 2, len(content) - 1]:
        with pytest.raises(FrameError):
            decode(content[:length], "v/1.jpg")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_cut_jpeg_that_is_to_be_converted_is_refused_too(scene: Scene, encode: Encode, mode: str) -> None:
    content = encode(Image.fromarray(scene(80, 90)).convert(mode))
    for length in range(0, len(content), 10):
        with pytest.raises(FrameError):
            decode(content[:length], "v/1.jpg")


def test_a_png_cut_anywhere_is_refused(scene: Scene, encode: Encode) -> None:
    content = encode(scene(30, 30), "PNG")
    for length in [*range(0, len(content), 10), len(content) - 1]:
        with pytest.raises(FrameError):
            decode(content[:length], "v/1.png")


def test_a_png_with_any_flipped_bit_is_refused(scene: Scene, encode: Encode) -> None:
    content = encode(scene(12, 12), "PNG")
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        with pytest.raises(FrameError):
            decode(bytes(damaged), "v/1.png")


def test_bytes_after_the_end_are_ignored(scene: Scene, encode: Encode) -> None:
    for kind in ("JPEG", "PNG"):
        content = encode(scene(), kind)
        assert np.array_equal(decode(content + b"\0junk", "v/1").pixels, decode(content, "v/1").pixels)


def test_random_damage_is_a_frame_error_or_a_frame(scene: Scene, encode: Encode) -> None:
    rng = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112] = 3
    content = encode(scene(), exif=exif.tobytes())
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(256)
        try:
            assert decode(bytes(damaged), "v/1.jpg").pixels.shape == (112, 112, 3)
        except FrameError:
            refused += 1
    assert 40 < refused < 400


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\0" * 4096, "zero bytes only"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"\xef\xbb\xbf\n  <HTML><body>login", "HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6 binary", "EPS"),
        (b"%PDF-1.7", "PDF"),
        (b"II*\0rest", "TIFF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"no such file\n", "text"),
        (b"\x01\x02\xf3\x04", "unknown data that starts with 01 02 f3 04"),
    ],
)
def test_what_is_no_jpeg_or_png_is_named(content: bytes, found: str) -> None:
    with pytest.raises(FrameError, match=rf"^v/1\.jpg: the content is .*{found}.*expected a whole JPEG or PNG"):
        decode(content, "v/1.jpg")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "EPS", "PPM", "WEBP"])
def test_other_formats_are_refused_though_pillow_reads_them(scene: Scene, encode: Encode, kind: str) -> None:
    Image.init()
    with pytest.raises(FrameError, match="not a JPEG or PNG image"):
        decode(encode(scene(), kind), "v/1.jpg")


@pytest.mark.parametrize(("width", "height"), [(65500, 65500), (4097, 112), (112, 0), (0, 112)])
def test_a_jpeg_header_of_a_wrong_size_is_refused_before_decoding(
    scene: Scene, encode: Encode, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(encode(scene()))
    struct.pack_into(">HH", content, start_of_frame(content) + 5, height, width)
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: pytest.fail("the decoder was called"))
    with pytest.raises(FrameError, match=f"the header has {width} x {height} pixels"):
        decode(bytes(content), "v/1.jpg")


def test_a_png_header_of_a_wrong_size_is_refused_before_decoding(
    png: Encode, chunk: Callable[[bytes, bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = png(np.zeros((8, 8, 3)), 8, 2)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 65536, 65536, 8, 2, 0, 0, 0))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("the decoder was called"))
    with pytest.raises(FrameError, match="the header has 65536 x 65536 pixels"):
        decode(small[:8] + header + small[8 + len(header) :], "v/1.png")


def test_a_header_that_promises_more_rows_than_there_are_is_refused(scene: Scene, encode: Encode) -> None:
    content = bytearray(encode(scene()))
    struct.pack_into(">H", content, start_of_frame(content) + 5, 224)
    with pytest.raises(FrameError):
        decode(bytes(content), "v/1.jpg")


def test_the_error_is_a_data_error_that_escapes_the_name() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"", "v/\x1b[2J.jpg")
    assert "\x1b" not in str(caught.value)
