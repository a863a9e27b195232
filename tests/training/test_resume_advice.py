"""What --resume can't do, it says the way of: more epochs, other data, a folder that was moved."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.resume import check_same_run
from tests.commands import command_line

RUN = Path("runs/a b")
DATA = {"folder": "/data/curated", "table_digest": "0" * 64, "frames": None, "rows": "1"}


def made_of(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    """What a checkpoint and a command say of a run."""
    environment = {"threads": 1, "device": "cpu (x)"}
    return {"recipe": recipe.to_toml(), "data": DATA, "weights": None, "environment": environment, **changes}


def refusal(state: dict[str, Any], notes: dict[str, Any]) -> str:
    with pytest.raises((ConfigError, DataError)) as caught:
        check_same_run(state, notes, False, RUN)
    return str(caught.value)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(network="ddamfn-nano", all=Stage(epochs=1))


def test_more_epochs_are_a_new_run_whose_command_is_there_to_copy(recipe: Recipe) -> None:
    longer = recipe.model_copy(update={"all": Stage(epochs=3), "sync_batchnorm": True})
    said = refusal(made_of(recipe, progress={"best_epoch": 1}), made_of(longer))
    assert "  all.epochs: was 1, is 3\n" in said
    assert said.splitlines()[-1] == (
        "  abawkit train 'runs/a b/recipe.toml' --data /data/curated --set sync_batchnorm=true --set all.epochs=3 "
        "--weights 'runs/a b/last.safetensors' --out NEW"
    )


def test_before_its_first_epoch_a_run_has_no_weights_to_begin_another_from(recipe: Recipe) -> None:
    longer = recipe.model_copy(update={"all": Stage(epochs=3)})
    said = refusal(made_of(recipe, progress={"best_epoch": 0}), made_of(longer))
    assert "--weights" not in said
    assert said.endswith("for another recipe, begin a new run")


def test_other_data_names_the_folder_that_the_run_was_begun_with(recipe: Recipe) -> None:
    other = made_of(recipe, data={**DATA, "table_digest": "1" * 64})
    assert "give the --data that it was begun with, /data/curated then, or train on this one in a new run" in refusal(
        made_of(recipe), other
    )


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [({}, False), ({"sync_batchnorm": True}, True), ({"network": "sequence"}, True)],
    ids=["own statistics", "synchronised", "no batch norms"],
)
def test_another_number_of_processes_goes_on_where_it_changes_the_order_of_sums_alone(
    recipe: Recipe, changes: dict[str, Any], allowed: bool
) -> None:
    chosen = recipe.model_copy(update=changes)
    before, now = (made_of(chosen, environment={"processes": count, "ops": {}}) for count in (2, 1))
    if allowed:
        assert check_same_run(before, now, False, RUN) == ["  processes: was 2, is 1"]
    else:
        assert "  processes: was 2, is 1" in refusal(before, now)


def test_the_device_is_told_by_the_environment_and_not_by_the_recipe(recipe: Recipe) -> None:
    named = recipe.model_copy(update={"device": "cpu"})
    assert check_same_run(made_of(recipe), made_of(named), False, RUN) == []
    moved = made_of(named, environment={"threads": 1, "device": "cuda:0 (y)"})
    assert "  device: was cpu (x), is cuda:0 (y)" in refusal(made_of(recipe), moved)


@pytest.fixture(scope="module")
def begun(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and its curated set, which is its own: other tests read the shared one meanwhile."""
    folder = tmp_path_factory.mktemp("moved")
    run, data = folder / "run", folder / "curated"
    shutil.copytree(curated, data)
    short = [part for key in ("all.epochs=1", "heads.epochs=0") for part in ("--set", key)]
    command_line("train", "demo", "--data", data, "--out", run, "--device", "cpu", *short)
    return run, data


def test_a_curated_set_that_was_moved_is_asked_for_by_name(begun: tuple[Path, Path]) -> None:
    run, data = begun
    aside = data.rename(data.with_name("elsewhere"))
    said = command_line("train", "--resume", "--out", run, code=3).stderr
    assert f"{data}: the curated set that this run was begun with is no longer here" in said
    assert "give its new place with --data" in said
    went_on: subprocess.CompletedProcess[str] = command_line(
        "train", "--resume", "--out", run, "--data", aside, "--device", "cpu"
    )
    assert "best epoch" in went_on.stdout
