"""What is trained and predicted, what is left as it is, and in which order."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from abawkit.ablation.plan import Training
from abawkit.ablation.steps import TrainingRun, list_runs, predict_all, train_all
from abawkit.ablation.workspace import AblationFolder
from abawkit.errors import ConfigError, DataError
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import StepCache
from abawkit.run_names import LAST, MANIFEST
from abawkit.training.recipe import read_recipe
from tests.ablation.conftest import Commands, option, recipe_of


@pytest.fixture
def cache(tmp_path: Path) -> StepCache:
    return StepCache(tmp_path)


def test_the_command_that_is_run_trains_the_recipe_of_the_plan(runs: list[TrainingRun]) -> None:
    for run in runs:
        assert recipe_of(run.arguments) == run.recipe.to_toml()


def test_all_start_from_the_same_weights(runs: list[TrainingRun], weights: Path) -> None:
    assert {option(run.arguments, "--weights") for run in runs} == {str(weights)}


def test_the_longest_runs_come_first_so_many_at_a_time(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache
) -> None:
    train_all(runs, cache, options)
    assert {len(together) for together in commands.together} == {2}
    cost = {str(run.out): run.cost for run in runs}
    costs = [cost[option(command, "--out")] for command in commands.alone]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == len(runs)


def test_what_is_finished_is_not_trained_again(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache
) -> None:
    train_all(runs, cache, options)
    commands.together.clear()
    train_all(runs, cache, options)
    assert commands.together == []


@pytest.mark.parametrize("interrupt", ["train", "late"])
def test_a_run_that_was_killed_goes_on(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache, interrupt: str
) -> None:
    train_all(runs[:3], cache, options)
    commands.interrupt = interrupt
    with pytest.raises(KeyboardInterrupt):
        train_all(runs[3:4], cache, options)
    commands.interrupt = ""
    commands.together.clear()
    train_all(runs[:4], cache, options)
    (command,) = commands.alone
    assert option(command, "--out") == str(runs[3].out)
    assert "--resume" in command
    assert "--force" not in command


OTHERS: dict[str, dict[str, Any]] = {
    "recipe": {"recipe": read_recipe("demo", ["seed=7"])},
    "curated set": {"table_digest": "another"},
    "weights": {"weights_digest": None},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_something_else_is_refused_until_it_is_forced(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache, what: str
) -> None:
    train_all([dataclasses.replace(runs[0], **OTHERS[what]), *runs[1:]], cache, options)
    commands.together.clear()
    with pytest.raises(ConfigError, match=rf"seed1/base: was trained with (another|other) {what}"):
        train_all(runs, cache, options)
    assert commands.together == []
    train_all(runs, cache, dataclasses.replace(options, force=True))
    assert [option(command, "--out") for command in commands.alone] == [str(runs[0].out)]
    assert "--force" in commands.alone[0]


def test_a_forced_run_that_was_killed_before_it_replaced_the_other_still_replaces_it(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache
) -> None:
    train_all([dataclasses.replace(runs[0], table_digest="another")], cache, options)
    commands.interrupt = "train"
    with pytest.raises(KeyboardInterrupt):
        train_all(runs[:1], cache, dataclasses.replace(options, force=True))
    commands.interrupt = ""
    commands.together.clear()
    train_all(runs[:1], cache, options)
    assert "--force" in commands.alone[0]


@pytest.mark.parametrize("name", [MANIFEST, LAST])
def test_a_run_that_was_damaged_is_trained_anew(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache, name: str
) -> None:
    train_all(runs, cache, options)
    commands.together.clear()
    (runs[2].out / name).write_text("damaged")
    train_all(runs, cache, options)
    (command,) = commands.alone
    assert option(command, "--out") == str(runs[2].out)
    assert "--force" in command


def test_finished_runs_without_stamps_are_kept_with_the_inputs_that_they_record(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache
) -> None:
    train_all(runs, cache, options)
    commands.together.clear()
    cache.clear()
    train_all(runs, cache, options)
    assert commands.together == []
    for what, change in OTHERS.items():
        cache.clear()
        with pytest.raises(ConfigError, match=rf"seed1/base: was trained with (another|other) {what}"):
            train_all([dataclasses.replace(runs[0], **change)], cache, options)


@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_records_no_inputs_is_left_to_train_unless_it_is_forced(
    runs: list[TrainingRun], options: ExecutionOptions, commands: Commands, cache: StepCache, force: bool
) -> None:
    train_all(runs[:1], cache, options)
    cache.clear()
    (runs[0].out / MANIFEST).unlink()
    commands.together.clear()
    train_all(runs[:1], cache, dataclasses.replace(options, force=force))
    assert ("--force" if force else "--resume") in commands.alone[0]


@pytest.mark.parametrize("content", ["[]", "{", '{"data": 1}', "\x00"])
def test_a_manifest_that_is_none_is_named(runs: list[TrainingRun], content: str) -> None:
    runs[0].out.mkdir(parents=True)
    (runs[0].out / MANIFEST).write_text(content)
    with pytest.raises(DataError, match="is not the manifest of a run"):
        runs[0].read_manifest()


@pytest.fixture
def folder(tmp_path: Path, curated: Path) -> AblationFolder:
    (tmp_path / "per-task").symlink_to(curated)
    (tmp_path / "strict").symlink_to(curated)
    return AblationFolder(tmp_path)


@pytest.fixture
def trained(
    plan: list[Training], folder: AblationFolder, weights: Path, options: ExecutionOptions, commands: Commands
) -> list[TrainingRun]:
    runs = list_runs(plan, folder, "demo", weights)
    train_all(runs, folder.cache, options)
    commands.together.clear()
    return runs


def test_every_variant_answers_the_same_validation_rows_with_its_last_weights(
    plan: list[Training],
    trained: list[TrainingRun],
    folder: AblationFolder,
    options: ExecutionOptions,
    commands: Commands,
) -> None:
    found = predict_all(plan, trained, folder, options)
    assert list(found) == list(dict.fromkeys((run.seed, run.variant) for run in plan))
    assert len(commands.alone) == len(found) == 14
    for command in commands.alone:
        assert option(command, "--split") == "validation"
        assert option(command, "--data") == str(folder.curated("per-task"))
        assert all(argument.endswith(LAST) for argument in command[1 : command.index("--split")])


def test_networks_of_single_tasks_answer_together(
    plan: list[Training],
    trained: list[TrainingRun],
    folder: AblationFolder,
    options: ExecutionOptions,
    commands: Commands,
) -> None:
    predict_all(plan, trained, folder, options)
    counts = {option(c, "--out").rpartition("/")[2]: sum(a.endswith(LAST) for a in c) for c in commands.alone}
    assert counts.pop("single-tasks.txt") == 3
    assert set(counts.values()) == {1}


def test_predictions_are_made_again_where_networks_are_others(
    plan: list[Training],
    trained: list[TrainingRun],
    folder: AblationFolder,
    options: ExecutionOptions,
    commands: Commands,
) -> None:
    predict_all(plan, trained, folder, options)
    commands.together.clear()
    predict_all(plan, trained, folder, options)
    assert commands.together == []
    (trained[2].out / LAST).unlink()
    commands.version = 2
    train_all(trained, folder.cache, options)
    commands.together.clear()
    predict_all(plan, trained, folder, options)
    assert [option(command, "--out") for command in commands.alone] == [str(folder.prediction(1, "strict-steps"))]


def test_a_prediction_without_its_file_or_with_a_damaged_manifest_is_made_again(
    plan: list[Training],
    trained: list[TrainingRun],
    folder: AblationFolder,
    options: ExecutionOptions,
    commands: Commands,
) -> None:
    predict_all(plan, trained, folder, options)
    commands.together.clear()
    folder.prediction(1, "base").unlink()
    folder.prediction(2, "base").with_suffix(".json").write_text("[")
    predict_all(plan, trained, folder, options)
    assert len(commands.alone) == 2


def test_predictions_are_made_again_by_other_code(
    plan: list[Training],
    trained: list[TrainingRun],
    folder: AblationFolder,
    options: ExecutionOptions,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict_all(plan, trained, folder, options)
    commands.together.clear()
    monkeypatch.setattr("abawkit.ablation.steps.digest_code", lambda: "0123")
    train_all(trained, folder.cache, options)
    predict_all(plan, trained, folder, options)
    assert [command[0] for command in commands.alone] == ["predict"] * 14
