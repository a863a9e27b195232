"""A submission by commands: made once, not made twice, listed, sent, scored."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.pipeline.commands import ExecutionOptions
from abawkit.scoring.matching import score_file
from abawkit.submissions.submit import submit
from abawkit.submissions.workspace import SubmissionInputs
from abawkit.system.provenance import digest_code
from tests.cli.conftest import Run, answer
from tests.commands import command_line

pytestmark = pytest.mark.e2e

RECIPE = """
summary = "two seeds of a small network, an epoch each"
seeds = [1, 2]

[[networks]]
name = "all"
recipe = "demo"
set = ["all.epochs=1"]

[decisions]
weights = "fitted"
smoothing = "tuned"
calibration = ["expression", "au"]
folds = 2
"""


def forked(commands: list[list[str]], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs steps as `abawkit.pipeline.commands.run_together` does, without an import of torch for each."""
    return [json.loads(command_line(*arguments, "--json").stdout) for arguments in commands]


@pytest.fixture(scope="module")
def made(curated: Path, test_list: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submit") / "submissions/small"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    inputs = SubmissionInputs(curated, Path(test_list[1]), Path(test_list[3]))
    submit(folder, inputs, ExecutionOptions(jobs=2, threads=1, run=forked))
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same in a place of its own."""
    shutil.copytree(made.parent, tmp_path / "submissions")
    return tmp_path / "submissions/small"


@pytest.fixture
def asked(curated: Path, test_list: list[str]) -> list[object]:
    return ["--data", curated, *test_list, "--threads", 1]


def test_the_file_is_one_that_can_be_handed_in(run: Run, made: Path, test_list: list[str], truth: Path) -> None:
    official = made / "outputs/predictions.txt"
    assert run("check", official, *test_list[:2]).stdout.startswith("ok: ")
    assert answer(run("score", official, "--truth", truth, "--json"))["score"] > 0


@pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")
def test_the_manifest_has_the_figures_that_score_finds(made: Path, curated: Path) -> None:
    validation = json.loads((made / "manifest.json").read_text())["validation"]
    found = score_file(made / "outputs/crossfitted.txt", curated)
    assert validation["crossfitted"]["score"] == pytest.approx(found.score, abs=1e-9)
    for member in validation["members"]:
        alone = score_file(made / f"outputs/validation/{member['name']}.txt", curated)
        assert member["validation"]["score"] == pytest.approx(alone.score, abs=1e-6)


def test_the_commands_that_it_prints_give_the_same_file(
    run: Run, copy: Path, asked: list[object], tmp_path: Path
) -> None:
    rule, official = copy / "outputs/rule.json", copy / "outputs/predictions.txt"
    for path in (rule, official):  # so that both are made again
        path.unlink()
    shown = run("submit", copy, *asked).stdout
    printed = [shlex.split(line)[2:] for line in shown.splitlines() if line.startswith("$ abawkit ")]
    assert [arguments[0] for arguments in printed] == ["tune", "ensemble", "check"]
    whole = {path: path.read_bytes() for path in (official, official.with_suffix(".npz"))}
    for path in (rule, *whole):
        path.unlink()
    for arguments in printed[:2]:
        run(*arguments, "--force")
    assert {path: path.read_bytes() for path in whole} == whole


def test_a_second_submit_does_nothing_and_needs_no_torch(copy: Path, asked: list[object]) -> None:
    code = "import sys; sys.modules['torch'] = None; from abawkit.cli import main; main()"
    arguments = ["submit", str(copy), *map(str, asked), "--json"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert answer(result)["done"] == []
    assert "train all-seed1: nothing to do" in result.stderr


def test_other_decisions_redo_the_decisions_alone(run: Run, copy: Path, asked: list[object]) -> None:
    (copy / "recipe.toml").write_text(RECIPE.replace('smoothing = "tuned"', 'smoothing = "none"'))
    shown = run("submit", copy, *asked).stdout
    assert "fit decisions: decisions changed" in shown
    assert "$ abawkit train" not in shown
    assert "$ abawkit predict" not in shown
    assert "cross-fitted over 2 folds of videos" in shown
    assert "the best single member" in shown


def test_a_dry_run_says_what_is_due(run: Run, copy: Path, asked: list[object]) -> None:
    (copy / "outputs/validation/all-seed2.npz").unlink()
    steps = answer(run("submit", copy, *asked, "--dry-run", "--json"))["steps"]
    assert [step["name"] for step in steps if step["due"]] == ["predict validation all-seed2"]
    assert "all-seed2.npz is gone" in run("submit", copy, *asked, "--dry-run").stdout


def test_a_recipe_that_is_none_is_a_usage_error(run: Run, copy: Path, asked: list[object]) -> None:
    (copy / "recipe.toml").write_text(RECIPE.replace("seeds", "seedz"))
    assert "seedz: unknown key" in run("submit", copy, *asked, code=2).stderr
    out = answer(run("submit", copy, *asked, "--json", code=2))
    assert out["exit_code"] == 2
    (copy.parent / "other").mkdir()
    (copy.parent / "other/recipe.toml").write_text(RECIPE.replace("seeds", "seedz").replace("folds", "foldz"))
    listed = run("submissions", "--folder", copy.parent).stdout
    assert "\\n" not in listed
    assert "foldz: unknown key" in " ".join(listed.split())
    (copy / "recipe.toml").write_text('format = "abaw77"\n' + RECIPE)
    assert "recipe.toml: format: abaw77: unknown format" in run("submit", copy, *asked, code=2).stderr


def test_the_manifest_says_which_code_trained_each_network(copy: Path) -> None:
    networks = json.loads((copy / "manifest.json").read_text())["networks"]
    assert [network["code"] for network in networks] == [digest_code()] * 2


def test_slots_from_the_list_to_the_score(run: Run, copy: Path) -> None:
    here = ["--folder", copy.parent]
    before = answer(run("submissions", *here, "--json"))
    assert [(entry["name"], entry["state"], entry["slots"]) for entry in before["submissions"]] == [
        ("small", "as written", [])
    ]
    assert "10,001 characters" in run("submissions", "sent", "small", "--note", "n" * 10_001, *here, code=2).stderr
    sent = answer(run("submissions", "sent", "small", "--note", "one", *here, "--json"))
    assert (sent["slot"], sent["note"]) == (1, "one")
    assert "this very file was sent" in run("submissions", "sent", "small", *here, code=2).stderr
    run("submissions", "returned", "small", "1.0412", *here)
    after = answer(run("submissions", *here, "--json"))
    assert [(slot["slot"], slot["name"], slot["score"]) for slot in after["slots"]] == [(1, "small", 1.0412)]
    shown = run("submissions", *here).stdout
    digest = before["submissions"][0]["manifest"]["submission"]["sha256"]
    assert digest[:12] in shown
    assert "1.0412" in shown


def test_the_example_of_compare_works_on_folders(run: Run, copy: Path, asked: list[object]) -> None:
    other = copy.with_name("other")
    shutil.copytree(copy, other)
    (other / "recipe.toml").write_text(RECIPE.replace('calibration = ["expression", "au"]', "calibration = []"))
    run("submit", other, *asked)
    assert run("compare", copy, other).returncode == 0
    crossfitted = [folder / "outputs/crossfitted.txt" for folder in (copy, other)]
    assert run("compare", *crossfitted, "--truth", asked[1]).returncode == 0


def test_reports_of_one_and_of_all(run: Run, copy: Path, asked: list[object], tmp_path: Path) -> None:
    one, every = tmp_path / "one.html", tmp_path / "all.html"
    for _ in range(2):  # the second replaces the first
        assert f"report: {one}; open it" in run("submit", copy, *asked, "--report", one).stdout
    shown = answer(run("submissions", "--folder", copy.parent, "--truth", asked[1], "--report", every, "--json"))
    assert shown["report"] == str(every)
    assert "<h1>Submission small</h1>" in one.read_text()
    assert "<h1>Submissions</h1>" in every.read_text()
    again = ["submissions", "--folder", copy.parent, "--report", every]
    assert "all.html" in run(*again, code=2).stderr
    assert run(*again, "--force").returncode == 0


def test_options_of_reports_are_refused_where_they_would_do_nothing(
    run: Run, copy: Path, asked: list[object], tmp_path: Path
) -> None:
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    assert "mine.html" in run("submit", copy, *asked, "--report", tmp_path / "mine.html", code=2).stderr
    assert "does nothing" in run("submit", copy, *asked, "--dry-run", "--report", tmp_path / "a.html", code=2).stderr
    assert "--truth does nothing" in run("submissions", "--folder", copy.parent, "--truth", asked[1], code=2).stderr
    before = ["submissions", "--report", tmp_path / "a.html", "sent", "small", "--folder", copy.parent]
    assert "--report: is for the list" in run(*before, code=2).stderr


def test_names_cannot_reach_the_terminal(run: Run, copy: Path) -> None:
    shutil.copytree(copy, copy.with_name("\x1b[31mred"))
    assert "\x1b" not in run("submissions", "--folder", copy.parent).stdout
