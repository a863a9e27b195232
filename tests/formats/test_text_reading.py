"""Files of unknown origin: what can only be one thing is read, everything else is named."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.errors import DataError, DataWarning
from abawkit.formats import text as lines
from abawkit.formats.text import count_header_lines, read_text

Write = Callable[..., Path]
GOOD = b"image,a\nv/1.jpg,1\nv/2.jpg,2\n"


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"\n", b"\r"),
        GOOD.replace(b"\n", b" \t\n"),
        GOOD.replace(b"\n", b"  \r\n"),
        GOOD.rstrip(b"\n"),
        GOOD.rstrip(b"\n") + b"  ",
        GOOD + b"\n\n",
        GOOD + b" \n\t\n",
    ],
)
def test_what_editors_and_systems_do_differently_makes_no_difference(write: Write, content: bytes) -> None:
    assert read_text(write(content), "text") == GOOD


def test_blanks_within_a_line_stay_however_many_there_are(write: Write) -> None:
    content = b"image\n" + b" " * 1_000_000 + b"x" + b"\t " * 1_000_000 + b"\n"
    assert read_text(write(content), "text") == content.rstrip() + b"\n"


def test_a_blank_line_between_rows_stays_so_that_line_numbers_are_those_of_the_file(write: Write) -> None:
    assert read_text(write(b"image\n\nv/1.jpg"), "text") == b"image\n\nv/1.jpg\n"


def test_a_gz_file_is_unpacked(write: Write) -> None:
    assert read_text(write(gzip.compress(GOOD, mtime=0), "list.txt.gz"), "text") == GOOD


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (gzip.compress(GOOD, mtime=0), "gzip-compressed data; unpack it first"),
        (GOOD.decode().encode("utf-16"), "UTF-16 text"),
        (GOOD.decode().encode("utf-16-le"), "UTF-16 text"),
        (GOOD.decode().encode("utf-16-be"), "UTF-16 text"),
        (b"image\nv/1.jpg\0\n", "binary data (a NUL byte at offset 13)"),
        (b"\xff\xd8\xff\xe0JFIF", "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"%PDF-1.7", "a PDF"),
        (b"PAR1....", "a Parquet table"),
        (b"\x93NUMPY", "a NumPy array"),
    ],
)
def test_another_kind_of_file_is_named(write: Write, content: bytes, looks_like: str) -> None:
    path = write(content)
    with pytest.raises(DataError) as caught:
        read_text(path, "a list of frames")
    message = str(caught.value)
    assert message.startswith(f"{path}: looks like {looks_like}")
    assert message.endswith("expected a list of frames")


def test_text_of_another_encoding_is_refused_with_its_line(write: Write) -> None:
    with pytest.raises(DataError, match=r"file\.txt:2: is not UTF-8"):
        read_text(write("image\nvidéo/1.jpg\n".encode("latin-1")), "text")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(DataError, match="is empty; expected text"):
        read_text(write(content), "text")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file; expected text"):
        read_text(tmp_path / "none.txt", "text")
    with pytest.raises(DataError, match="is a folder; expected text"):
        read_text(tmp_path, "text")


def test_an_unreadable_file_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write(GOOD)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"can't be read \(Permission denied\); expected text"):
        read_text(path, "text")


@pytest.mark.parametrize("content", [GOOD, gzip.compress(GOOD, mtime=0)[:-6], b"\x1f\x8b\x08\0garbage"])
def test_a_gz_file_that_is_no_gzip_or_is_cut_off_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(DataError, match="can't be unpacked"):
        read_text(write(content, "list.txt.gz"), "text")


def test_a_gzip_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_TEXT_BYTES", 1000)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        read_text(write(gzip.compress(b"a" * 1001, mtime=0), "list.txt.gz"), "text")


def test_a_header_is_known_by_its_first_field_whatever_its_width(write: Write) -> None:
    for header in (b"image", b"image,", b"image,valence,arousal,expression,aus", b'"image",x' + b",y" * 30):
        assert count_header_lines(Path("a"), header + b"\nv/1.jpg\n", "a list") == 1


def test_no_header_is_accepted_with_a_warning() -> None:
    with pytest.warns(DataWarning, match="has no header; its first line is read as a row"):
        assert count_header_lines(Path("a"), b"v/1.JPG,0\n", "a list") == 0


@pytest.mark.parametrize("first", ["image_location", "image_name", "Image"])
def test_the_header_of_another_edition_is_accepted_with_a_warning(first: str) -> None:
    with pytest.warns(DataWarning, match=f"first field is '{first}'"):
        assert count_header_lines(Path("a"), f"{first},x\nv/1.jpg\n".encode(), "a list") == 1


@pytest.mark.parametrize("line", ["valence,arousal", "Neutral,Anger", "<html>", "0.1,0.2", "\x1b[31m"])
def test_an_unknown_header_is_an_error_that_shows_it_escaped(line: str) -> None:
    with pytest.raises(DataError, match="a:1: got the header") as caught:
        count_header_lines(Path("a"), f"{line}\nv/1.jpg\n".encode(), "a list")
    assert str(caught.value).isprintable()


def test_a_header_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="holds a header and no rows"):
        count_header_lines(Path("a"), b"image,valence\n", "a list")
