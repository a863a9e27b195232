"""`abawkit check --repair` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from abawkit.cli.app import app

HEADER = "image,valence,arousal,expression,aus"
NAMES = [f"v/{number:05}.jpg" for number in (1, 8, 17, 21)]
GOOD = "\n".join([HEADER, *(f"{name},0.5,-0.25,{k},{'0,1,' * 5}0,0" for k, name in enumerate(NAMES)), ""])


def run(*arguments: object, code: int = 0) -> Result:
    """Runs a command in this process, and checks its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    assert result.exit_code == code, f"{arguments}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


@pytest.fixture
def listed(tmp_path: Path) -> list[str]:
    path = tmp_path / "list.txt"
    path.write_text("image\n" + "".join(f"{name},\n" for name in NAMES))
    return ["--list", str(path)]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file with a defect of every kind that has one right answer."""
    _, first, *rows = GOOD.split("\n")[:-1]
    lines = ["image,valence,arousal", *rows, first]
    path = tmp_path / "damaged.txt"
    path.write_bytes("\r\n".join(line.replace(",2,0", ",2.0,0") + "," for line in lines).encode("utf-8-sig"))
    return path


def test_a_damaged_file_is_repaired_beside_it_and_everything_that_was_done_is_named(
    damaged: Path, listed: list[str], tmp_path: Path
) -> None:
    before, out = damaged.read_bytes(), tmp_path / "out.txt"
    shown = run("check", damaged, *listed, "--repair", out).stdout.splitlines()
    assert shown == [
        "byte-order mark removed",
        "line end CRLF became LF: lines 1-4",
        "newline added at the end: line 5",
        f"header 'image,valence,arousal,' became '{HEADER}': line 1",
        "trailing comma removed: lines 2-5",
        "'2.0' became '2' in expression: line 3",
        "'v/00001.jpg' moved to row 1, its place in the list: line 5",
        f"ok: 4 rows, as listed, written to {out}",
    ]
    assert out.read_text() == GOOD
    assert damaged.read_bytes() == before
    assert run("check", out, *listed).stdout == "ok: 4 rows, as listed\n"


def test_json_names_every_line_that_was_changed(damaged: Path, listed: list[str], tmp_path: Path) -> None:
    out = json.loads(run("check", damaged, *listed, "--repair", tmp_path / "out.txt", "--json").stdout)
    assert out["ok"]
    assert (out["rows"], out["problems"], out["written"]) == (4, [], str(tmp_path / "out.txt"))
    assert {"what": "'2.0' became '2'", "column": "expression", "lines": [3]} in out["repairs"]
    assert {"what": "trailing comma removed", "column": "", "lines": [2, 3, 4, 5]} in out["repairs"]


def test_what_has_no_one_right_answer_is_named_and_nothing_is_written(
    damaged: Path, listed: list[str], tmp_path: Path
) -> None:
    damaged.write_bytes(damaged.read_bytes().replace(b"-0.25,1", b"nan,1"))
    shown = run("check", damaged, *listed, "--repair", tmp_path / "out.txt", code=3)
    assert shown.stdout == f"{damaged}:2: column 'arousal': got 'nan', expected a number in -1..1\n"
    assert "nothing was written: 1 problem" in shown.stderr
    assert "without a unique repair" in shown.stderr
    out = json.loads(run("check", damaged, *listed, "--repair", tmp_path / "out.txt", "--json", code=3).stdout)
    assert (out["ok"], out["written"], len(out["problems"])) == (False, None, 1)
    assert not (tmp_path / "out.txt").exists()


def test_a_good_file_is_left_and_no_other_is_written(listed: list[str], tmp_path: Path) -> None:
    good = tmp_path / "good.txt"
    good.write_text(GOOD)
    shown = run("check", good, *listed, "--repair", tmp_path / "out.txt").stdout
    assert shown == "ok: 4 rows, as listed; nothing to repair, so nothing was written\n"
    assert not (tmp_path / "out.txt").exists()


def test_nothing_that_is_there_is_replaced_unasked_and_no_input_ever(
    damaged: Path, listed: list[str], tmp_path: Path
) -> None:
    before, out = damaged.read_bytes(), tmp_path / "out.txt"
    out.write_text("mine")
    assert "exists already" in run("check", damaged, *listed, "--repair", out, code=2).stderr
    assert out.read_text() == "mine"
    for taken in (damaged, tmp_path / "list.txt"):
        shown = run("check", damaged, *listed, "--repair", taken, "--force", code=2).stderr
        assert "would replace what is read" in shown
    assert "without .gz" in run("check", damaged, *listed, "--repair", tmp_path / "out.gz", code=2).stderr
    assert "--repair OUT" in run("check", damaged, *listed, "--force", code=2).stderr
    assert damaged.read_bytes() == before
    assert "does not replace it" in run("check", damaged, *listed, "--repair", out, "--force", code=2).stderr
    assert out.read_text() == "mine"
    out.write_text(GOOD.replace(",0\n", ",1\n"))
    run("check", damaged, *listed, "--repair", out, "--force")
    assert out.read_text() == GOOD


def test_a_folder_is_repaired_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/v.txt").write_bytes(b"Neutral\r\n1.0\r\n07")
    (tmp_path / "list.txt").write_text("image\nv/00001.jpg\nv/00002.jpg\n")
    options = ["--list", tmp_path / "list.txt", "--format", "abaw3-expr", "--repair", tmp_path / "out"]
    shown = run("check", tmp_path / "given", *options).stdout
    assert "v.txt: '1.0' became '1' in expression: line 2\n" in shown
    written = (tmp_path / "out/v.txt").read_text()
    assert written == "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n1\n7\n"
