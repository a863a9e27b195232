"""Runs that stop before their end without a signal: at a time limit, or by a file in their folder."""

import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from abawkit.errors import StoppedError
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume


@pytest.fixture(scope="module")
def one_epoch(recipe: Callable[..., Recipe]) -> Recipe:
    """Four steps."""
    return recipe(heads=Stage(epochs=0), all=Stage(epochs=1, learning_rate=1e-3))


@pytest.fixture(scope="module")
def whole(one_epoch: Recipe, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(one_epoch, Inputs(curated), tmp_path_factory.mktemp("whole"))


def test_a_file_stops_the_run_once_and_the_next_command_continues(
    whole: Trained, one_epoch: Recipe, curated: Path, tmp_path: Path
) -> None:
    def put_file(info: StepInfo) -> None:
        if info.steps == 2:
            (tmp_path / "STOP").touch()

    with pytest.raises(StoppedError, match="stopped by the file STOP in its folder after step 2; everything") as caught:
        train(one_epoch, Inputs(curated), tmp_path, callbacks=Callbacks(put_file))
    assert caught.value.exit_code == 75
    assert not (tmp_path / "STOP").exists()
    train(one_epoch, Inputs(curated), tmp_path, resume=Resume())
    assert sha256_of(tmp_path / "best.safetensors") == sha256_of(whole.out / "best.safetensors")


def test_at_its_time_limit_a_run_saves_the_step_that_it_has_done(
    whole: Trained, one_epoch: Recipe, curated: Path, tmp_path: Path
) -> None:
    for done in (0, 1, 2, 3):  # each command comes one step further

        def wait(info: StepInfo) -> None:
            time.sleep(max(0.0, limit - time.monotonic()))  # noqa: B023 - called within this turn

        limit = time.monotonic() + (5 if done else 0)
        with pytest.raises(StoppedError, match=f"stopped at its time limit after step {done};") as caught:
            train(
                one_epoch,
                Inputs(curated),
                tmp_path,
                resume=Resume() if done else None,
                deadline=limit,
                callbacks=Callbacks(wait),
            )
        assert caught.value.exit_code == 75
    train(one_epoch, Inputs(curated), tmp_path, resume=Resume())
    assert sha256_of(tmp_path / "best.safetensors") == sha256_of(whole.out / "best.safetensors")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_the_signals_of_batch_systems_end_a_run_with_75(
    one_epoch: Recipe, curated: Path, tmp_path: Path, number: signal.Signals
) -> None:
    stop = Stop()
    stop.signal = number
    with pytest.raises(StoppedError, match=f"stopped by {number.name} after step 0; everything is kept") as caught:
        train(one_epoch, Inputs(curated), tmp_path, stopping=nullcontext(stop))
    assert caught.value.exit_code == 75
