"""The last line names the next command with real paths, on a terminal alone."""

import shlex
import sys

import pytest

from abawkit.cli._command import print_next_step


def test_it_is_a_command_that_a_shell_reads_and_nothing_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_next_step("score", "my file.txt", "--truth", "curated")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_next_step("score", "my file.txt", "--truth", "curated")
    out, errors = capsys.readouterr()
    assert out == ""
    assert shlex.split(errors) == ["next:", "abawkit", "score", "my file.txt", "--truth", "curated"]
