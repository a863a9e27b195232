"""``abawkit score`` of formats of one task: only what they hold is shown, and JSON says what that is."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.formats.base import get_format
from abawkit.probabilities.members import write_probabilities
from abawkit.tables import Predictions

Run = Callable[..., subprocess.CompletedProcess[str]]

GOLDEN = Path(__file__).parents[1] / "golden/formats"
SHOWN = {
    "va": ["CCC valence", "CCC arousal", "CCC, mean of both"],
    "expression": ["F1, mean of 8 expressions", "Happiness"],
    "au": ["F1, mean of 12 action units", "AU26"],
    "compound": ["F1, mean of 7 compound expressions", "Sadly_Angry"],
}


@pytest.mark.parametrize("name", ["abaw3-expr", "abaw3-va", "abaw5-au", "abaw5-expr", "abaw5-va", "abaw7-ce"])
def test_only_what_a_format_holds_is_shown_and_no_published_result_beside_it(
    run: Run, name: str, tmp_path: Path
) -> None:
    (held,) = get_format(name).tasks
    given = GOLDEN / (name if name.startswith("abaw3") else f"{name}.txt")
    source = given if held == "compound" else GOLDEN / "abaw7.txt"  # a submission is in the form of annotations too
    truth = shutil.copy(source, tmp_path / "truth.txt")
    shown = run("score", given, "--format", name, "--truth", truth).stdout
    assert {text for texts in SHOWN.values() for text in texts if text in shown} == set(SHOWN[held])
    assert "Published" not in shown
    out = json.loads(run("score", given, "--format", name, "--truth", truth, "--json").stdout)
    parts = {"va": "ccc_va", "expression": "expression_f1", "au": "au_f1", "compound": "compound_f1"}
    assert out["tasks"] == [held]
    assert out["score"] == out[parts[held]] > 0
    assert all(out.get(part) is None for task, part in parts.items() if task != held)


@pytest.mark.parametrize("name", ["abaw4", "abaw11"])
def test_a_multi_task_format_is_shown_with_what_was_published(run: Run, name: str, tmp_path: Path) -> None:
    path = GOLDEN / f"{name}.txt"
    shown = run("score", path, "--format", name, "--truth", shutil.copy(path, tmp_path / "truth.txt")).stdout
    assert all(text in shown for task in ("va", "expression", "au") for text in SHOWN[task])


def test_published_results_are_those_of_the_split_that_was_scored(run: Run, tmp_path: Path) -> None:
    truth = annotated(tmp_path / "truth.txt", 2)
    done = run("score", truth, "--truth", shutil.copy(truth, tmp_path / "same.txt"))
    assert "Published" not in done.stdout
    assert "the truth has 20 rows, the official files have 26,876 (validation) and 51,159 (test)" in done.stderr
    header, *rows = truth.read_text().splitlines()
    for split, count, first in (("validation", 26_876, "1.7259"), ("test", 51_159, "1.5286")):
        repeated = (rows * (count // len(rows) + 1))[:count]
        path = tmp_path / f"{split}.txt"
        path.write_text("\n".join([header, *repeated]) + "\n")
        shown = run("score", path, "--truth", shutil.copy(path, tmp_path / "same.txt")).stdout
        assert f"Published, on the official {split} set" in shown
        assert shown.split("this file (official)")[1].split()[4:].index(first) < 12  # the next row
        out = json.loads(run("score", path, "--truth", tmp_path / "same.txt", "--json").stdout)
        assert {result["split"] for result in out["published"]} == {split}


def test_a_score_is_given_in_detail_and_under_both_protocols(run: Run, tmp_path: Path) -> None:
    truth, given = annotated(tmp_path / "truth.txt", 24), annotated(tmp_path / "given.txt", 24, seed=1)
    lines = truth.read_text().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:3], "-1", *lines[1].split(",")[4:]])
    truth.write_text("\n".join(lines) + "\n")
    shown = run("score", given, "--truth", truth).stdout
    expected = ["(strict: 239 rows)", "accuracy, expressions", "all 12 units right", "Pearson", "bal acc"]
    for text in (*expected, "per cent predicted as", "Best and worst videos"):
        assert text in " ".join(shown.split())
    out = json.loads(run("score", given, "--truth", truth, "--json").stdout)
    assert (out["rows"], out["other"]["protocol"], out["other"]["rows"]) == (240, "strict", 239)
    assert out["details"]["expression"]["rows"] == out["other"]["details"]["expression"]["rows"] == 239
    assert len(out["details"]["videos"]) == 24
    assert out["published"] == []


def test_a_truth_that_is_none_of_the_format_is_named(run: Run) -> None:
    path = GOLDEN / "abaw7-ce.txt"
    result = run("score", path, "--format", "abaw7-ce", "--truth", GOLDEN / "abaw7.txt", code=3)
    assert "got the header 'image,valence,arousal,expression,aus'" in result.stderr
    result = run("score", path, "--format", "abaw3-va", "--truth", GOLDEN / "abaw7.txt", code=3)
    assert "is a file; expected a folder with a text file for each video" in result.stderr


def annotated(path: Path, videos: int, seed: int = 0) -> Path:
    """A file of ten rows a video that is annotations and an answer."""
    rng = np.random.default_rng(seed)
    rows = [
        f"v{v}/{k:05d}.jpg,{rng.uniform(-1, 1):.3f},{rng.uniform(-1, 1):.3f},{rng.integers(8)},"
        + ",".join(str(rng.integers(2)) for _ in range(12))
        for v in range(videos)
        for k in range(1, 11)
    ]
    path.write_text("\n".join(["image,valence,arousal,expression,aus", *rows]) + "\n")
    return path


def test_the_table_of_a_score_has_the_forecast_for_a_test_of_so_many_videos(run: Run, tmp_path: Path) -> None:
    truth, given = annotated(tmp_path / "truth.txt", 24), annotated(tmp_path / "given.txt", 24, seed=1)
    shown = " ".join(run("score", given, "--truth", truth).stdout.split())
    assert "240 rows of 24 videos (strict: 240 rows); 95 % forecast for a test of 24 others value from to" in shown
    found = [json.loads(run("score", given, "--truth", truth, "--json", *more).stdout) for more in ((), TEST)]
    assert [out["forecast"]["test_videos"] for out in found] == [24, 100]
    assert found[0]["score"] == found[1]["score"]
    ends = [(out["forecast"]["score"]["low"], out["forecast"]["score"]["high"]) for out in found]
    assert ends[0][1] - ends[0][0] > ends[1][1] - ends[1][0]
    assert f"P {found[0]['score']:.4f} {ends[0][0]:.4f} {ends[0][1]:.4f}" in shown


TEST = ("--test-videos", 100)


def test_where_there_is_no_forecast_it_is_said_why(run: Run, tmp_path: Path) -> None:
    truth, given = annotated(tmp_path / "truth.txt", 1), annotated(tmp_path / "given.txt", 1)
    done = run("score", given, "--truth", truth)
    assert "no forecast, as all scored rows are of one video" in done.stderr
    assert "forecast" not in done.stdout
    assert json.loads(run("score", given, "--truth", truth, "--json").stdout)["forecast"] is None
    compound = GOLDEN / "abaw7-ce.txt"
    other = shutil.copy(compound, tmp_path / "compound.txt")
    refused = run("score", compound, "--format", "abaw7-ce", "--truth", other, *TEST, code=2)
    assert "compound expressions have no forecast" in refused.stderr


def test_a_report_has_what_the_command_prints_and_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    truth, given = annotated(tmp_path / "truth.txt", 24), annotated(tmp_path / "given.txt", 24, seed=1)
    report = tmp_path / "score.html"
    found = json.loads(run("score", given, "--truth", truth, "--report", report, "--json").stdout)
    assert found["report"] == str(report)
    text = report.read_text()
    for name in ("ccc_va", "expression_f1", "au_f1", "score"):
        assert f"<dd>{found[name]:.4f}" in text
    assert all(f">{video['name']}<" in text for video in found["details"]["videos"])
    assert f"{found['details']['au']['units']['AU26']['support']}</td>" in text
    before = report.read_bytes()
    assert "exists already" in run("score", given, "--truth", truth, "--report", report, code=2).stderr
    run("score", given, "--truth", truth, "--report", report, "--force")
    assert report.read_bytes() == before
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    run("score", given, "--truth", truth, "--report", tmp_path / "mine.html", "--force", code=2)
    run("score", given, "--truth", truth, "--report", given, "--force", code=2)
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"


def test_probabilities_beside_a_file_are_shown_where_it_was_decided_from_them(run: Run, tmp_path: Path) -> None:
    truth, given = annotated(tmp_path / "truth.txt", 24), annotated(tmp_path / "given.txt", 24, seed=1)
    decided = get_format("abaw7").read(given)
    expression = np.full((len(decided), 8), 0.05, np.float32)
    expression[np.arange(len(decided)), decided.expression] = 0.65
    columns = np.asarray(decided.va, np.float32), expression, np.where(decided.au == 1, 0.75, 0.25).astype(np.float32)
    report, heading = tmp_path / "score.html", ">Reliability of probabilities</h2>"
    options = ["--truth", truth, "--report", report, "--force"]
    write_probabilities(given.with_suffix(".npz"), Predictions(decided.images, *columns))
    run("score", given, *options)
    assert heading in report.read_text()
    assert "<td>0.650</td>" in report.read_text()
    write_probabilities(given.with_suffix(".npz"), Predictions(decided.images, columns[0], expression, 1 - columns[2]))
    assert "given.npz is not what" in run("score", given, *options).stderr
    assert heading not in report.read_text()
    given.with_suffix(".npz").write_bytes(b"PK")
    assert "no reliability in the report" in run("score", given, *options).stderr


@pytest.mark.parametrize("name", ["abaw5-va", "abaw5-expr", "abaw5-au"])
def test_a_report_of_one_task_has_its_sections_alone(run: Run, tmp_path: Path, name: str) -> None:
    truth = shutil.copy(GOLDEN / "abaw7.txt", tmp_path / "truth.txt")
    run("score", GOLDEN / f"{name}.txt", "--format", name, "--truth", truth, "--report", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    headings = {"abaw5-va": "Valence and arousal", "abaw5-expr": "Expressions", "abaw5-au": "Action units"}
    for each, heading in headings.items():
        assert (f">{heading}</h2>" in text) == (each == name)
