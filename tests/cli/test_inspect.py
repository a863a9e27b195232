"""``abawkit inspect``: what a person and a machine are told, the exit code, and that it works without torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.inspection import inspect
from abawkit.synth.release import RELEASE_VERSION
from tests.commands import command_line

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e


def inspected(run: Run, *paths: Path, code: int = 0) -> list[dict[str, Any]]:
    answer = json.loads(run("inspect", *paths, "--json", code=code).stdout)
    assert answer["ok"] == (code == 0)
    entries: list[dict[str, Any]] = answer["inspected"]
    assert [entry["path"] for entry in entries] == [str(path) for path in paths]
    return entries


def test_each_kind_is_told_and_all_is_well_after_the_line(
    run: Run, runs: list[Path], submission: Path, curated: Path
) -> None:
    checkpoint = min((runs[0] / "checkpoints").iterdir())
    kinds = {
        runs[0]: "run",
        checkpoint: "checkpoint",
        runs[0] / "best.safetensors": "weights",
        submission: "submission",
        submission.with_suffix(".npz"): "probabilities",
        curated: "curated set",
    }
    entries = inspected(run, *kinds)
    assert [entry["kind"] for entry in entries] == list(kinds.values())
    assert all(entry.keys() == {"path", "kind", "summary", "facts", "digests", "problems"} for entry in entries)


def test_the_line_can_be_followed_back_by_its_digests(
    run: Run, runs: list[Path], submission: Path, curated: Path
) -> None:
    answered, *trained, data = inspected(run, submission, *runs, curated)
    members = [member["digest"] for member in answered["facts"]["members"]]
    assert members == [entry["digests"]["weights of best.safetensors"] for entry in trained]
    assert {entry["digests"]["data table"] for entry in trained} == {data["digests"]["table.parquet"]}


def test_a_person_sees_the_same(run: Run, runs: list[Path]) -> None:
    found = inspect(runs[0])
    shown = run("inspect", runs[0]).stdout
    assert found.digests["data table"] in "".join(shown.split())
    assert f"{found.facts['best']['figure']:.4f}" in shown
    assert "abawkit predict" in shown


@pytest.mark.parametrize("which", ["run", "submission", "curated"])
def test_a_narrow_terminal_shows_everything(which: str, runs: list[Path], submission: Path, curated: Path) -> None:
    path = {"run": runs[0], "submission": submission, "curated": curated}[which]
    shown = command_line("inspect", path, variables={"COLUMNS": "40"}).stdout
    assert max(map(len, shown.splitlines())) <= 40
    second_column = "".join(line.split()[-1] for line in shown.splitlines() if line.strip())
    assert [digest for digest in inspect(path).digests.values() if digest not in second_column] == []


def test_what_is_damaged_ends_with_3_and_its_facts_are_shown(run: Run, runs: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "w.safetensors"
    damaged.write_bytes((runs[0] / "best.safetensors").read_bytes()[:-1])
    result = run("inspect", damaged, code=3)
    assert f"problem: {damaged}" in result.stdout.replace("\n", "")
    assert f"{damaged.stat().st_size:,}" in result.stdout
    assert inspected(run, damaged, code=3)[0]["problems"]


def test_one_unknown_path_does_not_hide_the_others(run: Run, release: Path, curated: Path) -> None:
    unknown, known = inspected(run, release, curated, code=3)
    assert "looks like a release" in unknown["error"]
    made = f"(synthetic: version {RELEASE_VERSION}, size tiny, seed 0, difficulty 0.45)"
    assert made in unknown["error"]
    assert known["problems"] == []
    result = run("inspect", release, curated, code=3)
    assert "looks like a release" in result.stderr
    assert "curated set" in result.stdout


def test_frames_are_read_through_unless_told(run: Run, curated: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(curated, tmp_path / "curated"))
    content = bytearray((copy / "frames/frames.u8").read_bytes())
    content[-1] ^= 1
    (copy / "frames/frames.u8").write_bytes(content)
    assert "frames.u8" in inspected(run, copy, code=3)[0]["problems"][0]
    run("inspect", copy, "--no-verify")


def test_escape_sequences_in_files_do_not_reach_the_terminal(run: Run, submission: Path, tmp_path: Path) -> None:
    for path in (submission, submission.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    manifest = tmp_path / f"{submission.stem}.json"
    content = json.loads(manifest.read_text())
    content["environment"] = {"\x1b[31mpython": "\x1b[2J", "nested": {"\x1b]0;x\x07": ["\u202e"]}}
    content["members"][0]["path"] = "\x1b[31m.safetensors"
    content["format"] = "\x1b[31m"
    manifest.write_text(json.dumps(content))
    result = run("inspect", tmp_path / submission.name, code=3)
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout + result.stderr)
    assert r"\x1b[2J" in result.stdout


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.modules['torch'] = None; from abawkit.cli import main; main()"
    command = [sys.executable, "-c", code, "inspect", *map(str, arguments), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_submissions_and_curated_sets_need_no_torch(submission: Path, curated: Path) -> None:
    result = without_torch(submission, submission.with_suffix(".npz"), submission.with_suffix(".json"), curated)
    assert result.returncode == 0, result.stderr
    first = json.loads(result.stdout)["inspected"][0]
    assert {member["state"] for member in first["facts"]["members"]} == {"not looked at"}


def test_what_needs_torch_says_so(runs: list[Path], release: Path) -> None:
    for path in (runs[0], runs[0] / "best.safetensors", min((runs[0] / "checkpoints").iterdir())):
        result = without_torch(path)
        assert result.returncode == 2
        assert "needs torch" in json.loads(result.stdout)["error"]
    assert "looks like a release" in without_torch(release).stderr
