"""Repairs: whatever the bytes are, values stay what they were, and what is written is what the checker calls good."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from abawkit.errors import AbawkitError, DataWarning
from abawkit.formats.editions import ABAW5VA, ABAW5Expression, ABAW7Compound
from abawkit.formats.repair import RepairedSubmission, repair_content
from abawkit.formats.single_file import FlatFile
from abawkit.tables import FrameList

FORMS = [ABAW5VA(), ABAW5Expression(), ABAW7Compound()]
NAMES = ["v/1.jpg", "v/2.jpg", "w/1.jpg", "é/1.jpg"]
ODD_NAMES = [" v/1.jpg", '"v/2.jpg"', "w/1.jpg,", "../v/1.jpg", "v", "", '"', "v/1.jpg\x85", "x/1.jpg"]
CELLS = ["0", "1", "0.5", "-0", "+1", "03", "3.0", "1.", "1e-3"]
ODD_CELLS = [
    ' "1"',
    "5.5",
    "-5",
    "nan",
    "",
    "1,0",
    "00" * 3000,
    "9" * 5000,
    "0x1",
    "\uff11",
    '""',
    '"1',
    "1 0",
    "\x0b1",
]
ENDS = ["\n", "\n", "\r\n", "\r", ",\n", " \n", "\n\n", "\u2028\n", ",,,\t\n"]
JUNK = [
    b"\xef\xbb\xbf",
    b"\0",
    b"\xff",
    b"\x1f\x8b",
    b"\n",
    b"\r",
    b" ",
    b",",
    b'"',
    b"\xe2\x80\xa8",
    b" " * 50_000,
    b"," * 9999,
]
Given = tuple[FlatFile, bytes, list[str]]


@st.composite
def inputs(draw: st.DrawFn) -> Given:
    """A format, a file that is nearly one of its submissions, and the names of a list."""
    form = draw(st.sampled_from(FORMS))
    odd = draw(st.integers(0, 2)) == 0
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=draw(st.booleans())))
    shown = draw(st.permutations(names))
    cells = [*CELLS, *(ODD_CELLS if odd else [])]
    if odd and draw(st.booleans()):
        shown[0] = draw(st.sampled_from(ODD_NAMES))
    rows = [",".join([name, *(draw(st.sampled_from(cells)) for _ in form.columns[1:])]) for name in shown]
    headers = ["image", "Image, x", form.header.replace(",", ", "), ",".join(form.header.split(",")[::-1]), "name", ""]
    header = draw(st.sampled_from([form.header, form.header, *headers]))
    end = draw(st.sampled_from(ENDS))
    content = "".join(line + end for line in ([header] if header else []) + rows).encode()
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.sampled_from(JUNK) | st.binary(max_size=8)) + content[place:]
    return form, content, names


def values_of(content: bytes) -> list[tuple[str, ...]]:
    """What the rows of a file say, by another way than the package's; numbers that are equal are written the same."""
    lines = [re.sub(r'[ \t"]', "", line) for line in re.split("\r\n|\r|\n", content.decode("utf-8-sig"))]
    rows = [[cell for cell in line.split(",") if cell] for line in lines]
    return sorted(
        (row[0], *(repr(float(cell) + 0.0) for cell in row[1:])) for row in rows if row and row[0].endswith(".jpg")
    )


def test_repairs_change_no_value_and_end_in_a_good_file_or_in_none(fuzz: Callable[..., None], tmp_path: Path) -> None:
    def mend(form: FlatFile, content: bytes, frames: FrameList) -> RepairedSubmission:
        path = tmp_path / "given.txt"
        path.write_bytes(content)
        try:
            return repair_content(path, frames, form)
        finally:
            assert path.read_bytes() == content

    def check(given: Given) -> str:
        form, content, names = given
        path = tmp_path / "given.txt"
        frames = FrameList(images=pa.array(names, pa.string()), lines=np.arange(len(names)) + 2)
        said = ""
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)
            try:
                result = mend(form, content, frames)
            except AbawkitError as error:
                said = str(error)
        if said:
            assert said.startswith(f"{path}:")
            return "refused"
        lines = len(re.findall(rb"\r\n|\r|\n", content)) + 2
        assert all(0 < line < lines for repair in result.repairs for line in repair.lines)
        if result.problems:
            whole = [problem for problem in result.problems if re.search("names one of|names alone", problem.message)]
            assert all(0 < problem.line <= lines for problem in result.problems if problem not in whole)
            assert all(problem.text(path).isprintable() for problem in result.problems)
            return "has problems"
        assert isinstance(result.content, bytes)
        assert bool(result.repairs) == (result.content != content)
        assert mend(form, result.content, frames) == RepairedSubmission(result.content, [], [])
        assert form.read(path).images.to_pylist() == names
        assert values_of(result.content) == values_of(content)
        return "repaired" if result.repairs else "good"

    fuzz(check, inputs(), outcomes=("refused", "has problems", "repaired", "good"), examples=150)
