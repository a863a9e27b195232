"""Continuing a run: what must be the same, what may differ, and what is said of it."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError, DataWarning, StoppedError
from abawkit.models.weights import load_weights
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.checkpoint import find_newest_checkpoint
from abawkit.training.data import FramedRows, read_training_rows
from abawkit.training.progress import capture_generators, restore_generators
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.run_folder import clear_run, run_folder
from abawkit.training.start import Inputs, Resume

Make = Callable[..., Recipe]
NOTHING = Stage(epochs=0)
WEIGHTS = ("best.safetensors", "last.safetensors")


def digests(out: Path) -> list[str]:
    return [sha256_of(out / name) for name in WEIGHTS]


def stop_at(step: int) -> tuple[AbstractContextManager[Stop], Callbacks]:
    """What asks a run to stop after a step, as a signal would."""
    stop = Stop()

    def on_step(moment: StepInfo) -> None:
        stop.signal = 15 if moment.steps == step else stop.signal

    return nullcontext(stop), Callbacks(on_step)


@pytest.fixture(scope="module")
def two_epochs(recipe: Make) -> Recipe:
    return recipe(heads=NOTHING, all=Stage(epochs=2, learning_rate=1e-3), ema=0.9)


@pytest.fixture(scope="module")
def whole(two_epochs: Recipe, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run that was not stopped: two epochs of four steps."""
    return train(two_epochs, Inputs(curated), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(two_epochs: Recipe, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after its sixth step."""
    out = tmp_path_factory.mktemp("stopped")
    stopping, callbacks = stop_at(6)
    with pytest.raises(StoppedError, match="stopped by SIGTERM after step 6") as caught:
        train(two_epochs, Inputs(curated), out, stopping=stopping, callbacks=callbacks)
    assert caught.value.exit_code == 143
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run, to go on with."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def test_a_stopped_run_goes_on_to_the_same_weights(
    whole: Trained, run: Path, two_epochs: Recipe, curated: Path
) -> None:
    again = train(two_epochs, Inputs(curated), run, resume=Resume())
    assert digests(run) == digests(whole.out)
    assert (again.best_epoch, again.best_score, again.scores) == (whole.best_epoch, whole.best_score, whole.scores)
    assert again.resumed == run / "checkpoints/0001-000002"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["resumed"] == [{"from": "0001-000002", "drift": []}]
    assert manifest["steps"] == 8


def test_a_run_stopped_in_its_validation_does_not_train_again(
    whole: Trained, two_epochs: Recipe, curated: Path, tmp_path: Path
) -> None:
    stopping, callbacks = stop_at(
        4
    )  # the last step of the first epoch: the flag is looked at again within the validation
    with pytest.raises(StoppedError):
        train(two_epochs, Inputs(curated), tmp_path, stopping=stopping, callbacks=callbacks)
    assert (tmp_path / "checkpoints/0000-000004").is_dir()
    steps: list[int] = []
    train(two_epochs, Inputs(curated), tmp_path, resume=Resume(), callbacks=Callbacks(lambda m: steps.append(m.steps)))
    assert steps == [5, 6, 7, 8]
    assert digests(tmp_path) == digests(whole.out)


def test_a_damaged_checkpoint_is_passed_over_with_a_word(
    whole: Trained, run: Path, two_epochs: Recipe, curated: Path
) -> None:
    path = run / "checkpoints/0001-000002/state.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(DataWarning, match=r"0001-000002: state\.pt .* damaged; continuing from the checkpoint before"):
        again = train(two_epochs, Inputs(curated), run, resume=Resume())
    assert again.resumed == run / "checkpoints/0001-000000"
    assert digests(run) == digests(whole.out)


def test_what_a_later_moment_left_in_the_folder_is_put_back(
    whole: Trained, run: Path, two_epochs: Recipe, curated: Path
) -> None:
    (run / "best.safetensors").write_bytes(b"half")
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text() + '{"epoch": 1, "sta')
    train(two_epochs, Inputs(curated), run, resume=Resume())
    assert digests(run) == digests(whole.out)
    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_a_finished_run_is_left_as_it_is(whole: Trained, two_epochs: Recipe, curated: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole.out, tmp_path / "run"))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = train(two_epochs, Inputs(curated), out, resume=Resume())
    assert (again.best_epoch, again.best_score, again.scores) == (whole.best_epoch, whole.best_score, whole.scores)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_without_a_checkpoint_begins(whole: Trained, two_epochs: Recipe, curated: Path, tmp_path: Path) -> None:
    train(two_epochs, Inputs(curated), tmp_path, resume=Resume())
    assert digests(tmp_path) == digests(whole.out)


def test_another_recipe_is_refused_naming_each_key(run: Path, two_epochs: Recipe, curated: Path) -> None:
    losses = two_epochs.losses.model_copy(update={"au": 0.5})
    other = two_epochs.model_copy(update={"batch_size": 40, "losses": losses})
    with pytest.raises(ConfigError) as caught:
        train(other, Inputs(curated), run, resume=Resume(allow_drift=True))
    assert "batch_size: was 48, is 40" in str(caught.value)
    assert "losses.au: was 1.0, is 0.5" in str(caught.value)


def test_how_often_checkpoints_are_written_may_change(
    whole: Trained, run: Path, two_epochs: Recipe, curated: Path
) -> None:
    often = two_epochs.model_copy(update={"checkpoints": two_epochs.checkpoints.model_copy(update={"every": 1})})
    train(often, Inputs(curated), run, resume=Resume())
    assert digests(run) == digests(whole.out)


def test_other_data_is_refused(run: Path, two_epochs: Recipe, curated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(open_curated(curated), digest="0" * 64)
    monkeypatch.setattr("abawkit.training.run.open_training_set", lambda *_: other)
    with pytest.raises(DataError, match="another curated set"):
        train(two_epochs, Inputs(curated), run, resume=Resume(allow_drift=True))


def test_other_initial_weights_are_refused(whole: Trained, run: Path, two_epochs: Recipe, curated: Path) -> None:
    with pytest.raises(DataError, match="begun from other weights"):
        train(two_epochs, Inputs(curated, whole.out / "best.safetensors"), run, resume=Resume())


def test_other_threads_are_refused_by_name_and_allowed_by_name(run: Path, two_epochs: Recipe, curated: Path) -> None:
    torch.set_num_threads(2)
    try:
        with pytest.raises(ConfigError, match=r"threads: was 1, is 2\n.*--allow-drift"):
            train(two_epochs, Inputs(curated), run, resume=Resume())
        with pytest.warns(DataWarning, match="threads: was 1, is 2"):
            train(two_epochs, Inputs(curated), run, resume=Resume(allow_drift=True))
    finally:
        torch.set_num_threads(1)
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    assert [line.strip() for line in manifest["resumed"][0]["drift"]] == ["threads: was 1, is 2"]
    assert manifest["environment"]["threads"] == 2


def test_another_implementation_of_the_operator_is_drift(
    run: Path, two_epochs: Recipe, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "abawkit.training.build.describe_operators", lambda _: {"dual_direction_attention": "vendor/other"}
    )
    with pytest.raises(ConfigError, match=r"ops: was .*, is .*vendor/other"):
        train(two_epochs, Inputs(curated), run, resume=Resume())


def test_early_stopping_is_remembered(recipe: Make, curated: Path, tmp_path: Path) -> None:
    # the average hardly moves, so that after the first epoch no score is better
    patient = recipe(heads=NOTHING, all=Stage(epochs=9, learning_rate=1e-9), patience=2)
    out = tmp_path / "whole"
    out.mkdir()
    train(patient, Inputs(curated), out)
    epochs = [json.loads(line)["epoch"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    best = json.loads((out / "manifest.json").read_text())["best"]["epoch"]
    assert epochs == list(range(1, best + 3))
    assert len(epochs) < 9
    stopping, callbacks = stop_at(4 * best + 5)  # one epoch without a better score has been
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(StoppedError):
        train(patient, Inputs(curated), again, stopping=stopping, callbacks=callbacks)
    train(patient, Inputs(curated), again, resume=Resume())
    assert digests(again) == digests(out)
    assert len((again / "metrics.jsonl").read_text().splitlines()) == len(epochs)


def test_a_new_run_in_the_folder_of_another_leaves_nothing_of_it(run: Path, recipe: Make, curated: Path) -> None:
    train(recipe(all=NOTHING), Inputs(curated), run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["0000-000000", "0001-000000"]
    assert load_weights(run / "best.safetensors").metadata["epoch"] == "1"


def test_a_folder_with_a_run_is_refused_with_a_hint(run: Path) -> None:
    with pytest.raises(ConfigError, match="--resume continues it"), run_folder(run, resume=False, force=False):
        pass


def test_a_folder_with_other_things_is_not_resumed_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is not empty"), run_folder(tmp_path, resume=True, force=False):
        pass


def test_the_results_alone_of_a_run_are_not_resumed_over(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    kept = {path.name for path in run.iterdir()}
    with pytest.raises(ConfigError, match="holds a run"), run_folder(run, resume=True, force=False):
        pass
    assert {path.name for path in run.iterdir()} == kept


def test_a_run_killed_before_its_first_checkpoint_is_taken_up_with_its_trackers(tmp_path: Path) -> None:
    for name in ("tensorboard", "checkpoints"):
        (tmp_path / name).mkdir()
    for name in ("recipe.toml", "lock", ".recipe.toml.x1"):
        (tmp_path / name).touch()
    with run_folder(tmp_path, resume=True, force=False):
        pass


def test_a_new_run_removes_checkpoints_and_nothing_else_of_that_folder(run: Path) -> None:
    (run / "checkpoints/theirs.pt").touch()
    clear_run(run)
    assert sorted(path.name for path in run.rglob("*")) == ["checkpoints", "theirs.pt"]


def test_checkpoints_share_no_file_with_the_run(run: Path, two_epochs: Recipe, curated: Path, whole: Trained) -> None:
    with (run / "best.safetensors").open("r+b") as file:
        file.truncate(10)  # as `cp` over it does
    train(two_epochs, Inputs(curated), run, resume=Resume())
    assert digests(run) == digests(whole.out)


def test_other_readable_frames_are_refused(
    run: Path, two_epochs: Recipe, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_less(*arguments: Any, **options: Any) -> FramedRows:
        rows = read_training_rows(*arguments, **options)
        kept = np.arange(1, len(rows))
        return FramedRows(rows.annotations.select(kept), rows.rows[kept], rows.frames[kept], rows.store)

    monkeypatch.setattr("abawkit.training.build.read_training_rows", one_less)
    with pytest.raises(DataError, match="other frames can be read"):
        train(two_epochs, Inputs(curated), run, resume=Resume(allow_drift=True))


def test_another_version_of_the_code_is_drift(
    run: Path, two_epochs: Recipe, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abawkit.training.run_folder.digest_code", lambda: "0123")
    with pytest.raises(ConfigError, match=r"code: was [0-9a-f]{16}, is 0123"):
        train(two_epochs, Inputs(curated), run, resume=Resume())


def test_half_written_files_of_a_killed_process_are_removed(run: Path) -> None:
    left = run / ".best.safetensors.abc123"
    left.write_bytes(b"half")
    with run_folder(run, resume=True, force=False):
        assert not left.exists()


def test_every_generator_goes_on_where_it_was() -> None:
    import random

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002 - the global one

    with torch.random.fork_rng():
        draw()
        state = capture_generators()
        first = draw()
        assert draw() != first
        restore_generators(state)
        assert draw() == first


def test_a_checkpoint_of_a_run_holds_no_object_that_could_run_code(stopped: Path) -> None:
    checkpoint, problems = find_newest_checkpoint(stopped)
    assert checkpoint is not None
    assert problems == []
    assert set(checkpoint.digests) == {"average.safetensors", "best.safetensors", "network.safetensors", "state.pt"}
    state = checkpoint.state()  # weights_only
    assert state["progress"]["steps"] == 6
    assert len(state["optimizer"]["state"]) > 10
