"""Reads text of unknown origin: harmless differences are evened out, anything else is refused with a reason."""

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

from abawkit.errors import DataError, DataWarning, printable
from abawkit.formats.layout import describe_layout
from abawkit.frame_names import IMAGE_SUFFIXES

SIGNATURES = {
    b"\x1f\x8b": "gzip-compressed data; unpack it first",
    b"PK\x03\x04": "a zip archive (or an Office document); unpack it, or export it as CSV",
    b"%PDF": "a PDF document",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"PAR1": "a Parquet table",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x93NUMPY": "a NumPy array",
}
"""First bytes of other files that are given by mistake."""

MAX_TEXT_BYTES = 1 << 30
"""Largest text that is unpacked, in bytes: a hundred times the largest file of the challenge."""

IMAGE_HEADERS = ("image", "image_location", "Image", "image_name")
"""First header fields that name the column of images; the first is the official one, the others are in use."""

BOM = b"\xef\xbb\xbf"

_TRAILING_BLANKS = re.compile(rb"(?<![ \t])[ \t]++(?=\n|\Z)")  # each run once: a long one takes no longer


def read_text(path: Path, expected: str) -> bytes:
    r"""Reads a text file and evens out differences between editors and systems.

    A file whose name ends in ``.gz`` is unpacked. Accepts a byte-order mark, CRLF and CR line ends, trailing blanks
    and tabs, blank lines at the end, and a missing final newline.

    Args:
        path: The file.
        expected: What the file should be, as in ``an annotation file``; used in messages.

    Returns:
        UTF-8 text with ``\n`` after every line, of which there is at least one. Line numbers are those of the file.

    Raises:
        DataError: If the file is absent, a folder, unreadable, empty, or not UTF-8 text.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected {expected}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder; expected {expected}") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); expected {expected}") from error
    if path.suffix == ".gz":
        content = _unpack_gzip(path, content, expected)
    _refuse_other_files(path, content, expected)
    content = content.removeprefix(BOM)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b" " in content or b"\t" in content:
        content = _TRAILING_BLANKS.sub(b"", content)
    if content.endswith(b"\n\n") or not content.endswith(b"\n"):
        content = content.rstrip(b"\n") + b"\n"
    if content == b"\n":
        raise DataError(f"{path}: is empty; expected {expected}")
    return content


def count_header_lines(
    path: Path, content: bytes, expected: str, image_column_names: Sequence[str] = IMAGE_HEADERS[:1]
) -> int:
    """Counts header lines, 0 or 1, by the first field of line 1 alone: headers are often narrower than rows.

    Args:
        path: The file, for messages.
        content: Its text, from `read_text`.
        expected: What the file should be, as in ``an annotation file``.
        image_column_names: First fields that give no warning; the first of them is this edition's.

    Returns:
        The number of lines before the first row. A file without a header gives a `DataWarning`, as does a header of
        another edition.

    Raises:
        DataError: If the first line is neither a header nor a row, or no row follows the header.
    """
    line = content[: content.index(b"\n")].decode()
    first = line.split(",", 1)[0].strip().strip('"')
    if first.lower().endswith(IMAGE_SUFFIXES):
        warnings.warn(f"{path}: has no header; its first line is read as a row", DataWarning, stacklevel=3)
        return 0
    if first not in IMAGE_HEADERS:
        got = printable(line[:80])
        begins = f"whose header begins with '{image_column_names[0]}'"
        raise DataError(f"{path}:1: got the header '{got}', expected {expected}, {begins}{describe_layout(content)}")
    if first not in image_column_names:
        warnings.warn(
            f"{path}: the header's first field is '{first}', read as '{image_column_names[0]}'",
            DataWarning,
            stacklevel=3,
        )
    if content.index(b"\n") == len(content) - 1:
        raise DataError(f"{path}: holds a header and no rows; expected {expected}")
    return 1


def _unpack_gzip(path: Path, content: bytes, expected: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            text = file.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be unpacked ({error}); expected {expected}, compressed with gzip") from error
    if len(text) > MAX_TEXT_BYTES:
        raise DataError(f"{path}: unpacks to more than {MAX_TEXT_BYTES:,} bytes; expected {expected}")
    return text


def _refuse_other_files(path: Path, content: bytes, expected: str) -> None:
    """Raises DataError for content that is not UTF-8 text, with the kind of file that it seems to be."""
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature):
            raise DataError(f"{path}: looks like {kind}; expected {expected}")
    nul = content.find(b"\0")
    if nul >= 0:
        utf16 = content[:64].count(b"\0") >= 16
        kind = "UTF-16 text; save it as UTF-8" if utf16 else f"binary data (a NUL byte at offset {nul:,})"
        raise DataError(f"{path}: looks like {kind}; expected {expected}")
    if content.isascii():
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: is not UTF-8 text ({error.reason}); expected {expected}") from error
