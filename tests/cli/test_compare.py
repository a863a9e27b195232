"""`abawkit compare` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from abawkit.cli.app import app

HEADER = "image,valence,arousal,expression,aus"
COUNT = 24


def run(*arguments: object, code: int = 0) -> Result:
    """Runs a command in this process, and checks its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    assert result.exit_code == code, f"{arguments}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def text(header: str = HEADER, **rows: str) -> str:
    """A file of 24 rows of four videos, of which these, by number as ``row3``, end otherwise."""
    usual = [
        f"{k / 24:.3f},{-k / 24:.3f},{k % 8},{','.join(str((k + unit) % 2) for unit in range(12))}"
        for k in range(COUNT)
    ]
    ends = [rows.get(f"row{k}", end) for k, end in enumerate(usual)]
    return "\n".join([header, *(f"v{k % 4}/{k:05}.jpg,{end}" for k, end in enumerate(ends)), ""])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two submissions of which the second has other answers in two rows of one video."""
    paths = tmp_path / "a.txt", tmp_path / "b.txt"
    paths[0].write_text(text())
    paths[1].write_text(text(row2=f"0.583,-0.083,7,{'1,' * 11}1", row6=f"0.250,-0.250,7,{'0,1,' * 5}0,1"))
    return paths


def test_what_changed_is_counted_by_row_video_class_and_unit(files: tuple[Path, Path]) -> None:
    shown = [" ".join(line.split()) for line in run("compare", *files).stdout.splitlines()]
    for line in (
        "rows 2 24 8.3 %",
        "videos 1 4 25.0 %",
        "rows: VA 1 24 4.2 %",
        "rows: expressions 2 24 8.3 %",
        "rows: AUs 1 24 4.2 %",
        "valence 0.020833 0.500000 0.9383",
        "arousal 0.000000 0.000000 1.0000",
        "Disgust Other 1",
        "Surprise Other 1",
        "AU1 1 0 4.2 %",
        "AU2 0 0 0.0 %",
        "v2 2 6",
    ):
        assert line in shown, "\n".join(shown)


def test_json_has_the_same_counts(files: tuple[Path, Path]) -> None:
    out = json.loads(run("compare", *files, "--json").stdout)
    assert out["scores"] is None
    assert out["submissions"] == [{"name": path.name, "path": str(path)} for path in files]
    (out,) = out["changes"]
    assert (out["first"], out["second"]) == ("a.txt", "b.txt")
    assert (out["rows"], out["rows_changed"], out["videos"]) == (24, 2, 4)
    assert out["videos_changed"] == [{"video": "v2", "rows_changed": 2, "rows": 6}]
    assert out["rows_by_answer"] == {"va": 1, "expression": 2, "au": 1}
    assert out["units"]["AU1"] == {"on": 1, "off": 0}


def test_identical_submissions_are_said_to_be(files: tuple[Path, Path]) -> None:
    assert run("compare", files[0], files[0]).stdout == "identical: all 24 rows say the same\n"


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.txt"
    path.write_text(text("image"))
    return path


def write_worse(path: Path) -> Path:
    """A submission that is wrong in every row."""
    path.write_text(text(**{f"row{k}": f"{-k / 24:.3f},0,{(k + 1) % 8},{'0,' * 11}0" for k in range(COUNT)}))
    return path


def test_with_truth_both_are_scored_and_noise_is_called_noise(files: tuple[Path, Path], truth: Path) -> None:
    shown = " ".join(run("compare", *files, "--truth", truth).stdout.split())
    assert "Scores, official protocol, 24 rows of 4 videos" in shown
    assert "a.txt is the best, but within noise of b.txt" in shown
    assert "Strict protocol, 24 rows of 4 videos" in shown
    assert "note: only 4 videos are scored: below 20, a 95 % interval of a difference is too narrow" in shown
    assert "simultaneous" not in shown
    out = json.loads(run("compare", *files, "--truth", truth, "--json").stdout)["scores"]
    assert list(out) == ["official", "strict"]
    found = out["official"]
    first, second = found["submissions"]
    assert first["forecast"]["score"]["value"] == pytest.approx(3.0)
    assert (found["best"], found["within_noise_of_the_best"]) == ("a.txt", ["b.txt"])
    (gap,) = found["differences"]
    assert (gap["first"], gap["second"]) == ("a.txt", "b.txt")
    assert gap["score"]["value"] == pytest.approx(second["score"] - 3)
    assert gap["score"]["low"] < 0 <= gap["score"]["high"]
    assert gap["score"]["within_noise"]
    assert (found["videos"], found["draws"], found["simultaneous_intervals"]) == (4, 2000, 1)


def test_the_protocol_that_is_asked_for_comes_first(files: tuple[Path, Path], truth: Path) -> None:
    arguments = ("compare", *files, "--truth", truth, "--protocol", "strict")
    assert "Scores, strict protocol" in run(*arguments).stdout
    assert list(json.loads(run(*arguments, "--json").stdout)["scores"]) == ["strict", "official"]


def test_a_real_difference_is_said_to_be_one(files: tuple[Path, Path], truth: Path) -> None:
    write_worse(files[1])
    assert "a.txt is the best, beyond noise" in run("compare", *files, "--truth", truth).stdout


def test_three_are_ranked_and_their_intervals_are_simultaneous(files: tuple[Path, Path], truth: Path) -> None:
    worse = write_worse(truth.with_name("worse.txt"))
    shown = [" ".join(line.split()) for line in run("compare", worse, *files, "--truth", truth).stdout.splitlines()]
    assert "How the answers differ" in shown
    assert any(line.startswith("a.txt b.txt 0.0104 8.3 %") for line in shown)
    assert "Less a.txt, the best; 95 % intervals, simultaneous for all 3 pairs" in shown
    assert any(line.startswith("worse.txt P worse -") for line in shown)
    assert any(line.startswith("b.txt P noise -") for line in shown)
    found = json.loads(run("compare", worse, *files, "--truth", truth, "--json").stdout)
    assert [(pair["first"], pair["second"]) for pair in found["changes"]] == [
        ("worse.txt", "a.txt"),
        ("worse.txt", "b.txt"),
        ("a.txt", "b.txt"),
    ]
    assert found["scores"]["official"]["simultaneous_intervals"] == 3


def test_one_submission_is_no_comparison(files: tuple[Path, Path]) -> None:
    assert "got 1 submission, expected 2 to 20" in run("compare", files[0], code=2).stderr


def test_files_of_one_name_are_told_apart_by_their_folders(files: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "other" / "a.txt"
    moved.parent.mkdir()
    files[1].rename(moved)
    out = json.loads(run("compare", files[0], moved, "--json").stdout)
    assert [one["name"] for one in out["submissions"]] == [f"{tmp_path.name}/a.txt", "other/a.txt"]


def test_a_report_is_written_once(files: tuple[Path, Path], truth: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ("compare", *files, "--truth", truth, "--report", page)
    assert f"report: {page}; open it in a browser" in run(*arguments).stdout
    before = page.read_bytes()
    assert "a.txt is the best, but within noise of b.txt" in before.decode()
    run(*arguments, code=2)
    assert json.loads(run(*arguments, "--force", "--json").stdout)["report"] == str(page)
    assert page.read_bytes() == before
    assert "--report does nothing without --truth" in run("compare", *files, "--report", page, code=2).stderr


def test_the_last_line_names_what_to_run_next(
    files: tuple[Path, Path], truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abawkit.cli.compare.print_next_step", lambda *words: steps.append([str(w) for w in words]))
    steps: list[list[str]] = []
    names = [str(path) for path in files]
    run("compare", *files)
    run("compare", *files, "--truth", truth)
    for path in files:
        path.with_suffix(".npz").touch()
    run("compare", *files, "--truth", truth)
    assert steps[0] == ["compare", *names, "--truth", "TRUTH"]
    assert steps[1][:2] == ["score", names[0]]  # the better of both
    assert steps[1][2:] == ["--truth", str(truth), "--report", str(files[0].with_suffix(".html"))]
    assert steps[2] == ["ensemble", *(name.replace(".txt", ".npz") for name in names), "--truth", str(truth)]
    for path in files:
        folder = tmp_path / "submissions" / path.stem
        (folder / "outputs").mkdir(parents=True)
        (folder / "recipe.toml").touch()
        (folder / "outputs/predictions.txt").write_bytes(path.read_bytes())
    run("compare", *(tmp_path / "submissions").iterdir())
    assert steps[3] == ["submissions", "--folder", str(tmp_path / "submissions")]


def test_submissions_for_two_lists_are_refused(files: tuple[Path, Path]) -> None:
    files[1].write_text(files[1].read_text().replace("v3/00003.jpg", "v3/00004.jpg"))
    shown = run("compare", *files, code=3).stderr
    assert "row 4 is 'v3/00003.jpg' in the first and 'v3/00004.jpg' in the second" in shown


def test_a_folder_with_a_recipe_stands_for_what_it_wrote(files: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "outputs").mkdir(parents=True)
    (folder / "recipe.toml").touch()
    assert f"`abawkit submit {folder}` writes it" in run("compare", files[0], folder, code=3).stderr
    files[1].rename(folder / "outputs/predictions.txt")
    out = json.loads(run("compare", files[0], folder, "--json").stdout)
    assert out["submissions"][1] == {"name": "mine", "path": str(folder / "outputs/predictions.txt")}
    assert out["changes"][0]["rows_changed"] == 2


def test_compound_expressions_are_compared_but_not_with_truth(tmp_path: Path) -> None:
    for name, index in (("a", 0), ("b", 6)):
        header = "image_location,Fearfully_Surprised,Happily_Surprised,Sadly_Surprised,Disgustedly_Surprised"
        header += ",Angrily_Surprised,Sadly_Fearful,Sadly_Angry"
        (tmp_path / name).write_text(f"{header}\nv/1.jpg,{index}\nw/1.jpg,3\n")
    given = [tmp_path / "a", tmp_path / "b", "--format", "abaw7-ce"]
    assert "Fearfully_Surprised" in run("compare", *given).stdout
    assert "no interval for compound" in run("compare", *given, "--truth", tmp_path / "a", code=2).stderr
