"""The recipe of a submission: what it may say, and that everything else is named."""

from pathlib import Path

import pytest

from abawkit.errors import ConfigError
from abawkit.submissions.plan import plan_submission
from abawkit.submissions.recipe import SubmissionRecipe, read_submission_recipe

NETWORK = '[[networks]]\nname = "all"\nrecipe = "demo"\n'
WHOLE = f'summary = "s"\nseeds = [1]\n{NETWORK}'


def read(folder: Path, text: str) -> SubmissionRecipe:
    (folder / "recipe.toml").write_text(text)
    return read_submission_recipe(folder)[0]


def test_what_is_left_out_has_the_documented_default(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert (recipe.format, recipe.policy, recipe.weights, recipe.epoch) == ("abaw7", "per-task", "none", "last")
    decisions = recipe.decisions
    assert (decisions.weights, decisions.smoothing, decisions.calibration) == ("mean", "none", [])
    assert (decisions.folds, decisions.protocol) == (10, "official")
    assert not decisions.searched


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE.replace("seeds", "seedz"), "seedz: unknown key; known here: summary, format"),
        (WHOLE.replace("seeds", "seedz"), "seeds: is absent"),
        (WHOLE + "smoothing = 1\n", "networks[0].smoothing: unknown key; known here: name, recipe, set, tasks"),
        (WHOLE + "[decisions]\nfoldz = 5\n", "decisions.foldz: unknown key; known here: weights, smoothing"),
        (WHOLE + '[decisions]\nweights = "best"\n', "decisions.weights: Input should be 'mean' or 'fitted'"),
        (WHOLE + "[decisions]\nfolds = 1\n", "decisions.folds"),
        (WHOLE + "[decisions]\nfolds = 5.0\n", "decisions.folds"),
        (WHOLE.replace("[1]", "[1, 1]"), "seeds: '1' is given twice"),
        (WHOLE.replace("[1]", "[]"), "seeds"),
        (WHOLE.replace("[1]", "[-1]"), "seeds[0]"),
        (WHOLE.replace("[1]", "[true]"), "seeds[0]"),
        (WHOLE + NETWORK, "networks: 'all' is given twice"),
        (WHOLE.replace('"all"', '"../all"'), "networks[0].name"),
        (WHOLE + 'set = ["seed=3"]\n', "give the seeds of the submission instead"),
        (WHOLE + 'set = ["tasks=[1]"]\n', "give the tasks of the network instead"),
        (WHOLE + 'set = ["losses.au=1", "losses.au=2"]\n', "set: 'losses.au' is given twice"),
        (WHOLE + 'tasks = ["va", "va"]\n', "tasks: 'va' is given twice"),
        (WHOLE + "tasks = []\n", "networks[0].tasks"),
        (WHOLE.replace('"s"', '"a\\nb"'), "summary: expected one line"),
        (WHOLE.replace('"s"', "1979-05-27"), "summary"),
        (WHOLE + "[decisions]\nfolds = nan\n", "decisions.folds"),
        ("networks = 3", "networks"),
        ("= = =", "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
)
def test_what_it_may_not_say_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert "recipe.toml" in str(error.value)


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read this recipe"):
        read_submission_recipe(tmp_path)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b'summary = "\xff"')
    with pytest.raises(ConfigError, match="can't read this recipe"):
        read_submission_recipe(tmp_path)


@pytest.mark.parametrize(("whole", "network"), [("none", "published"), ("published", "none")])
def test_a_network_that_starts_from_something_else_than_the_submission_is_refused(
    tmp_path: Path, whole: str, network: str
) -> None:
    text = f'weights = "{whole}"\n{WHOLE}set = ["weights={network}"]\n'
    with pytest.raises(ConfigError, match=f'network all: its recipe has weights = "{network}"'):
        plan_submission(tmp_path, read(tmp_path, text))
    assert plan_submission(tmp_path, read(tmp_path, text.replace(f"={network}", f"={whole}"))).runs


def test_a_byte_order_mark_makes_no_difference_in_it_and_in_the_recipe_of_its_network(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_bytes(b'\xef\xbb\xbfnetwork = "ddamfn-nano"\r\n')
    plan = plan_submission(tmp_path, read(tmp_path, "\ufeff" + WHOLE.replace('"demo"', '"network.toml"')))
    assert plan.runs[0].recipe.network == "ddamfn-nano"


def test_each_network_is_a_member_with_each_seed(tmp_path: Path) -> None:
    plan = plan_submission(tmp_path, read(tmp_path, WHOLE.replace("[1]", "[4, 2]")))
    assert [member.name for member in plan.members] == ["all-seed4", "all-seed2"]
    assert [run.recipe.seed for run in plan.runs] == [4, 2]


def test_networks_for_some_tasks_are_one_member_a_seed_beside_those_for_all(tmp_path: Path) -> None:
    text = WHOLE.replace("[1]", "[1, 2]")
    text += '[[networks]]\nname = "a"\nrecipe = "demo"\ntasks = ["va"]\n'
    text += '[[networks]]\nname = "b"\nrecipe = "demo"\ntasks = ["au", "expression"]\n'
    plan = plan_submission(tmp_path, read(tmp_path, text))
    assert [member.name for member in plan.members] == ["all-seed1", "all-seed2", "a+b-seed1", "a+b-seed2"]
    assert [run.name for run in plan.members[2].runs] == ["a-seed1", "b-seed1"]


def test_a_task_without_an_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none is for au"):
        plan_submission(tmp_path, read(tmp_path, WHOLE + 'tasks = ["va", "expression"]\n'))


def test_a_training_recipe_can_lie_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('network = "ddamfn-nano"\nbatch_size = 32\n')
    plan = plan_submission(tmp_path, read(tmp_path, WHOLE.replace('"demo"', '"mine.toml"')))
    assert plan.runs[0].recipe.batch_size == 32
    assert plan.runs[0].source == str(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", ["../mine.toml", "/etc/passwd", "absent.toml", "."])
def test_a_training_recipe_from_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.toml").write_text("")
    inner = tmp_path / "folder"
    inner.mkdir()
    with pytest.raises(ConfigError, match="network all: no recipe"):
        plan_submission(inner, read(inner, WHOLE.replace('"demo"', f'"{name}"')))


def test_a_key_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        plan_submission(tmp_path, read(tmp_path, WHOLE + 'set = ["losses.ua=1"]\n'))
