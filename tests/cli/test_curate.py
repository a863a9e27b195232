"""``abawkit curate`` as its user meets it: what is printed, and how it ends."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Files = Callable[..., Path]

pytestmark = pytest.mark.e2e

UNITS = ",0,1,1,0,0,1,0,0,1,0,0,1"


@pytest.fixture
def annotations(tmp_path: Path) -> Files:
    """Writes the annotation files of a release in which videos have these expressions."""

    def annotations(train: dict[str, int], validation: dict[str, int]) -> Path:
        folder = tmp_path / "release"
        folder.mkdir()
        for split, videos in (("training", train), ("validation", validation)):
            rows = [
                f"{video}/{frame:05}.jpg,0.5,-0.25,{label}{UNITS}"
                for video, label in videos.items()
                for frame in (3, 6, 9, 12)
            ]
            (folder / f"{split}_set_annotations.txt").write_text("\n".join(["image", *rows, ""]))
        return folder

    return annotations


def test_a_policy_that_keeps_nothing_ends_with_3_and_names_the_other(
    run: Run, annotations: Files, tmp_path: Path
) -> None:
    folder = annotations({"v1": -1, "v2": -1}, {"w1": -1})
    arguments = ("curate", folder, "--labels-only", "--out", tmp_path / "o")
    shown = run(*arguments, code=3)
    assert "keeps 0 of 8 training rows: none is annotated with an expression" in shown.stderr
    assert "--policy per-task keeps 8 training rows and 4 validation rows" in shown.stderr
    assert "written" not in shown.stdout
    assert json.loads(run(*arguments, "--json", code=3).stdout)["exit_code"] == 3


@pytest.mark.parametrize("policy", ["strict", "per-task"])
def test_the_table_shows_what_both_policies_keep_and_what_was_measured(
    run: Run, annotations: Files, tmp_path: Path, policy: str
) -> None:
    folder = annotations({"v1": 3, "v2": -1}, {"w1": 0})
    shown = run("curate", folder, "--labels-only", "--policy", policy, "--out", tmp_path / "o").stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["kept", "by", "strict", "4", "4"] in lines
    assert ["kept", "by", "per-task", "8", "4"] in lines
    assert "measured strict .194 (same epochs) to .235 (same steps) of P below per-task" in " ".join(shown.split())


def test_two_persons_of_one_clip_in_both_splits_are_a_warning(run: Run, annotations: Files, tmp_path: Path) -> None:
    folder = annotations({"video5_left": 3, "v2": 1}, {"video5_right": 0})
    result = run("curate", folder, "--labels-only", "--json", "--out", tmp_path / "o")
    assert "warning: 1 clip is in both splits (video5)" in result.stderr
    assert json.loads(result.stdout)["shared_clips"] == ["video5"]


def test_custom_tables_are_curated_by_the_columns_named_and_missing_values_are_listed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path;v;a\nv/1.jpg;0.5;0\nv/2.jpg;;1\n")
    (tmp_path / "b.csv").write_text("path,v,a\nw/1.jpg,0.5,0\n")
    arguments = ["--train", tmp_path / "a.csv", "--validation", tmp_path / "b.csv", "--labels-only"]
    arguments += ["--columns", "image=path,valence=v,arousal=a"]
    shown = run("curate", *arguments, "--policy", "per-task", "--out", tmp_path / "o").stdout
    assert ["valence", "empty", "1", "0"] in [line.split() for line in shown.splitlines()]
    refused = run("curate", *arguments, "--out", tmp_path / "p", code=3).stderr
    assert "--policy per-task keeps 1 training row and 1 validation row" in refused
    assert (
        "for the tables of --columns"
        in run("curate", *arguments[:5], "--missing-value", "x", "--out", "q", code=2).stderr
    )


def test_a_report_is_written_beside_the_set_and_not_into_it(run: Run, annotations: Files, tmp_path: Path) -> None:
    folder, out, report = annotations({"v1": 1, "v2": 2}, {"w1": 3}), tmp_path / "out", tmp_path / "curation.html"
    shown = run("curate", folder, "--labels-only", "--out", out, "--report", report).stdout
    assert shown.endswith(f"report: {report}; open it in a browser\n")
    text = report.read_text()
    assert "<title>Curation</title>" in text
    assert "v1/00003.jpg" not in text
    again = ("curate", folder, "--labels-only", "--out", out, "--force")
    report.write_text("mine")
    assert "is not a report" in run(*again, "--report", report, code=2).stderr
    assert report.read_text() == "mine"
    inside = run(*again, "--report", out / "report.html", code=2).stderr
    assert "lies in the curated set" in inside
