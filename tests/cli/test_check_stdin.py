"""``abawkit check -`` reads the submission from standard input, and says of it what it says of a file."""

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Started, command_line

Check = Callable[..., subprocess.CompletedProcess[str]]

HEADER = "image,valence,arousal,expression,aus"
ROWS = [f"v/{frame:05d}.jpg,0.5,-0.5,3" + ",0" * 12 for frame in (1, 2, 3)]
GOOD = "\n".join([HEADER, *ROWS, ""])


@pytest.fixture
def check(tmp_path: Path) -> Check:
    (tmp_path / "list.txt").write_text("".join(f"{row.split(',')[0]},\n" for row in [HEADER.split(",")[0], *ROWS]))

    def run(content: str | bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["check", "-", "--list", "list.txt", *arguments]
        return Started(*command, cwd=tmp_path, given=os.fsencode(content)).wait()

    return run


@pytest.mark.parametrize("content", [GOOD, gzip.compress(GOOD.encode(), mtime=0), GOOD.replace("\n", "\r\n")])
def test_a_good_one_is_good(check: Check, content: str | bytes) -> None:
    result = check(content)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok: 3 rows, as listed\n", "")


def test_defects_are_named_with_their_lines_and_no_temporary_file(check: Check, tmp_path: Path) -> None:
    result = check(GOOD.replace(",0.5,", ",1.5,", 1).replace(ROWS[2], ""))
    assert result.returncode == 3
    assert "standard input:2: column 'valence': got '1.5', expected a number in -1..1" in result.stdout
    assert "row missing: 'v/00003.jpg'" in result.stdout
    assert result.stderr == "not ready to hand in: 2 problems in standard input\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["list.txt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "error: standard input: is empty; expected a submission"),
        (b"PAR1" + b"\0" * 20, "error: standard input: looks like a Parquet table"),
        (b"\x1f\x8b damaged", "error: standard input: "),
    ],
)
def test_what_is_no_submission_is_named(check: Check, content: str | bytes, said: str) -> None:
    result = check(content)
    assert result.returncode == 3
    assert result.stderr.startswith(said)
    assert "/tmp" not in result.stderr  # noqa: S108


def test_json_is_that_of_a_file(check: Check, tmp_path: Path) -> None:
    content = GOOD.replace(",3,", ",9,", 1)
    (tmp_path / "file.txt").write_text(content)
    of_file = Started("check", "file.txt", "--list", "list.txt", "--json", cwd=tmp_path).wait().stdout
    assert json.loads(check(content, "--json").stdout) == json.loads(of_file)


def test_a_repaired_one_is_written(check: Check, tmp_path: Path) -> None:
    result = check("\ufeff" + GOOD.replace("\n", ",\n"), "--repair", "repaired.txt")
    assert result.returncode == 0
    assert (tmp_path / "repaired.txt").read_text() == GOOD


def test_a_folder_can_not_come_from_standard_input(check: Check, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("v/00001.jpg\n")
    result = check(GOOD, "--format", "abaw3-va")
    assert result.returncode == 2
    assert "this format asks for a folder" in result.stderr


def test_a_file_of_that_name_is_given_by_its_whole_path(check: Check, tmp_path: Path) -> None:
    (tmp_path / "-").write_text(GOOD)
    command_line("check", tmp_path / "-", "--list", "list.txt", cwd=tmp_path)
