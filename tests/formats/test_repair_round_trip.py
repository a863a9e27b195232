"""A good file comes back byte for byte from damage that leaves one answer; any other damage is refused."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.cli.check import check
from abawkit.formats import base
from abawkit.formats.editions import ABAW7

HEADER = "image,valence,arousal,expression,aus"
HEADERS = [
    "image",
    "image,",
    "Image,valence",
    "image_location,valence,arousal,expression,AU1",
    HEADER.replace(",", ", "),
]
Lines = list[str]


@pytest.fixture(scope="module", autouse=True)
def format_at_hand() -> Iterator[None]:
    """Finding a format among what is installed takes longer than everything else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "get_format", lambda _: ABAW7())
        yield


def any_cell(lines: Lines, draw: random.Random, first: int, change: Callable[[str], str]) -> Lines:
    """Changes one cell of a row, in a column from `first`."""
    row = draw.randrange(1, len(lines))
    cells = lines[row].split(",")
    column = draw.randrange(first, 16)
    return [*lines[:row], ",".join([*cells[:column], change(cells[column]), *cells[column + 1 :]]), *lines[row + 1 :]]


def every_row(lines: Lines, change: Callable[[str], str]) -> Lines:
    return [lines[0], *map(change, lines[1:])]


# Each takes the header and the rows of a file; one cell may get several, in this order.
REPAIRABLE: dict[str, Callable[[Lines, random.Random], Lines]] = {
    "3.0": lambda lines, draw: any_cell(lines, draw, 3, lambda cell: cell + ".0"),
    "03": lambda lines, draw: any_cell(lines, draw, 3, lambda cell: "00" + cell),
    "+3": lambda lines, draw: any_cell(lines, draw, 3, lambda cell: "+" + cell),
    "blanks": lambda lines, draw: any_cell(lines, draw, 0, lambda cell: f" {cell}\t"),
    "quotes": lambda lines, draw: any_cell(lines, draw, 0, lambda cell: f'"{cell}"'),
    "comma": lambda lines, _: every_row(lines, lambda row: row + ","),
    "list's comma": lambda lines, _: every_row(lines, lambda row: row.replace(".jpg,", ".jpg,,").replace(",,,", ",,")),
    "order": lambda lines, draw: [lines[0], *draw.sample(lines[1:], len(lines) - 1)],
    "header": lambda lines, draw: [draw.choice(HEADERS), *lines[1:]],
}
SPOILING: dict[str, Callable[[Lines, random.Random], Lines]] = {
    "missing row": lambda lines, _: lines[:-1],
    "one more row": lambda lines, _: [*lines, lines[-1]],
    "unknown row": lambda lines, _: [*lines[:-1], "x/" + lines[-1]],
    "nan": lambda lines, draw: any_cell(lines, draw, 1, lambda _: draw.choice(["nan", "inf", "", "-", "1_0", "x"])),
    "out of range": lambda lines, draw: any_cell(lines, draw, 1, lambda _: draw.choice(["-5", "8", "1e9", "-1.0001"])),
    "no integer": lambda lines, draw: any_cell(
        lines, draw, 3, lambda _: draw.choice(["0.5", "1e0", "0x1", "-1", "\uff11"])
    ),
    "narrow": lambda lines, _: [*lines[:-1], lines[-1].rpartition(",")[0]],
    "wide": lambda lines, _: [*lines[:-1], lines[-1] + ",0"],
    "swapped header": lambda lines, _: ["image,arousal,valence,expression,aus", *lines[1:]],
}
ENDS = ["\n", "\r\n", "\r", " \n", "\n\n", ",\n"]


@st.composite
def rows(draw: st.DrawFn) -> Lines:
    """Canonical rows of different frames, some of which stand twice."""
    numbers = draw(st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True))
    value = st.floats(-1, 1).map(lambda value: f"{value:.6f}")
    found = [
        ",".join(
            [f"v{n % 3}/{n:05}.jpg", draw(value), draw(value), str(n % 8), *(str(n >> bit & 1) for bit in range(12))]
        )
        for n in numbers
    ]
    return [*found, *draw(st.lists(st.sampled_from(found), max_size=2))]


def written(lines: Lines, draw: random.Random) -> bytes:
    """A file of these lines as some system or editor writes it."""
    lines = lines[1:] if draw.random() < 0.2 and lines[0] == HEADER else lines
    text = "".join(line + draw.choice([end, end, "\n"]) for line in lines) if (end := draw.choice(ENDS)) else ""
    text = text.rstrip("\r\n") if draw.random() < 0.3 else text
    return draw.choice([b"", b"", b"\xef\xbb\xbf"]) + text.encode()


def repair(folder: Path, content: bytes, listed: Lines) -> tuple[Path, int]:
    """What `abawkit check --repair` leaves, and its exit code; the file itself must stay as it is."""
    path, frames, out = folder / "file.txt", folder / "list.txt", folder / "out.txt"
    path.write_bytes(content)
    frames.write_text("".join(f"{line}\n" for line in ["image", *(row.partition(",")[0] for row in listed)]))
    out.unlink(missing_ok=True)
    code = 0
    try:
        check(path, frames, "abaw7", repair=out)
    except typer.Exit as end:
        code = end.exit_code
    assert path.read_bytes() == content
    assert sorted(entry.name for entry in folder.iterdir() if entry != out) == ["file.txt", "list.txt"]
    return out, code


def folder_of(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "repair"
    folder.mkdir(exist_ok=True)
    return folder


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    rows(), st.lists(st.sampled_from(sorted(REPAIRABLE)), max_size=4, unique=True), st.randoms(use_true_random=False)
)
def test_what_was_damaged_in_repairable_ways_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, rows: Lines, damages: list[str], draw: random.Random
) -> None:
    good = "".join(f"{line}\n" for line in [HEADER, *rows]).encode()
    lines = [HEADER, *rows]
    for damage in sorted(damages, key=list(REPAIRABLE).index):
        lines = REPAIRABLE[damage](lines, draw)
    content = written(lines, draw)
    out, code = repair(folder_of(tmp_path_factory), content, rows)
    assert code == 0
    assert out.exists() == (content != good)
    assert content == good or out.read_bytes() == good


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    rows(),
    st.lists(st.sampled_from(sorted(REPAIRABLE)), max_size=2, unique=True),
    st.sampled_from(sorted(SPOILING)),
    st.randoms(use_true_random=False),
)
def test_what_was_spoilt_in_any_other_way_is_refused_and_nothing_is_written(
    tmp_path_factory: pytest.TempPathFactory, rows: Lines, damages: list[str], spoiling: str, draw: random.Random
) -> None:
    lines = SPOILING[spoiling]([HEADER, *rows], draw)
    for damage in damages:
        if spoiling != "swapped header" or damage != "header":
            lines = REPAIRABLE[damage](lines, draw)
    out, code = repair(folder_of(tmp_path_factory), written(lines, draw), rows)
    assert code == 3
    assert not out.exists()
