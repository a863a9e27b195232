import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from abawkit.frames.paths import FramesRoot, find_frame_paths

Pixels = NDArray[np.uint8]


def make_scene(height: int = 112, width: int = 112, seed: int = 0) -> Pixels:
    """A smooth picture with a little noise, different for each seed and without symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(2, 6) * x + rng.uniform(2, 6) * y * y + rng.uniform(0, 6)) for _ in range(3)]
    picture = 128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, 3))
    return picture.clip(0, 255).astype(np.uint8)


def encode_image(image: Image.Image | Pixels, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def find_path(root: FramesRoot, image: str) -> Path:
    return Path(find_frame_paths(root, [image])[0])


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_png(samples: NDArray[Any], bits: int, colour_type: int, *extra: bytes) -> bytes:
    """Writes a PNG by hand, as Pillow writes no 16-bit colour."""
    height, width = samples.shape[:2]
    stored = samples.astype(">u2" if bits == 16 else "u1")
    lines = b"".join(b"\0" + line.tobytes() for line in stored)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + png_chunk(b"IEND", b"")


@pytest.fixture
def scene() -> Callable[..., Pixels]:
    return make_scene


@pytest.fixture
def encode() -> Callable[..., bytes]:
    return encode_image


@pytest.fixture
def png() -> Callable[..., bytes]:
    return encode_png


@pytest.fixture
def chunk() -> Callable[[bytes, bytes], bytes]:
    return png_chunk


@pytest.fixture
def four_one_zero() -> bytes:
    """A whole JPEG of 4:1:0, which neither Pillow nor simplejpeg writes: the scans of three grey ones."""
    channels = Image.fromarray(make_scene()).convert("YCbCr").split()
    sizes = [(112, 112), (28, 56), (28, 56)]
    grey = [encode_image(channel.resize(size)) for channel, size in zip(channels, sizes, strict=True)]
    starts = [content.index(b"\xff\xda") for content in grey]
    tables = grey[0][2 : grey[0].index(b"\xff\xc0")], grey[0][grey[0].index(b"\xff\xc4") : starts[0]]
    frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, 112, 112, 3) + bytes([1, 0x42, 0, 2, 0x11, 0, 3, 0x11, 0])
    scans = [b"\xff\xda\0\x08\x01" + bytes([k + 1, 0, 0, 63, 0]) for k in range(3)]
    data = [scan + content[start + 10 : -2] for scan, content, start in zip(scans, grey, starts, strict=True)]
    return b"\xff\xd8" + tables[0] + frame + tables[1] + b"".join(data) + b"\xff\xd9"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos: frames 1, 8 and 17 of each, all different."""
    folder = tmp_path / "cropped_aligned"
    for video in range(2):
        (folder / f"video{video}").mkdir(parents=True)
        for number in (1, 8, 17):
            content = encode_image(make_scene(seed=100 * video + number), quality=95)
            (folder / f"video{video}" / f"{number:05}.jpg").write_bytes(content)
    return folder
