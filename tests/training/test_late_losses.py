"""Losses that are read a step late, as on GPUs: nothing of a run changes by it. Tried on a CPU."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from abawkit.errors import DataError, StoppedError
from abawkit.models.devices import Download
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.learner import Learner
from abawkit.training.recipe import Checkpoints, Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume
from abawkit.training.step import StepLosses

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def four_steps(recipe: Make) -> Recipe:
    """An epoch of four steps, with a checkpoint in its middle."""
    return recipe(
        heads=Stage(epochs=0), all=Stage(epochs=1, learning_rate=1e-3), checkpoints=Checkpoints(every=2, keep=9)
    )


@pytest.fixture(scope="module")
def at_once(
    four_steps: Recipe, curated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, list[StepInfo]]:
    """The run whose losses are read after each step."""
    seen: list[StepInfo] = []
    out = tmp_path_factory.mktemp("at-once")
    return train(four_steps, Inputs(curated), out, callbacks=Callbacks(seen.append)), seen


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Losses are read a step late; how many steps are begun and not read, at each step."""
    monkeypatch.setattr(Learner, "unread", property(lambda _: 1, lambda *_: None), raising=False)
    begun: list[int] = []
    read = StepLosses.read

    def counted(losses: StepLosses) -> dict[str, float]:
        begun.append(begun[-1] - 1)
        return read(losses)

    step = Learner.step

    def stepped(*arguments: object) -> StepLosses:
        begun.append(begun[-1] + 1 if begun else 1)
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(StepLosses, "read", counted)
    monkeypatch.setattr(Learner, "step", stepped)
    return begun


def test_a_run_ends_with_the_same_weights_and_tells_the_same_of_each_step(
    at_once: tuple[Trained, list[StepInfo]], late: list[int], four_steps: Recipe, curated: Path, tmp_path: Path
) -> None:
    whole, told = at_once
    seen: list[StepInfo] = []
    train(four_steps, Inputs(curated), tmp_path, callbacks=Callbacks(seen.append))
    assert late == [1, 2, 1, 0, 1, 2, 1, 0]  # all are read before the checkpoint after step 2, and at the end
    for name in ("best.safetensors", "last.safetensors", "checkpoints/0000-000002/network.safetensors"):
        assert sha256_of(tmp_path / name) == sha256_of(whole.out / name)
    assert [(m.steps, m.done, m.losses) for m in seen] == [(m.steps, m.done, m.losses) for m in told]


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize(("asked", "begun"), [(2, 2), (3, 4)], ids=["with nothing unread", "with a step unread"])
def test_a_stopped_run_is_saved_with_every_step_that_was_begun_and_goes_on(
    at_once: tuple[Trained, list[StepInfo]], four_steps: Recipe, curated: Path, tmp_path: Path, asked: int, begun: int
) -> None:
    stop = Stop()

    def on_step(moment: StepInfo) -> None:
        stop.signal = 15 if moment.steps == asked else stop.signal

    with pytest.raises(StoppedError, match=f"after step {begun};"):
        train(four_steps, Inputs(curated), tmp_path, stopping=nullcontext(stop), callbacks=Callbacks(on_step))
    assert (tmp_path / f"checkpoints/0000-{begun:06}").is_dir()
    train(four_steps, Inputs(curated), tmp_path, resume=Resume())
    assert sha256_of(tmp_path / "last.safetensors") == sha256_of(at_once[0].out / "last.safetensors")


def test_a_checkpoint_in_the_middle_holds_the_weights_of_its_own_step(
    at_once: tuple[Trained, list[StepInfo]], late: list[int], four_steps: Recipe, curated: Path, tmp_path: Path
) -> None:
    train(four_steps, Inputs(curated), tmp_path)
    for place in ("0000-000004", "0001-000000"):
        shutil.rmtree(tmp_path / "checkpoints" / place, ignore_errors=True)
    steps: list[int] = []
    again = train(
        four_steps, Inputs(curated), tmp_path, resume=Resume(), callbacks=Callbacks(lambda m: steps.append(m.steps))
    )
    assert again.resumed == tmp_path / "checkpoints/0000-000002"
    assert steps == [3, 4]
    assert sha256_of(tmp_path / "last.safetensors") == sha256_of(at_once[0].out / "last.safetensors")
    assert late[-1] == 0


def test_a_run_ends_at_its_last_bad_step_and_one_more_that_was_begun(
    late: list[int], recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = StepLosses(("total",), Download(torch.tensor([torch.nan])))
    monkeypatch.setattr("abawkit.training.step.TrainingStep.__call__", lambda *_, **__: bad)
    endless = recipe(batch_size=16, heads=Stage(epochs=0), all=Stage(epochs=3))
    with pytest.raises(DataError, match=r"not finite in 5 steps in a row, the last with \S+/\d+\.jpg"):
        train(endless, Inputs(curated), tmp_path)
    assert late.count(2) == 5
    assert late[-1] == 1
