"""One image file to the 112 x 112 RGB pixels that the networks take, refusing what is not a whole JPEG or PNG."""

import io
import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from abawkit.errors import DataError, printable
from abawkit.frames.entropy import UnsupportedError, check_entropy_data
from abawkit.frames.headers import Header, read_header, strip_exif

FRAME_SIZE: Final = 112
"""Width and height of a frame, in pixels. Source: s-Aff-Wild2, https://arxiv.org/abs/2407.03835."""

FRAME_BYTES: Final = FRAME_SIZE * FRAME_SIZE * 3
"""Bytes of a frame's pixels."""

Conversion = Literal["resized", "grayscale", "cmyk", "alpha", "16-bit", "rotated"]
"""How an image was converted to a frame. Looking up the colours of a palette is not a conversion."""

UNUSUAL_SAMPLING: Final = "a JPEG with an unusual sampling of its channels, which is not supported"
"""The reason for a JPEG that neither libjpeg-turbo nor Pillow decodes safely."""

# Source: EXIF 2.32, section 4.6.4: where row 0 and column 0 of the stored picture belong.
_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class FrameError(DataError):
    """A frame that can't be decoded.

    Attributes:
        name: The image name.
        reason: What was found.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        advice = "expected a whole JPEG or PNG image; extract or copy this frame again"
        super().__init__(printable(f"{name}: {reason}; {advice}"))


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded frame.

    Attributes:
        pixels: RGB, (112, 112, 3), uint8.
        conversions: What was converted, in the order in which it was done; empty for a plain RGB frame.
        size: Width and height of the stored picture, in pixels.
        content: The file that was decoded.
    """

    pixels: NDArray[np.uint8]
    conversions: tuple[Conversion, ...]
    size: tuple[int, int]
    content: bytes


def decode(content: bytes, name: str) -> Decoded:
    """Decodes one image file.

    The file's type is recognised by its bytes, not its name. JPEG data that a decoder would silently repair,
    truncated data above all, is refused. What is not 8-bit RGB of 112 x 112 is converted in this one way: of 16 bits
    the high byte is kept; grey is repeated in the three channels; CMYK is taken as Adobe writes it (inverted) and
    converted without a colour profile; transparency is put over black, the colour that alignment leaves around a
    face; the EXIF orientation is applied; then the picture is resized to 112 x 112 without regard to its aspect, with
    Pillow's antialiased bilinear filter, the one of torchvision's ``Resize``. Colour profiles are ignored.

    Args:
        content: The whole file.
        name: The image name, for messages.

    Raises:
        FrameError: If the content is no JPEG or PNG, is truncated or damaged, has a side of more than 4096 pixels, or
            is a 16-bit PNG with a transparent colour, or a CMYK or progressive JPEG with a sampling that libjpeg-turbo
            has no name for.
    """
    try:
        header = read_header(content)
        conversions: list[Conversion] = []
        if header.kind == "jpeg":
            pixels = _decode_jpeg(content, header, conversions)
        else:
            pixels = _decode_png(content, header, conversions)
        pixels = _apply_orientation(pixels, header.orientation, conversions)
    except (ValueError, OSError, SyntaxError, AssertionError, struct.error) as error:  # Pillow asserts on bad palettes
        raise FrameError(name, str(error) or "damaged image") from error
    if pixels.shape[:2] != (FRAME_SIZE, FRAME_SIZE):
        conversions.append("resized")
        resized = Image.fromarray(pixels).resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized)
    return Decoded(pixels, tuple(conversions), (header.width, header.height), content)


def _decode_jpeg(content: bytes, header: Header, conversions: list[Conversion]) -> NDArray[np.uint8]:
    space = "CMYK" if header.colour == "cmyk" else "RGB"
    try:
        # strict: without it, truncated and damaged files are filled up
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colorspace=space, strict=True)
    except ValueError as error:
        if "subsampling" in str(error):
            return _decode_unusual(content, header)
        raise ValueError(f"truncated or damaged JPEG ({error})") from error
    if header.colour == "cmyk":
        conversions.append("cmyk")
        inks = Image.frombytes("CMYK", (header.width, header.height), (255 - pixels).tobytes())
        return np.asarray(inks.convert("RGB"))
    if header.colour == "grayscale":
        conversions.append("grayscale")
    return pixels


def _decode_unusual(content: bytes, header: Header) -> NDArray[np.uint8]:
    """Decodes a JPEG of a sampling that libjpeg-turbo has no name for, such as 4:1:0, by Pillow.

    Pillow does not refuse damage, so the data is followed to its end first.
    """
    if header.colour != "rgb":
        raise ValueError(UNUSUAL_SAMPLING)
    try:
        check_entropy_data(content)
    except UnsupportedError as error:
        raise ValueError(UNUSUAL_SAMPLING) from error
    except (ValueError, LookupError) as error:
        raise ValueError(f"truncated or damaged JPEG ({error})") from error
    with Image.open(io.BytesIO(strip_exif(content)), formats=("JPEG",)) as image:  # Pillow warns of damaged EXIF data
        return np.asarray(image.convert("RGB"))


def _decode_png(content: bytes, header: Header, conversions: list[Conversion]) -> NDArray[np.uint8]:
    if header.bits == 16:
        if header.colour_key:
            raise ValueError("a 16-bit PNG with a transparent colour, which is not supported")
        conversions.append("16-bit")
    if header.colour == "grayscale":
        conversions.append("grayscale")
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        if image.has_transparency_data:
            conversions.append("alpha")
            layers = image.convert("RGBA")
            over_black = Image.new("RGBA", layers.size, (0, 0, 0, 255))
            return np.asarray(Image.alpha_composite(over_black, layers).convert("RGB"))
        if header.bits == 16 and len(image.getbands()) == 1:  # Pillow would clip 16-bit grey at 255
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))


def _apply_orientation(pixels: NDArray[np.uint8], orientation: int, conversions: list[Conversion]) -> NDArray[np.uint8]:
    if orientation == 1:
        return pixels
    conversions.append("rotated")
    return np.asarray(Image.fromarray(pixels).transpose(_TRANSPOSE[orientation]))
