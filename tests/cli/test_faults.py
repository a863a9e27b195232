"""Wrong use: the message, the exit code, and that nothing which was there is lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import answer
from tests.commands import Started, command_line

Run = Callable[..., subprocess.CompletedProcess[str]]

COMMANDS = (
    "demo",
    "synth",
    "curate",
    "train",
    "import-weights",
    "predict",
    "check",
    "score",
    "ensemble",
    "smooth",
    "calibrate",
    "tune",
    "submit",
    "compare",
    "submissions",
    "ablate",
    "inspect",
    "doctor",
    "ops",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    shown = " ".join(run(name, "--help").stdout.split())
    assert f"Example: abawkit {name}" in shown
    assert "--json" in shown


def test_help_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys; from abawkit.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = ('numpy', 'pandas', 'pyarrow', 'torch', 'pydantic', 'PIL', 'rich.progress')\n"
        "print([m for m in slow if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_all_but_networks_works_without_torch(release: Path, submission: Path, truth: Path, tmp_path: Path) -> None:
    """In one process, one command after the other, as Python and its libraries take longer to start than they do."""
    members = [Path(shutil.copy(submission.with_suffix(".npz"), tmp_path / "a.npz")), tmp_path / "smoothed.npz"]
    (tmp_path / "submissions").mkdir()
    answers = tmp_path / "answers.txt"
    rows = truth.read_text().splitlines()[1:]
    answers.write_text("\n".join(["image,valence,arousal,expression,aus", *rows]) + "\n")
    commands = [
        ["curate", release, "--out", tmp_path / "curated", "--workers", 1],
        ["check", answers, "--list", release / "test_set_examples/MTL.txt"],
        ["score", answers, "--truth", truth, "--json"],
        ["smooth", members[0], "--out", members[1]],
        ["ensemble", *members, "--truth", truth, "--out", tmp_path / "both.txt"],
        ["calibrate", members[0], "--truth", truth, "--out", tmp_path / "calibrated.json"],
        ["tune", *members, "--truth", truth, "--out", tmp_path / "tuned.json"],
        ["ensemble", *members, "--rule", tmp_path / "tuned.json", "--out", tmp_path / "ruled.txt"],
        ["check", tmp_path / "ruled.txt", "--list", tmp_path / "both.txt", "--repair", tmp_path / "repaired.txt"],
        ["compare", tmp_path / "both.txt", tmp_path / "ruled.txt", "--truth", truth],
        ["submissions", "--folder", tmp_path / "submissions"],
    ]
    code = (
        "import sys, json\n"
        "class WithoutTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, WithoutTorch())\n"
        "from abawkit.cli.app import app\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    try: app(command)\n"
        "    except SystemExit as end: print('ended:', command[0], end.code, file=sys.stderr)\n"
    )
    typed = json.dumps([[str(argument) for argument in command] for command in commands])
    result = subprocess.run([sys.executable, "-c", code, typed], capture_output=True, text=True, check=False)
    ended = [line for line in result.stderr.splitlines() if line.startswith("ended: ")]
    assert ended == [f"ended: {command[0]} 0" for command in commands], result.stderr
    assert '"ccc_va": 1.0,' in result.stdout


def test_a_recipe_with_an_unknown_key_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('netwrok = "ddamfn"\n')
    shown = run("train", recipe, "--data", tmp_path, "--out", tmp_path / "run", code=2).stderr
    assert "netwrok" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("nonsense", "No such command"),
        ("--nonsense", "No such option"),
        ("score --nonsense", "No such option"),
        ("score", "Missing argument"),
        ("features extract runs/a", "Missing option"),
        ("train demo --data a --out b --folds 1", "Invalid value for '--folds'"),
        ("train demo --data a --out b --refit", "--refit does nothing without --folds or --resume"),
    ],
)
def test_a_wrong_use_is_an_object_for_scripts_too(run: Run, words: str, error: str) -> None:
    said = answer(run(*words.split(), "--json", code=2))
    assert said["exit_code"] == 2
    assert error in said["error"]


def test_a_leaderboard_of_nothing_is_an_error_for_scripts_too(run: Run, tmp_path: Path) -> None:
    for options in ([], ["--json"]):
        assert "holds no run" in run("leaderboard", tmp_path, *options, code=3).stderr


def test_bad_annotations_are_named_with_line_and_column(run: Run, release: Path, tmp_path: Path) -> None:
    lines = (release / "training_set_annotations.txt").read_text().splitlines()
    fields = lines[7].split(",")
    fields[2] = "1.7"
    lines[7] = ",".join(fields)
    bad = tmp_path / "train.txt"
    bad.write_text("\n".join(lines) + "\n")
    arguments = ("curate", release, "--labels-only", "--train", bad, "--out", tmp_path / "c")
    assert f"{bad}:8: column 'arousal': got '1.7', expected a number in -1..1" in run(*arguments, code=3).stderr
    out = json.loads(run(*arguments, "--json", code=3).stdout)
    assert out["problems"] == [
        {"line": 8, "column": "arousal", "message": "got '1.7', expected a number in -1..1, or -5 (missing)"}
    ]


def test_output_that_exists_is_refused_and_stays(
    run: Run, submission: Path, runs: list[Path], test_list: list[str]
) -> None:
    before = submission.read_bytes()
    shown = run("predict", runs[0], *test_list, "--out", submission, code=2).stderr
    assert "--force" in shown
    assert submission.read_bytes() == before


def test_a_folder_that_holds_files_is_refused(run: Run, curated: Path, release: Path) -> None:
    assert "is not empty" in run("curate", release, "--out", curated, code=2).stderr
    assert "is not empty" in run("synth", release, "--size", "tiny", code=2).stderr


def test_check_names_every_defect_and_exits_with_3(
    run: Run, submission: Path, test_list: list[str], tmp_path: Path
) -> None:
    lines = submission.read_text().splitlines()
    lines[4] = lines[4] + ","
    del lines[9]
    broken = tmp_path / "broken.txt"
    broken.write_text("\n".join(lines) + "\n")
    out = json.loads(run("check", broken, *test_list[:2], "--json", code=3).stdout)
    assert not out["ok"]
    assert {"line": 5, "column": "", "message": "got 17 fields, expected 16 fields"} in out["problems"]
    assert any(p["line"] == 10 and "row missing" in p["message"] for p in out["problems"])


def test_score_refuses_a_shuffled_submission(run: Run, submission: Path, truth: Path, tmp_path: Path) -> None:
    header, first, *rest = submission.read_text().splitlines()
    shuffled = tmp_path / "shuffled.txt"
    shuffled.write_text("\n".join([header, *rest, first]) + "\n")
    shown = run("score", shuffled, "--truth", truth, code=3).stderr
    assert "out of order" in shown
    assert "nothing was scored" in shown


def test_a_pickle_that_runs_code_is_refused(run: Run, tmp_path: Path) -> None:
    evil = tmp_path / "evil.pth"
    marker = tmp_path / "ran"
    evil.write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    run("import-weights", evil, "--out", tmp_path / "w.safetensors", code=3)
    assert not marker.exists()
    assert not (tmp_path / "w.safetensors").exists()


def test_the_same_network_twice_is_refused(run: Run, runs: list[Path], test_list: list[str], tmp_path: Path) -> None:
    shown = run("predict", runs[0], runs[0], *test_list, "--out", tmp_path / "p.txt", code=3).stderr
    assert "it would count twice" in shown


def test_an_unknown_format_names_those_installed(run: Run, submission: Path, test_list: list[str]) -> None:
    shown = run("check", submission, "--format", "abaw99", *test_list[:2], code=2).stderr
    assert "abaw7" in shown


def test_escape_sequences_in_names_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("image\nv/\x1b[31m1.jpg\nv/../2.jpg\n")
    result = run("check", listed, "--list", listed, code=3)
    assert "\x1b" not in result.stdout + result.stderr


def test_a_narrow_terminal_shows_every_figure(submission: Path, truth: Path) -> None:
    shown = command_line("score", submission, "--truth", truth, variables={"COLUMNS": "40"}).stdout
    assert max(map(len, shown.splitlines())) <= 40
    found = json.loads(command_line("score", submission, "--truth", truth, "--json").stdout)
    numbers = [found["score"], found["forecast"]["score"]["high"], found["other"]["score"], found["au_f1"]]
    assert {f"{number:.4f}" for number in numbers} <= set(shown.split())
    balanced = [one["balanced_accuracy"] for one in found["details"]["au"]["units"].values()]
    assert {f"{value:.3f}" for value in balanced if value is not None} <= set(shown.split())


def test_doctor_says_what_it_found(run: Run, tmp_path: Path) -> None:
    result = Started("doctor", "--folder", tmp_path, "--json").wait()
    findings = {f["name"]: f for f in json.loads(result.stdout)["findings"]}
    assert findings["JPEG decoder"]["ok"]
    assert findings["torch"]["found"]
    assert result.returncode == (0 if all(f["ok"] for f in findings.values()) else 4)


def test_the_folder_of_submissions_is_given_to_what_uses_a_slot(run: Run, tmp_path: Path) -> None:
    shown = run("submissions", "--folder", tmp_path, "sent", "mine", code=2).stderr
    assert "give it behind `sent`" in shown
