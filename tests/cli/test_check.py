"""``abawkit check`` of lists that are of another track, of videos alone, or that hold dummy values."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

CASES = Path(__file__).parents[1] / "cases"
VA = "image_location,valence,arousal"
EXPRESSIONS = "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
NAMES = ["a/00001.jpg", "a/00008.jpg", "b_left/00002.jpg"]


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows, ""]))
    return path


def test_the_list_of_another_track_is_refused_with_the_formats_that_it_is_for(run: Run, tmp_path: Path) -> None:
    listed = write(tmp_path / "list.txt", EXPRESSIONS, [f"{name}," for name in NAMES])
    given = write(tmp_path / "va.txt", VA, [f"{name},0.1,0.2" for name in NAMES])
    result = run("check", given, "--format", "abaw5-va", "--list", listed, code=3)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {listed}:1: the header names Neutral, Anger")
    assert "expected valence, arousal; this is a list of abaw3-expr or abaw5-expr\n" in result.stderr


def test_a_list_of_other_frames_is_one_sentence(run: Run, tmp_path: Path) -> None:
    listed = write(tmp_path / "list.txt", VA, [f"x{name}," for name in NAMES])
    given = write(tmp_path / "va.txt", VA, [f"{name},0.1,0.2" for name in NAMES])
    command = ("check", given, "--format", "abaw5-va", "--list", listed)
    (line,) = run(*command, code=3).stdout.splitlines()
    assert line.startswith(f"{given}: column 'image': none of its 3 rows names one of the 3 listed frames: it begins")
    (problem,) = json.loads(run(*command, "--json", code=3).stdout)["problems"]
    assert (problem["line"], problem["column"]) == (0, "image")


@pytest.mark.parametrize("name", ["names.txt", "names_crlf.txt"])
def test_an_official_list_of_videos_is_read(run: Run, name: str) -> None:
    folder = CASES / "list-of-videos"
    result = run("check", folder / "sub", "--format", "abaw3-va", "--list", folder / name)
    assert result.stdout == "ok: 4 videos, as listed\n"
    assert "note: a list of videos does not say how many lines each file needs" in result.stderr


def test_frame_counts_say_how_many_lines_each_file_needs(run: Run, tmp_path: Path) -> None:
    folder = CASES / "list-of-videos"
    counts = write(tmp_path / "counts.csv", "video,frames", ["2-30-640x360,2", "6-30-1920x1080,2", "video9,3"])
    command = (
        "check",
        folder / "sub",
        "--format",
        "abaw3-va",
        "--list",
        folder / "names.txt",
        "--frame-counts",
        counts,
    )
    (line,) = run(*command, code=3).stdout.splitlines()
    assert line.endswith("video9.txt:4: got lines for 2 frames, its video has 3: a header and a line for each frame")
    counts.write_text(counts.read_text().replace("video9,3", "video9,2"))
    assert run(*command).stdout == "ok: 4 videos, as listed\n"


def test_frame_counts_are_refused_where_no_file_needs_them(run: Run, tmp_path: Path) -> None:
    given = write(tmp_path / "va.txt", VA, [f"{name},0.1,0.2" for name in NAMES])
    result = run("check", given, "--format", "abaw5-va", "--list", given, "--frame-counts", given, code=2)
    assert result.stderr == "error: --frame-counts: abaw5-va has no file for each video; leave it out\n"


def test_dummy_values_of_the_list_that_were_left_in_are_a_warning(run: Run) -> None:
    folder = CASES / "dummy-values"
    command = ("check", folder / "s.txt", "--format", "abaw5-va", "--list", folder / "list.txt")
    result = run(*command)
    assert result.stdout == "ok: 5 rows, as listed\n"
    assert result.stderr == (
        f"warning: {folder / 's.txt'}: 3 rows (lines 4-6) hold just the values of the list; were these frames "
        "answered?\n"
    )
    found = json.loads(run(*command, "--json").stdout)
    assert (found["ok"], found["dummies"]) == (
        True,
        [{"what": "hold just the values of the list", "lines": [4, 5, 6], "rows": 3}],
    )


def test_dummy_values_are_a_warning_of_the_repaired_file_too(run: Run, tmp_path: Path) -> None:
    folder = CASES / "dummy-values"
    given, out = tmp_path / "s.txt", tmp_path / "repaired.txt"
    given.write_text((folder / "s.txt").read_text().replace("\n", "\r\n"))
    options = ("--format", "abaw5-va", "--list", folder / "list.txt", "--repair", out)
    result = run("check", given, *options)
    assert result.stdout.endswith(f"ok: 5 rows, as listed, written to {out}\n")
    assert f"warning: {out}: 3 rows (lines 4-6) hold just the values of the list" in result.stderr
    found = json.loads(run("check", given, *options, "--force", "--json").stdout)
    assert [dummy["lines"] for dummy in found["dummies"]] == [[4, 5, 6]]
