"""`abawkit submissions new` and `abawkit recipes`: what comes with abawkit can be had anywhere."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from abawkit.cli.app import app
from abawkit.errors import ConfigError
from abawkit.submissions.create import create_submission, list_shipped
from abawkit.submissions.plan import plan_submission
from abawkit.submissions.recipe import read_submission_recipe
from abawkit.submissions.slots import list_submissions
from abawkit.system.shipped import find_shipped
from abawkit.training.recipe import list_recipes, read_recipe

ROOT = Path(__file__).parents[2]
NAMES = ["baseline", "demo", "paper-classifier", "paper-finetuned", "paper-single-tasks", "strong", "temporal"]


def shown(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "80"})


# --- new


def test_these_come_with_abawkit_and_the_help_names_them() -> None:
    assert list(list_shipped()) == NAMES
    text = " ".join(re.sub(r"[│\s]+", " ", shown("submissions", "new", "--help").stdout).split())
    assert ", ".join(NAMES) in text


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_created_and_planned_anywhere(tmp_path: Path, name: str) -> None:
    folder = create_submission(tmp_path / "far/away/mine", name)
    recipe, digest = read_submission_recipe(folder)
    assert digest == read_submission_recipe(list_shipped()[name])[1]
    assert plan_submission(folder, recipe).members
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# mine\n\nCreated from `{name}`, whose notes follow.\n")
    assert f"abawkit submit {folder} " in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []
    (entry,) = list_submissions(folder.parent)[0]
    assert (entry.name, entry.manifest, entry.problem) == ("mine", None, "")


def test_of_links_in_the_notes_those_to_the_web_and_within_the_page_are_kept(tmp_path: Path) -> None:
    mine = create_submission(tmp_path / "first", "baseline")
    kept = "[a paper](https://arxiv.org/abs/2407.12390), [us](mailto:a@example.org), [below](#below)"
    others = "[a\npage](../../docs/page.md#part), [`b`](notes.md), ![c](c.png)"
    (mine / "README.md").write_text(f"# first\n\n{kept}, {others}.\n")
    copy = create_submission(tmp_path / "second", str(mine))
    assert (copy / "README.md").read_text().endswith(f"\n\n{kept}, a\npage, `b`, c.\n")


def test_what_a_run_left_is_not_copied_and_git_ignores_it(tmp_path: Path) -> None:
    mine = create_submission(tmp_path / "first", "strong")
    (mine / "outputs").mkdir()
    (mine / "manifest.json").write_text("{}")
    copy = create_submission(tmp_path / "second", str(mine))
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "README.md", "network.toml", "recipe.toml"]
    subprocess.run(["git", "init", "-q", mine], check=True)
    status = subprocess.run(["git", "-C", mine, "status", "--short"], capture_output=True, text=True, check=True).stdout
    assert sorted(status.split()[1::2]) == [".gitignore", "README.md", "network.toml", "recipe.toml"]


def test_the_command_prints_how_to_go_on(tmp_path: Path) -> None:
    result = shown("submissions", "new", "first", "--from", "strong", "--folder", tmp_path / "mine")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1:] == [
        "abawkit curate RELEASE --out curated --policy per-task",
        f"abawkit submit {tmp_path}/mine/first --data curated --list LIST --frames FOLDER --weights FILE",
    ]
    found = json.loads(shown("submissions", "new", tmp_path / "other", "--from", "demo", "--json").stdout)
    assert (found["folder"], found["from"], found["policy"]) == (str(tmp_path / "other"), "demo", "per-task")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], "exists already; give another name, or edit "),
        (["first", "--from", "nope"], "--from nope: is neither a submission that comes with abawkit (baseline, demo, "),
        (["first", "--from", "empty"], "nor a folder with a recipe.toml"),
        ([".hidden"], "is no name for a submission"),
        (["a\x1bb"], "a\\x1bb: is no name for a submission"),
        (["file/first"], "can't be created"),
    ],
)
def test_what_can_not_be_created_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "submissions/taken").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    result = shown("submissions", "new", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert [path.name for path in (tmp_path / "submissions").iterdir()] == ["taken"]


def test_a_name_and_a_path_at_once_are_one_too_many(tmp_path: Path) -> None:
    result = shown("submissions", "new", "a/b", "--folder", tmp_path)
    assert result.exit_code == 2
    assert "with --folder or as a path, not both" in result.stderr


def test_a_recipe_that_is_none_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/recipe.toml").write_text("seedz = 1")
    with pytest.raises(ConfigError, match="seedz: unknown key"):
        create_submission(tmp_path / "first", str(tmp_path / "broken"))


def test_where_there_are_none_yet_the_command_that_creates_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = shown("submissions")
    assert result.exit_code == 2
    assert "`abawkit submissions new NAME` creates a submission" in result.stderr


# --- a fresh clone


def test_a_fresh_clone_lists_no_run_of_another_machine_and_tracks_none(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "submissions"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {Path(name).name for name in listed} == {"README.md", "recipe.toml", "network.toml", "heads.toml"}
    for name in listed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    entries, slots = list_submissions(tmp_path / "submissions")
    assert [(entry.name, entry.manifest) for entry in entries] == [(name, None) for name in NAMES]
    assert slots == []
    left = ["demo/outputs/rule.json", "demo/manifest.json", "ledger.jsonl", "lock"]
    ignored = subprocess.run(
        ["git", "-C", ROOT, "check-ignore", *(f"submissions/{name}" for name in left)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert ignored == [f"submissions/{name}" for name in left]


# --- recipes


def test_recipes_are_listed_with_what_they_say_of_themselves() -> None:
    lines = shown("recipes").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in list_recipes():
        (row,) = (line for line in lines if line.startswith(f"{name} "))
        assert row.split()[1] == read_recipe(name).network
        assert any(line.startswith(f"{name}: ") for line in lines)


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_is_printed_as_it_is_so_that_it_can_be_changed(tmp_path: Path, name: str) -> None:
    text = shown("recipes", name).stdout
    (tmp_path / "mine.toml").write_text(text)
    assert read_recipe(str(tmp_path / "mine.toml")) == read_recipe(name)
    (found,) = json.loads(shown("recipes", name, "--json").stdout)["recipes"]
    assert (found["name"], found["text"]) == (name, text)


def test_a_recipe_that_does_not_come_with_abawkit_is_refused_with_those_that_do() -> None:
    result = shown("recipes", "nope")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(f"these do: {', '.join(list_recipes())}")


def test_what_is_absent_from_an_installation_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nothing: does not exist, so abawkit is not installed completely"):
        find_shipped("nothing")
