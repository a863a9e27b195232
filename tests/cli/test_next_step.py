"""The last line names the next command with real paths, on a terminal alone."""

import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from abawkit.cli._command import print_next_step
from abawkit.cli.app import app
from abawkit.cli.train import _name_next_step

SHORT: Final = ["--set", "all.epochs=1", "--set", "heads.epochs=0", "--set", "batch_size=48", "--device", "cpu"]


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


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are named from now on, word for word."""
    found: list[list[str]] = []
    for module in ("synth", "curate", "train"):
        monkeypatch.setattr(f"abawkit.cli.{module}.print_next_step", lambda *words: found.append([*map(str, words)]))
    return found


def test_each_command_up_to_a_score_names_the_one_that_follows(named: list[list[str]], tmp_path: Path) -> None:
    release = tmp_path / "release"
    run = CliRunner().invoke
    assert run(app, ["synth", str(release), "--size", "tiny", "--workers", "1"]).exit_code == 0
    curated = str(tmp_path / "release-curated")
    assert named[-1] == ["curate", str(release), "--policy", "per-task", "--out", curated]
    assert run(app, named[-1]).exit_code == 0
    assert named[-1] == ["train", "baseline", "--data", curated, "--out", "runs/baseline"]
    assert run(app, [*named[-1][:-1], str(tmp_path / "a"), "--set", "network=ddamfn-nano", *SHORT]).exit_code == 0
    answers = str(tmp_path / "a.txt")
    wanted = ["predict", str(tmp_path / "a"), "--split", "validation", "--data", curated, "--out", answers]
    assert named[-1] == wanted
    assert run(app, named[-1]).exit_code == 0


def test_labels_without_frames_are_not_trained_on(named: list[list[str]], release: Path, tmp_path: Path) -> None:
    words = ["curate", str(release), "--labels-only", "--policy", "per-task", "--out", str(tmp_path / "labels")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert named == []


def test_folds_are_tuned_on_the_rows_that_they_divide(named: list[list[str]]) -> None:
    out = Path("runs/folds")
    trained: Any = SimpleNamespace(
        out=out, folds=[None], folds_over="train+validation", probabilities=out / "out-of-fold.npz"
    )
    _name_next_step(trained, Path("curated"), [])
    truth = ["--truth", "curated", "--split", "train+validation"]
    assert named == [["tune", "runs/folds/out-of-fold.npz", *truth, "--out", "runs/folds/rule.json"]]
