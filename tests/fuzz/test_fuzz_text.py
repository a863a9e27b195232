"""Lists, annotations and submissions: every row is read or named, whatever the bytes are."""

import gzip
import re
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from abawkit.errors import AbawkitError, DataWarning
from abawkit.formats.editions import ABAW7
from abawkit.formats.readers import read_annotations
from abawkit.labels import OFFICIAL_HEADER
from abawkit.tables import Annotations, FrameList

NAMES = ["v/1.jpg", "v/2.jpg", "w_left/00001.jpg", "é/1.PNG", "v/a b.jpeg"]
ODD_NAMES = ["", "v", "v/1.txt", "../v/1.jpg", "/v/1.jpg", "v//1.jpg", "C:/1.jpg", '"v/1.jpg"', " v/1.jpg", "image"]
ODD_NAMES += ["\u202ev/1.jpg", "\x1b[2Jv/1.jpg", "\ufeffv/1.jpg", "v/1.jpg\x85", "=v/1.jpg"]
REALS = ["0.5", "-1", "1", "0", "-0.0", "1e-5", ".5", "5.", "-.25", "1e-999", "0.12345678901234567890"]
ODD_REALS = [
    "-5",
    "-5.0",
    "nan",
    "inf",
    "1e999",
    "1.0001",
    "0x1",
    "1_0",
    "\uff11",
    "",
    "-",
    "1e",
    " 1",
    "9" * 5000,
    "1" * 50_000 + "_",
]
INTEGERS = ["0", "1", "+1", "001", "-0"]
ODD_INTEGERS = ["-1", "8", "1.0", "-1.", "1e0", "0.5", "0X1", "", "true", "256", "99999999999999999999", "9" * 5000]
HEADERS = [
    "",
    OFFICIAL_HEADER,
    "image",
    "image,",
    "image_location,x",
    "Image",
    '"image"',
    " image",
    "valence",
    "image\x1b[2J",
]
JUNK = [b"\0", b"\xff", b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"\t", b",", b'"', b"\x1a", b"\x0b", "\u2028".encode()]
JUNK += [b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04"]
RUNS = [b" " * 50_000, b"\t " * 25_000, b"1" * 50_000, b"," * 2000, b"\n" * 500]


class Case(NamedTuple):
    name: str
    content: bytes


# Cells that are good in every kind of file; each row draws one of each column's.
COLUMNS = [NAMES, REALS, REALS, [*INTEGERS, "7"], *[INTEGERS] * 12]
ODD_COLUMNS = [ODD_NAMES, ODD_REALS, ODD_REALS, *[ODD_INTEGERS] * 13]


@st.composite
def rows(draw: st.DrawFn) -> list[list[str]]:
    """Good rows, in some of which one cell is odd."""
    numbers = draw(st.lists(st.integers(0, 59), min_size=1, max_size=5))
    found = [[column[(number + i) % len(column)] for i, column in enumerate(COLUMNS)] for number in numbers]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        column = draw(st.integers(0, 15))
        draw(st.sampled_from(found))[column] = draw(st.sampled_from(ODD_COLUMNS[column]))
    return found


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """What editors, systems and accidents do to a file."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        i, j = (draw(st.integers(0, len(content))) for _ in range(2))
        edit = draw(
            st.sampled_from(["ends", "blanks", "tail", "bom", "flip", "cut", "insert", "run", "twice", "encoding"])
        )
        if edit == "ends":
            content = content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])))
        elif edit == "blanks":
            content = content.replace(b"\n", draw(st.sampled_from([b" \n", b"\t \n", b",\n"])))
        elif edit == "tail":
            content = content.rstrip(b"\n") + draw(st.sampled_from([b"", b"\n\n \n", b"  ", b"\r\r"]))
        elif edit == "bom":
            content = b"\xef\xbb\xbf" + content
        elif edit == "flip" and i < len(content):
            content = content[:i] + bytes([content[i] ^ draw(st.integers(1, 255))]) + content[i + 1 :]
        elif edit == "cut":
            content = content[:i]
        elif edit == "insert":
            content = content[:i] + draw(st.sampled_from(JUNK) | st.binary(max_size=8)) + content[i:]
        elif edit == "run":
            content = content[:i] + draw(st.sampled_from(RUNS)) + content[i:]
        elif edit == "twice":
            content = content[: max(i, j)] + content[min(i, j) :]
        elif edit == "encoding":
            content = content.decode(errors="replace").encode(draw(st.sampled_from(["utf-16", "latin-1"])), "replace")
    return content


@st.composite
def cases(draw: st.DrawFn, widths: list[int], headers: list[str]) -> Case:
    """Files of good and odd rows of these widths."""
    header = draw(st.sampled_from(HEADERS if draw(st.integers(0, 5)) == 0 else headers))
    lines = [",".join(row[: draw(st.sampled_from(widths))]) for row in draw(rows())]
    if draw(st.integers(0, 9)) == 0:
        lines[-1] += draw(st.sampled_from([",", ",1", ",,,"]))
    text = "".join(f"{line}\n" for line in [header, *lines][not header :])
    content = draw(edited(text.encode()))
    if draw(st.integers(0, 9)):
        return Case("file.txt", content)
    return Case("file.txt.gz", draw(st.just(gzip.compress(content, mtime=0)) | edited(gzip.compress(content, mtime=0))))


def rows_of(case: Case) -> list[str]:
    """The rows that a file has, by another way than the package's."""
    content = gzip.decompress(case.content) if case.name.endswith(".gz") else case.content
    lines = [line.rstrip(" \t") for line in re.split("\r\n|\r|\n", content.decode("utf-8-sig"))]
    while lines and not lines[-1]:
        lines.pop()
    first = lines[0].split(",")[0].strip().strip('"').lower()
    return lines if first.endswith((".jpg", ".jpeg", ".png")) else lines[1:]


def reading(read: Callable[[Path], Any], path: Path) -> Any:
    """What a reader returns; None where it refuses the file, by its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            return read(path)
        except AbawkitError as error:
            said = str(error)
    assert said.startswith(f"{path}:")
    return None


def test_a_list_is_read_row_for_row_or_refused(fuzz: Callable[..., None], tmp_path: Path) -> None:
    def check(case: Case) -> str:
        path = tmp_path / case.name
        path.write_bytes(case.content)
        frames: FrameList | None = reading(ABAW7().read_list, path)
        if frames is None:
            return "refused"
        rows = rows_of(case)
        assert frames.images.to_pylist() == [row.split(",")[0] for row in rows] != []
        assert np.diff(frames.lines).tolist() == [1] * (len(rows) - 1)
        return "read"

    fuzz(check, cases([1, 1, 1, 2, 16], ["image", OFFICIAL_HEADER]), outcomes=("read", "refused"), examples=200)


def test_annotations_are_read_cell_for_cell_or_refused(fuzz: Callable[..., None], tmp_path: Path) -> None:
    def check(case: Case) -> str:
        path = tmp_path / case.name
        path.write_bytes(case.content)
        found: Annotations | None = reading(read_annotations, path)
        if found is None:
            return "refused"
        rows = [row.split(",") for row in rows_of(case)]
        assert found.images.to_pylist() == [row[0] for row in rows] != []
        numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
        va, expression, au = numbers[:, :2], numbers[:, 2], numbers[:, 3:]
        assert (found.va_valid == (va != -5).all(axis=1)).all()
        assert (found.expression_valid == (expression != -1)).all()
        assert (found.au_valid == (au != -1).all(axis=1)).all()
        assert (found.va[found.va_valid] == va[found.va_valid]).all()
        assert (found.expression[found.expression_valid] == expression[found.expression_valid]).all()
        assert (found.au[found.au_valid] == au[found.au_valid]).all()
        return "read"

    fuzz(check, cases([16], ["image", "image,valence"]), outcomes=("read", "refused"), examples=200)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Case, list[str]]:
    """A submission, and the names of a list: its own, or others."""
    case = draw(cases([16], [OFFICIAL_HEADER]))
    try:
        names = [row.split(",")[0] for row in rows_of(case)]
    except (OSError, EOFError, ValueError, IndexError, zlib.error):
        names = []
    if draw(st.integers(0, 3)) == 0:
        names = draw(st.permutations(names) | st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    return case, names or ["v/1.jpg"]


def test_a_submission_has_problems_or_is_read_and_written_the_same(fuzz: Callable[..., None], tmp_path: Path) -> None:
    form = ABAW7()

    def check(given: tuple[Case, list[str]]) -> str:
        case, names = given
        path = tmp_path / case.name
        path.write_bytes(case.content)
        frames = FrameList(images=pa.array(names, pa.string()), lines=np.arange(len(names)) + 2)
        problems = reading(lambda path: form.check(path, frames), path)
        submission = reading(form.read, path)
        if problems is None:
            assert submission is None
            return "refused"
        if problems:
            lines = len(re.findall(rb"\r\n|\r|\n", case.content)) + 2 if path.suffix == ".txt" else 10**6
            whole = ("none of its", "hold names alone")  # said of the file as a whole
            least = 0 if any(text in problems[0].message for text in whole) else 1
            assert all(least <= problem.line <= lines and problem.text(path).isprintable() for problem in problems)
            assert problems == sorted(problems)
            return "has problems"
        assert submission.images.to_pylist() == names == [row.split(",")[0] for row in rows_of(case)]
        again = tmp_path / "again.txt"
        again.write_bytes(form.encode(submission))
        assert form.check(again, frames) == []
        same = form.read(again)
        assert form.encode(same) == again.read_bytes()
        assert np.abs(same.va - submission.va).max() <= 5.1e-7
        assert (same.expression == submission.expression).all()
        assert (same.au == submission.au).all()
        return "read and written"

    fuzz(check, answers(), outcomes=("refused", "has problems", "read and written"), examples=200)
