"""The header of an image file, read from its bytes before any decoder gets them."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

MAX_SIDE: Final = 4096
"""Largest width or height, in pixels, that is decoded: 48 MiB of RGB. Larger headers are refused unread."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS: Final = {0: "grayscale", 2: "rgb", 3: "rgb", 4: "grayscale", 6: "rgb"}
_JPEG_COLOURS: Final = {1: "grayscale", 3: "rgb", 4: "cmyk"}
_STANDALONE: Final = {0x01, *range(0xD0, 0xD8)}  # TEM and RST0-7 have no length
_START_OF_FRAME: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # less DHT, JPG and DAC
_START_OF_SCAN: Final = 0xDA
_APP1: Final = 0xE1
_EXIF: Final = b"Exif\x00\x00"
_ORIENTATION_TAG: Final = (0x0112, 3, 1)  # one SHORT; Source: EXIF 2.32, section 4.6.4

_SIGNATURES: Final = (
    (b"%!PS", "EPS or PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip"),
    (b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a JPEG or PNG file.

    Attributes:
        kind: Which of the two.
        width: In pixels, 1 to `MAX_SIDE`.
        height: In pixels, 1 to `MAX_SIDE`.
        bits: Bits of a sample: 1, 2, 4, 8 or 16.
        colour: What a pixel is; a palette counts as ``rgb``.
        orientation: As EXIF counts it, 1 to 8; 1 is upright, and where there is no readable EXIF block.
        colour_key: Whether one colour of a PNG is declared transparent, or a palette has alpha values.
    """

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    bits: int
    colour: str
    orientation: int
    colour_key: bool


def read_header(content: bytes) -> Header:
    """Reads the header of a JPEG or PNG file; nothing is decoded and nothing is allocated.

    Of a PNG, every chunk's checksum is verified up to the end mark, as decoders do not.

    Args:
        content: The whole file.

    Raises:
        ValueError: If the file is neither, is empty, ends too early, is damaged, or if a side is 0 or above
            `MAX_SIDE`.

    Source: ITU-T T.81 (JPEG), annex B; W3C Portable Network Graphics, third edition, section 5.
    """
    if content.startswith(b"\xff\xd8"):
        header = _read_jpeg_header(content)
    elif content.startswith(_PNG):
        header = _read_png_header(content)
    else:
        raise ValueError(f"the content is {describe_content(content)}, not a JPEG or PNG image")
    if not (0 < header.width <= MAX_SIDE and 0 < header.height <= MAX_SIDE):
        raise ValueError(f"the header has {header.width} x {header.height} pixels, expected 1 to {MAX_SIDE} a side")
    return header


def describe_content(content: bytes) -> str:
    """The kind of a file that is neither JPEG nor PNG, by its first bytes: ``HTML``, ``GIF``, ``EPS`` ..."""
    if not content:
        return "empty (0 bytes)"
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[4:8] == b"ftyp":
        return "HEIC, AVIF or video"
    start = content[:512]
    if not start.strip(b"\x00"):
        return "zero bytes only, as an interrupted copy leaves them"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML"
    printable_only = all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)
    return "text" if printable_only else f"unknown data that starts with {start[:8].hex(' ')}"


def _read_jpeg_header(content: bytes) -> Header:
    frame: tuple[int, int, int, int] | None = None
    orientation = 1
    for marker, payload in _iterate_jpeg_segments(content):
        if marker in _START_OF_FRAME:
            if frame or len(payload) < 6:
                raise ValueError("damaged JPEG: its frame header is repeated or too short")
            frame = struct.unpack_from(">BHHB", payload)
        elif marker == _APP1 and payload.startswith(_EXIF):
            orientation = _read_orientation(payload[len(_EXIF) :])
    if frame is None:
        raise ValueError("damaged JPEG: no frame header before its data")
    bits, height, width, components = frame
    if components not in _JPEG_COLOURS or bits != 8:
        raise ValueError(f"a JPEG of {components} components of {bits} bits, expected 1, 3 or 4 of 8 bits")
    return Header("jpeg", width, height, bits, _JPEG_COLOURS[components], orientation, False)


def _iterate_jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments between the start of the image and the start of its first scan."""
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            raise ValueError(f"damaged JPEG: no marker at byte {position}")
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker == _START_OF_SCAN:
            return
        else:
            end = position + 2 + int.from_bytes(content[position + 2 : position + 4])
            if end < position + 4:
                raise ValueError(f"damaged JPEG: no segment length at byte {position + 2}")
            yield marker, content[position + 4 : end]
            position = end
    raise ValueError(f"truncated JPEG: {len(content)} bytes, and the image has not begun")


def strip_exif(content: bytes) -> bytes:
    """A JPEG that `read_header` has accepted, without its EXIF data."""
    segments = list(_iterate_jpeg_segments(content))
    for marker, payload in segments:
        if marker == _APP1:
            segment = bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2) + payload
            content = content.replace(segment, b"", 1)
    return content


def _read_png_header(content: bytes) -> Header:
    chunks = _iterate_png_chunks(content)
    kind, first = next(chunks)
    if kind != b"IHDR" or len(first) != 13:
        raise ValueError("damaged PNG: it does not start with its header")
    width, height, bits, colour_type = struct.unpack_from(">IIBB", first)
    if colour_type not in _PNG_COLOURS:
        raise ValueError(f"damaged PNG: colour type {colour_type} does not exist")
    # the caller refuses a side that is too long: don't read on
    rest = {} if max(width, height) > MAX_SIDE else {kind: data for kind, data in chunks if kind in (b"eXIf", b"tRNS")}
    orientation = _read_orientation(rest.get(b"eXIf", b""))
    return Header("png", width, height, bits, _PNG_COLOURS[colour_type], orientation, b"tRNS" in rest)


def _iterate_png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG)
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4])
        kind = content[position + 4 : position + 8]
        data = content[position + 8 : position + 8 + length]
        checksum = content[position + 8 + length : position + 12 + length]
        if len(checksum) < 4:
            break
        if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(checksum):
            raise ValueError(f"damaged PNG: the checksum of the chunk at byte {position} is wrong")
        yield kind, data
        if kind == b"IEND":
            return
        position += 12 + length
    raise ValueError(f"truncated PNG: {len(content)} bytes, and no end mark")


def _read_orientation(exif: bytes) -> int:
    """Reads the orientation; a picture with a damaged EXIF block is taken as it is stored, as viewers do."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * entries, len(exif) - 11), 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if (tag, kind, count) == _ORIENTATION_TAG:
            return value if value in range(1, 9) else 1
    return 1
