"""What is trained and predicted, what is left as it is, and in which order."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from abawkit.ablation.plan import Training
from abawkit.ablation.steps import ExecutionOptions, Provenance, predict_all, read_provenance, train_all
from abawkit.ablation.workspace import Folder
from abawkit.curation import open_curated
from abawkit.errors import ConfigError, DataError
from abawkit.run_names import LAST, MANIFEST, RECIPE
from tests.ablation.conftest import Commands, option, recipe_of


def test_the_command_that_is_run_trains_the_recipe_of_the_plan(runs: list[Provenance]) -> None:
    for run in runs:
        assert recipe_of(run.arguments) == run.recipe.to_toml()


def test_all_start_from_the_same_weights(runs: list[Provenance], weights: Path) -> None:
    assert {option(run.arguments, "--weights") for run in runs} == {str(weights)}


def test_the_longest_runs_come_first_so_many_at_a_time(
    runs: list[Provenance], options: ExecutionOptions, commands: Commands
) -> None:
    train_all(runs, options)
    assert {len(together) for together in commands.together} == {2}
    cost = {str(run.out): run.cost for run in runs}
    costs = [cost[option(command, "--out")] for command in commands.alone]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == len(runs)


def test_what_is_finished_is_not_trained_again(
    runs: list[Provenance], options: ExecutionOptions, commands: Commands
) -> None:
    train_all(runs, options)
    commands.together.clear()
    train_all(runs, options)
    assert commands.together == []


def test_a_run_that_was_killed_goes_on(runs: list[Provenance], options: ExecutionOptions, commands: Commands) -> None:
    train_all(runs, options)
    (runs[3].out / MANIFEST).unlink()  # written at the end
    commands.together.clear()
    train_all(runs, options)
    (command,) = commands.alone
    assert option(command, "--out") == str(runs[3].out)
    assert "--resume" in command
    assert "--force" not in command


@pytest.mark.parametrize("what", ["recipe", "table", "weights"])
def test_a_run_of_something_else_is_refused_until_it_is_forced(
    runs: list[Provenance], options: ExecutionOptions, commands: Commands, weights: Path, what: str
) -> None:
    train_all(runs, options)
    commands.together.clear()
    if what == "recipe":
        (runs[0].out / RECIPE).write_text("seed = 7\n")
    else:
        manifest = json.loads((runs[0].out / MANIFEST).read_bytes())
        manifest |= {"data": {"table_digest": "another"}} if what == "table" else {"weights": None}
        (runs[0].out / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"seed1/base: was trained with (another|other)"):
        train_all(runs, options)
    assert commands.together == []
    train_all(runs, dataclasses.replace(options, force=True))
    assert [option(command, "--out") for command in commands.alone] == [str(runs[0].out)]
    assert "--force" in commands.alone[0]


@pytest.mark.parametrize("content", ["[]", "{", '{"data": 1}', "\x00"])
def test_a_manifest_that_is_none_is_named(runs: list[Provenance], options: ExecutionOptions, content: str) -> None:
    runs[0].out.mkdir(parents=True)
    (runs[0].out / MANIFEST).write_text(content)
    with pytest.raises(DataError, match="is not what a run wrote"):
        train_all(runs, options)


@pytest.fixture
def folder(tmp_path: Path, curated: Path) -> Folder:
    (tmp_path / "per-task").symlink_to(curated)
    (tmp_path / "strict").symlink_to(curated)
    return Folder(tmp_path)


@pytest.fixture
def trained(
    plan: list[Training], folder: Folder, weights: Path, options: ExecutionOptions, commands: Commands
) -> list[Provenance]:
    commands.weights_digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    commands.table_digest = open_curated(folder.curated("per-task")).digest
    runs = read_provenance(plan, folder, "demo", weights)
    train_all(runs, options)
    commands.together.clear()
    return runs


def test_every_variant_answers_the_same_validation_rows_with_its_last_weights(
    plan: list[Training], trained: list[Provenance], folder: Folder, options: ExecutionOptions, commands: Commands
) -> None:
    found = predict_all(plan, trained, folder, options)
    assert list(found) == list(dict.fromkeys((run.seed, run.variant) for run in plan))
    assert len(commands.alone) == len(found) == 14
    for command in commands.alone:
        assert option(command, "--split") == "validation"
        assert option(command, "--data") == str(folder.curated("per-task"))
        assert all(argument.endswith(LAST) for argument in command[1 : command.index("--split")])


def test_networks_of_single_tasks_answer_together(
    plan: list[Training], trained: list[Provenance], folder: Folder, options: ExecutionOptions, commands: Commands
) -> None:
    predict_all(plan, trained, folder, options)
    counts = {option(c, "--out").rpartition("/")[2]: sum(a.endswith(LAST) for a in c) for c in commands.alone}
    assert counts.pop("single-tasks.txt") == 3
    assert set(counts.values()) == {1}


def test_predictions_are_made_again_where_networks_are_others(
    plan: list[Training], trained: list[Provenance], folder: Folder, options: ExecutionOptions, commands: Commands
) -> None:
    predict_all(plan, trained, folder, options)
    commands.together.clear()
    predict_all(plan, trained, folder, options)
    assert commands.together == []
    manifest = json.loads((trained[2].out / MANIFEST).read_bytes())
    manifest["checkpoints"][LAST] = "another"
    (trained[2].out / MANIFEST).write_text(json.dumps(manifest))
    predict_all(plan, trained, folder, options)
    assert [option(command, "--out") for command in commands.alone] == [str(folder.prediction(1, "strict-steps"))]


def test_a_prediction_without_its_file_or_with_a_damaged_manifest_is_made_again(
    plan: list[Training], trained: list[Provenance], folder: Folder, options: ExecutionOptions, commands: Commands
) -> None:
    predict_all(plan, trained, folder, options)
    commands.together.clear()
    folder.prediction(1, "base").unlink()
    folder.prediction(2, "base").with_suffix(".json").write_text("[")
    predict_all(plan, trained, folder, options)
    assert len(commands.alone) == 2
