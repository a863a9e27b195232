"""The examples run as they stand, and print what their first lines promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


def run(folder: Path, name: str, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + (result.stderr if code else "")


def scores(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w+): P (-?[\d.]+)", text, flags=re.MULTILINE)}


def test_every_script_is_run_here() -> None:
    assert SCRIPTS == ["ensemble_of_files.py", "quickstart.py", "score_external_submission.py"]


def test_the_quickstart_is_short() -> None:
    source = (EXAMPLES / "quickstart.py").read_text()
    lines = [line for line in source.rpartition('five steps."""')[2].splitlines() if line.strip()]
    assert len(lines) < 20


@pytest.mark.e2e
def test_the_quickstart_trains_predicts_and_scores(tmp_path: Path) -> None:
    found = re.fullmatch(
        r"P ([\d.]+) = (-?[\d.]+) \(VA\) \+ ([\d.]+) \(EXPR\) \+ ([\d.]+) \(AU\)\n", run(tmp_path, "quickstart.py")
    )
    assert found
    assert 0 < float(found[1]) < 2
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart"]


def test_a_submission_of_another_system_is_checked_and_scored(tmp_path: Path) -> None:
    name = "score_external_submission.py"
    lines = run(tmp_path, name).splitlines()
    assert lines[0] == "ok: 70 rows, as listed"
    valence = float(lines[1].partition("valence ")[2].partition(",")[0])
    assert 0 < valence < 1
    assert "arousal 1.0000" in lines[1]
    paths = ["external/submission.txt", "external/release/test_set_examples/MTL.txt"]
    truth = "external/release/held_out/test_set_annotations.txt"
    assert run(tmp_path, name, *paths, truth).splitlines() == lines
    submission = tmp_path / paths[0]
    submission.write_text(submission.read_text().replace("v", "w", 1))
    assert "header" in run(tmp_path, name, *paths, truth, code=1)


def test_the_mean_of_two_members_is_better_than_each(tmp_path: Path) -> None:
    found = scores(run(tmp_path, "ensemble_of_files.py"))
    assert found.keys() == {"a", "b", "mean", "rule"}
    assert found["mean"] > max(found["a"], found["b"])
