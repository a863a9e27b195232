"""Checkpoints are written beside the training: the same bytes as at once, whole before anything needs them."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from abawkit.errors import ConfigError, DataError, DataWarning, StoppedError
from abawkit.models.weights import save_weights
from abawkit.run_names import AVERAGE, BEST, NETWORK
from abawkit.system.files import sha256_of, write_bytes
from abawkit.system.signals import Stop
from abawkit.training import checkpoint_writer
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.checkpoint import Position, find_newest_checkpoint, write_checkpoint
from abawkit.training.checkpoint_writer import CheckpointWriter
from abawkit.training.learner import BaseLearner
from abawkit.training.loop import Loop
from abawkit.training.progress import capture_generators
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume

Make = Callable[..., Recipe]


def slow_write(seconds: float, *arguments: Any, **options: Any) -> Path:
    time.sleep(seconds)
    return write_checkpoint(*arguments, **options)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes longer than several steps."""
    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", partial(slow_write, 0.3))


@pytest.fixture
def often(recipe: Make) -> Recipe:
    """An epoch of four steps, with a checkpoint after each."""
    return recipe(heads=Stage(epochs=0), ema=0.9, checkpoints={"every": 1, "keep": 50})


def list_files(out: Path) -> dict[str, str]:
    """The digests of all files of checkpoints."""
    folder = out / "checkpoints"
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def write_at_once(loop: Loop) -> None:
    """What `Loop.save` did before there was a thread: nothing is copied, as nothing goes on."""
    progress, learner = loop.progress, loop.learner

    def write_weights(folder: Path) -> None:
        notes = {"tasks": ",".join(progress.trained)}
        save_weights(folder / NETWORK, learner.network.config, learner.network.state_dict(), notes)
        assert learner.average
        save_weights(folder / AVERAGE, learner.network.config, learner.average.state, notes)
        if progress.best_epoch:
            write_bytes(folder / BEST, (loop.out / BEST).read_bytes())

    loop.clock.note(progress)
    state = {**loop.notes, "progress": progress.as_dict(), **learner.state(), "generators": capture_generators()}
    write_checkpoint(loop.out, progress.position, state, write_weights, keep=50)


def test_every_checkpoint_has_the_bytes_of_one_that_is_written_at_once(
    often: Recipe, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: None
) -> None:
    monkeypatch.setattr("abawkit.training.loop.time.monotonic", lambda: 0.0)  # which checkpoints keep
    for name in ("beside", "at once"):
        (tmp_path / name).mkdir()
        if name == "at once":
            monkeypatch.setattr(Loop, "save", write_at_once)
        torch.manual_seed(5)
        train(often, Inputs(curated), tmp_path / name)
    found, expected = list_files(tmp_path / "beside"), list_files(tmp_path / "at once")
    assert len([name for name in found if name.endswith("manifest.json")]) == 5  # the first one, and after each step
    assert found == expected


