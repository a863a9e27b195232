"""Where the time of a run goes: it adds up over stops and kills, and what a kill undid is counted as lost."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from abawkit.errors import DataError, StoppedError
from abawkit.run_names import TIMING
from abawkit.system.files import sha256_of
from abawkit.system.signals import Stop
from abawkit.training import goodput
from abawkit.training.callbacks import Callbacks, StepInfo
from abawkit.training.goodput import ACTIVITIES, Activity, Goodput, WallClock, read_timing
from abawkit.training.progress import Progress
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import train
from abawkit.training.start import Inputs, Resume

Make = Callable[..., Recipe]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock whose only entry is the time."""
    now = [100.0]
    monkeypatch.setattr("abawkit.training.goodput.time.monotonic", lambda: now[0])
    return now


def spend(clock: WallClock, time: list[float], spent: Mapping[Activity, float]) -> None:
    for activity, seconds in spent.items():
        time[0] += seconds
        clock.charge(activity)


def test_each_second_is_that_of_one_activity(time: list[float]) -> None:
    clock = WallClock(100.0)
    spend(clock, time, {"start": 4.0, "data": 1.0, "steps": 14.0, "validation": 1.0})
    found = clock.get_goodput()
    assert found.seconds == {**dict.fromkeys(ACTIVITIES, 0.0), "start": 4, "data": 1, "steps": 14, "validation": 1}
    assert (found.total, found.share) == (20.0, 0.7)
    assert found.describe() == (
        "time: 20 s, of which training steps 70 %, start 20 %, waiting for data 5 %, validation 5 %"
    )


def test_a_run_without_time_has_no_share() -> None:
    assert Goodput(dict.fromkeys(ACTIVITIES, 0.0)).share == 0.0


def test_work_after_the_last_checkpoint_is_lost_and_all_other_time_stays(time: list[float], tmp_path: Path) -> None:
    path, progress = tmp_path / TIMING, Progress(steps=10)
    clock = WallClock(100.0)
    spend(clock, time, {"start": 2.0, "steps": 10.0})
    clock.note(progress)  # the checkpoint
    assert progress.seconds == 12.0
    spend(clock, time, {"checkpoints": 1.0, "steps": 3.0, "data": 0.5, "validation": 2.0})
    clock.write(path, steps=13)  # and a kill
    again = WallClock(time[0])
    again.restore(progress, path)
    found = again.get_goodput()
    assert found.seconds == {
        "start": 2.0, "data": 0.0, "steps": 10.0, "validation": 0.0, "checkpoints": 1.0, "lost": 5.5, "other": 0.0
    }  # fmt: skip
    assert found.lost_steps == 3
    assert found.describe().endswith("(3 steps repeated)")
    again.write(path, steps=10, due=True)  # killed again before a step
    third = WallClock(time[0])
    third.restore(progress, path)
    assert third.get_goodput() == found


def test_the_file_is_written_now_and_then(time: list[float], tmp_path: Path) -> None:
    path, clock = tmp_path / TIMING, WallClock(100.0)
    clock.charge("steps")
    clock.write(path, 1)
    assert not path.exists()
    time[0] += goodput.EVERY
    clock.charge("steps")
    clock.write(path, 2)
    assert read_timing(path)[1] == 2
    clock.write(tmp_path / "absent" / TIMING, 3, due=True)  # a run does without it


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ('{"format": "abawkit.timing.1"}', "steps: got nothing"),
        ('{"format": "abawkit.timing.1", "steps": -1, "lost_steps": 0, "seconds": {}}', "steps: got -1"),
        ('{"format": "abawkit.timing.1", "steps": 1, "lost_steps": 0, "seconds": {"nap": 1.0}}', "seconds.nap"),
        ('{"format": "abawkit.timing.1", "steps": 1, "lost_steps": 0, "seconds": {"data": -1.0}}', "seconds.data: got"),
    ],
)
def test_a_damaged_file_is_passed_over(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / TIMING
    path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_timing(path)
    clock = WallClock(0.0)
    clock.restore(Progress(steps=4, seconds=8.0, spent={"steps": 6.0}), path)
    assert clock.get_goodput().seconds == {**dict.fromkeys(ACTIVITIES, 0.0), "steps": 6.0, "other": 2.0}
    assert clock.get_goodput().lost_steps == 0


def test_a_killed_run_says_what_it_did_twice_and_ends_with_the_same_weights(
    recipe: Make, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_epochs = recipe(heads=Stage(epochs=0), all=Stage(epochs=2, learning_rate=1e-3))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    ended = train(two_epochs, Inputs(curated), whole)
    monkeypatch.setattr(goodput, "EVERY", 0.0)

    def die(info: StepInfo) -> None:
        if info.steps == 7:  # the third of the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(two_epochs, Inputs(curated), killed, callbacks=Callbacks(die))
    assert read_timing(killed / TIMING)[1] == 6  # the seventh was being reported
    again = train(two_epochs, Inputs(curated), killed, resume=Resume())
    manifest = json.loads((killed / "manifest.json").read_text())
    assert again.goodput
    assert (again.goodput.lost_steps, manifest["goodput"]["lost_steps"]) == (2, 2)
    assert again.goodput.seconds["lost"] > 0
    assert again.seconds == pytest.approx(again.goodput.total, abs=1.0)
    assert sum(manifest["goodput"]["seconds"].values()) == pytest.approx(manifest["seconds"], abs=1.0)
    assert not (killed / TIMING).exists()
    assert sha256_of(killed / "best.safetensors") == sha256_of(whole / "best.safetensors")
    assert ended.goodput
    assert (ended.goodput.lost_steps, ended.goodput.seconds["lost"]) == (0, 0.0)
    assert all(ended.goodput.seconds[name] > 0 for name in ("start", "data", "steps", "validation", "checkpoints"))


def test_a_stopped_run_has_lost_nothing_and_its_times_add_up(recipe: Make, curated: Path, tmp_path: Path) -> None:
    one_epoch, stop = recipe(heads=Stage(epochs=0)), Stop()

    def on_step(info: StepInfo) -> None:
        stop.signal = 15 if info.steps == 2 else stop.signal

    with pytest.raises(StoppedError):
        train(one_epoch, Inputs(curated), tmp_path, stopping=nullcontext(stop), callbacks=Callbacks(on_step))
    before, steps = read_timing(tmp_path / TIMING)
    assert steps == 2
    again = train(one_epoch, Inputs(curated), tmp_path, resume=Resume())
    assert again.goodput
    assert (again.goodput.lost_steps, again.goodput.seconds["lost"]) == (0, 0.0)
    assert all(again.goodput.seconds[activity] >= before.seconds[activity] for activity in ACTIVITIES)
