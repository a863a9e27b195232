from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.formats.editions import ABAW7

HEADER = "image,valence,arousal,expression,aus"
ROW = "video1/{:05}.jpg,0.5,-0.25,3,1,0,0,0,1,0,0,0,0,0,1,0"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes text or bytes to a file and gives its path."""

    def write(content: str | bytes, name: str = "file.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def rows() -> Callable[..., list[str]]:
    """Good rows of the frames with these numbers."""
    return lambda *numbers: [ROW.format(number) for number in numbers]


@pytest.fixture
def defects(write: Callable[..., Path]) -> Callable[..., list[tuple[int, str, str]]]:
    """What the checker says of a submission of these rows: line, column and message of each problem."""

    def defects(rows: list[str], listed: list[str] | None = None) -> list[tuple[int, str, str]]:
        names = [row.split(",")[0] for row in rows] if listed is None else listed
        frames = ABAW7().read_list(write("\n".join(["image", *names]), "list.txt"))
        path = write("\n".join([HEADER, *rows]), "submission.txt")
        return [(problem.line, problem.column, problem.message) for problem in ABAW7().check(path, frames)]

    return defects