def test_steps_are_taken_while_a_checkpoint_is_written_and_only_one_is_written_at_a_time(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped, writing = threading.Event(), 0
    most = 0

    def write(run: Path, position: Position, *arguments: Any, **options: Any) -> Path:
        nonlocal writing, most
        writing += 1
        most = max(most, writing)
        if position == Position(0, 2):
            assert stepped.wait(30)  # else the third step waits for this checkpoint
        path = write_checkpoint(run, position, *arguments, **options)
        writing -= 1
        return path

    def on_step(info: StepInfo) -> None:
        if info.steps == 3:
            stepped.set()

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", write)
    chosen = recipe(heads=Stage(epochs=0), checkpoints={"every": 2})
    train(chosen, Inputs(curated), tmp_path, callbacks=Callbacks(on_step))
    assert most == 1


def test_a_run_that_is_stopped_ends_when_its_checkpoint_is_whole(
    recipe: Make, curated: Path, tmp_path: Path, slow: None
) -> None:
    stop = Stop()

    def on_step(info: StepInfo) -> None:
        stop.signal = 10 if info.steps == 3 else 0  # SIGUSR1

    chosen = recipe(heads=Stage(epochs=0))
    with pytest.raises(StoppedError) as caught:
        train(chosen, Inputs(curated), tmp_path, stopping=nullcontext(stop), callbacks=Callbacks(on_step))
    assert caught.value.exit_code == 75
    newest, problems = find_newest_checkpoint(tmp_path)
    assert newest
    assert (newest.position, problems) == (Position(0, 3), [])


def test_a_run_that_is_interrupted_leaves_nothing_half_written(
    often: Recipe, curated: Path, tmp_path: Path, slow: None
) -> None:
    def on_step(info: StepInfo) -> None:
        if info.steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(often, Inputs(curated), tmp_path, callbacks=Callbacks(on_step))
    newest, _ = find_newest_checkpoint(tmp_path)
    assert newest
    assert newest.position == Position(0, 2)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the checkpoint after the second step on."""

    def write(run: Path, position: Position, *arguments: Any, **options: Any) -> Path:
        if position == Position(0, 2):
            raise DataError(f"{position.name}: can't write this checkpoint (No space left on device)")
        return write_checkpoint(run, position, *arguments, **options)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", write)


def test_a_full_disk_ends_the_run_with_the_writers_message_and_the_checkpoint_before(
    recipe: Make, curated: Path, tmp_path: Path, full: None
) -> None:
    steps: list[int] = []
    chosen = recipe(heads=Stage(epochs=0), checkpoints={"every": 2})
    with pytest.raises(DataError, match="0000-000002: can't write this checkpoint") as caught:
        train(chosen, Inputs(curated), tmp_path, callbacks=Callbacks(lambda info: steps.append(info.steps)))
    assert caught.value.exit_code == 3
    assert len(steps) < 5  # at the latest before the validation's weights are written
    newest, problems = find_newest_checkpoint(tmp_path)
    assert newest
    assert (newest.position, problems) == (Position(0, 0), [])
    assert not (tmp_path / BEST).exists()


def test_a_run_goes_on_from_the_checkpoint_before_the_disk_was_full(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    chosen = recipe(heads=Stage(epochs=0), checkpoints={"every": 2})
    (tmp_path / "run").mkdir()
    (tmp_path / "whole").mkdir()
    train(chosen, Inputs(curated), tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_writer, "write_checkpoint", fail_at(Position(0, 2)))
        with pytest.raises(DataError):
            train(chosen, Inputs(curated), tmp_path / "run")
    train(chosen, Inputs(curated), tmp_path / "run", resume=Resume())
    assert sha256_of(tmp_path / "run" / BEST) == sha256_of(tmp_path / "whole" / BEST)


def fail_at(where: Position) -> Callable[..., Path]:
    def write(run: Path, position: Position, *arguments: Any, **options: Any) -> Path:
        if position == where:
            raise DataError(f"{position.name}: no room")
        return write_checkpoint(run, position, *arguments, **options)

    return write


def test_an_error_of_the_writer_beside_another_one_is_a_warning() -> None:
    def fail() -> None:
        raise DataError("no room for a checkpoint")

    def run() -> None:
        with CheckpointWriter() as writer:
            writer.start(fail)
            raise ConfigError("out of memory")

    with pytest.warns(DataWarning, match="no room"), pytest.raises(ConfigError, match="out of memory"):
        run()


def test_an_error_of_the_writer_is_raised_once_and_by_whatever_comes_first() -> None:
    def fail() -> None:
        raise DataError("no room")

    writer = CheckpointWriter()
    for ask in (writer.wait, partial(writer.start, lambda: None), partial(wait_and_check, writer)):
        writer.start(fail)
        with pytest.raises(DataError, match="no room"):
            ask()
        writer.check()
        writer.wait()
    with pytest.raises(DataError, match="no room"), CheckpointWriter() as last:
        last.start(fail)


def wait_and_check(writer: CheckpointWriter) -> None:
    for _ in range(1000):
        writer.check()
        time.sleep(0.01)


def test_no_memory_for_the_copy_is_explained(
    often: Recipe, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_weights(learner: BaseLearner[Any]) -> dict[str, dict[str, torch.Tensor]]:
        raise MemoryError

    monkeypatch.setattr(BaseLearner, "copy_weights", copy_weights)
    with pytest.raises(ConfigError, match="out of memory for the copy of a checkpoint"):
        train(often, Inputs(curated), tmp_path)


def test_only_the_time_that_the_run_stood_still_counts_as_checkpoints(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", partial(slow_write, 0.5))

    def on_step(info: StepInfo) -> None:
        time.sleep(0.8 if info.steps == 3 else 0.0)  # while the one after the second step is written

    chosen = recipe(heads=Stage(epochs=0), checkpoints={"every": 2})
    trained: Trained = train(chosen, Inputs(curated), tmp_path, callbacks=Callbacks(on_step))
    assert trained.goodput
    assert 2 * 0.5 <= trained.goodput.seconds["checkpoints"] < 3 * 0.5  # it waits for the first and the last one
