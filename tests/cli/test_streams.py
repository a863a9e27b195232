"""What becomes of results where they can't be written: an exit code and a line, never a traceback, never a bug's 1."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Shell = Callable[..., subprocess.CompletedProcess[str]]

FULL = "error: standard output: No space left on device; free the disk, or redirect it elsewhere\n"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a line of the shell, in which ``$ABAWKIT`` is the command."""
    listed = tmp_path / "list.txt"
    listed.write_text("image\n" + "".join(f"v/{frame:05d}.jpg\n" for frame in range(1, 3000)))
    wrong = "".join(f"v/{frame:05d}.jpg,2,2,9{',0' * 12}\n" for frame in range(1, 3000))
    (tmp_path / "answers.txt").write_text(f"image,valence,arousal,expression,aus\n{wrong}")

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ABAWKIT": f"{sys.executable} -m abawkit", "COLUMNS": "100", **variables}
        command = ["bash", "-o", "pipefail", "-c", line]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", env=environment, cwd=tmp_path, check=False
        )

    return run


@pytest.mark.parametrize("arguments", ["--help", "--version", "check --help"])
def test_a_page_that_can_not_be_written_is_an_error_of_the_output(shell: Shell, arguments: str) -> None:
    result = shell(f"$ABAWKIT {arguments} > /dev/full")
    assert (result.returncode, result.stderr) == (3, FULL)


@pytest.mark.parametrize("more", ["", " --json"])
def test_results_that_can_not_be_written_are_no_success(shell: Shell, more: str) -> None:
    line = f"$ABAWKIT check answers.txt --list list.txt{more} > /dev/full"
    result = shell(line)
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    assert FULL in result.stderr


def test_a_table_that_can_not_be_written_is_no_success(shell: Shell) -> None:
    assert shell("$ABAWKIT submissions --folder . > /dev/full").returncode == 3


def test_a_reader_that_has_seen_enough_is_no_bug(shell: Shell) -> None:
    result = shell("$ABAWKIT check answers.txt --list list.txt | head -1")
    assert result.returncode == 141  # 128 + SIGPIPE, as of any program
    assert result.stderr == ""
    assert shell("$ABAWKIT --help | head -1").returncode == 141


def test_a_reader_of_messages_that_has_seen_enough_changes_nothing(shell: Shell) -> None:
    result = shell("$ABAWKIT check absent.txt --list list.txt 2>&1 >/dev/null | true; echo ${PIPESTATUS[0]}")
    assert result.stdout == "3\n"


def test_messages_that_can_not_be_written_do_not_change_the_exit_code(shell: Shell) -> None:
    for closed in ("2>/dev/full", "2>&-"):
        result = shell(f"$ABAWKIT check absent.txt --list list.txt --json {closed}")
        assert result.returncode == 3
        assert result.stdout.startswith('{\n  "error": "absent.txt: ')  # nothing but JSON, and one object


def test_a_closed_output_is_no_success(shell: Shell) -> None:
    result = shell("$ABAWKIT --version >&-")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("error: standard output: Bad file descriptor")


def test_files_are_written_whole_where_every_stream_is_closed(shell: Shell, tmp_path: Path) -> None:
    line = "$ABAWKIT synth out --size tiny --labels-only --json"
    assert shell(f"{line} <&- >&- 2>&-").returncode == 3
    written = (tmp_path / "out/training_set_annotations.txt").read_bytes()
    assert shell(line.replace("out", "other")).returncode == 0
    assert (tmp_path / "other/training_set_annotations.txt").read_bytes() == written


def test_a_home_that_can_not_be_written_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = "$ABAWKIT --install-completion bash; exit $?"  # so that bash stays, as the parent that is asked for
    result = shell(line, HOME=str(tmp_path / "file"))
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    assert str(tmp_path / "file") in result.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_what_an_encoding_has_no_character_for_is_escaped(shell: Shell, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "résumé → 顔").mkdir()
    for line in ("submissions --folder résumé*", "--help"):
        result = shell(f"$ABAWKIT {line} | cat", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert "Traceback" not in result.stderr
    shown = shell("$ABAWKIT inspect résumé* 2>&1", PYTHONIOENCODING=encoding, PYTHONUTF8="0").stdout
    assert "Traceback" not in shown
    assert r"\u2192 \u9854" in shown


def test_a_name_that_is_not_utf_8_can_be_printed(shell: Shell, tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102
    result = shell("$ABAWKIT check caf* --list list.txt")
    assert result.returncode == 3
    assert r"caf\udce9" in result.stderr
