"""What a run meets: signals, too little memory, full disks, batches that break the loss."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError
from abawkit.models.weights import load_weights
from abawkit.system.files import sha256_of
from abawkit.training.checkpoint import find_newest_checkpoint
from abawkit.training.data import FramedRows
from abawkit.training.learner import explain_out_of_memory
from abawkit.training.losses import Targets
from abawkit.training.recipe import Recipe
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs
from tests.commands import Started, command_line

pytestmark = pytest.mark.faults

SETTINGS = ("batch_size=48", "checkpoints.every=2", "ema=0.9")


def command(curated: Path, out: Path, *more: str) -> list[object]:
    settings = [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]
    return ["train", "demo", "--data", curated, "--out", out, *settings]


def started(curated: Path, out: Path, *more: str) -> Started:
    """A run that has taken its first epoch."""
    process = Started(*command(curated, out, *more))
    process.first_error_line()  # "epoch 1: ..."
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_signal_ends_a_run_after_its_step_with_everything_kept(
    curated: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "run"
    with started(curated, out, "all.epochs=100") as process:
        process.send_signal(number)
        ended = process.wait()
    shown = ended.stderr
    assert ended.returncode == code
    assert f"stopped by {number.name} after step" in shown
    assert f"abawkit train --resume --out {out}" in shown
    assert "Traceback" not in shown
    checkpoint, problems = find_newest_checkpoint(out)
    assert checkpoint is not None
    assert problems == []
    assert f"after step {checkpoint.state()['progress']['steps']:,};" in shown
    assert not (out / "lock").exists()


def test_the_advised_command_goes_on_with_what_the_run_was_begun_with(curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(curated, out, "all.epochs=3") as process:
        process.send_signal(signal.SIGTERM)
        process.wait()
    resumed = [sys.executable, "-m", "abawkit", "train", "--resume", "--out", str(out), "--json"]
    result = subprocess.run(resumed, capture_output=True, text=True, check=False)  # more threads, if it could
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["resumed"].startswith(str(out / "checkpoints"))
    assert json.loads((out / "manifest.json").read_text())["environment"]["threads"] == 1


def test_two_runs_in_one_folder_are_one_too_many(curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(curated, out, "all.epochs=100") as process:
        second = command_line(*command(curated, out), "--force", code=2)
        assert f"a run is writing here (process {process.pid} on " in second.stderr
    again = [*command(curated, out, "all.epochs=100"), "--resume"]
    command_line(*again, "--dry-run", code=2)  # --dry-run writes nothing
    with Started(*again) as fourth:
        assert f"was left by a run that was killed (process {process.pid} on " in fourth.first_error_line()


def in_a_fork(work: Callable[[], None]) -> tuple[int, str]:
    """Runs work in a process of its own; its exit code is 0, or 1 with the message of its `ConfigError`, or 3."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, said = 0, ""
        try:
            work()
        except ConfigError as error:
            code, said = 1, str(error)
        except DataError as error:
            code, said = 3, str(error)
        except BaseException as error:
            code, said = 99, repr(error)
        finally:
            os.write(writing, said.encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def test_out_of_memory_names_the_setting_that_helps() -> None:
    def work() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, -1))
        with explain_out_of_memory("a step of 512 frames"):
            torch.ones(2**30)

    code, said = in_a_fork(work)
    assert code == 1, said
    assert "out of memory for a step of 512 frames" in said
    assert "smaller batch_size" in said


def test_another_error_in_a_step_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory("a step"):
        raise RuntimeError("shapes don't match")


def test_a_file_that_may_not_grow_ends_the_run_and_keeps_what_was_there(
    recipe: Callable[..., Recipe], curated: Path, full_run: Trained, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()

    def work() -> None:
        # Python ignores SIGXFSZ, so that writes fail as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (full_run.out.joinpath("last.safetensors").stat().st_size + 999, -1))
        train(recipe(), Inputs(curated), tmp_path / "run")

    code, said = in_a_fork(work)
    assert code == 3, said
    assert "can't be written (File too large)" in said or "can't write" in said


class Poisoned(FramedRows):
    """Rows some of which have annotations that no file can bring in: the loss of their batch is not finite."""

    poisoned: frozenset[int] = frozenset()

    def targets(self, which: Any) -> Targets:
        targets = super().targets(which)
        if not self.poisoned.isdisjoint(which.tolist()):
            targets.va[0, 0] = torch.nan
            targets.va_valid[0] = True
        return targets


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[frozenset[int]], None]:
    from abawkit.training.data import read_training_rows

    def set_up(rows: frozenset[int]) -> None:
        def poisoned(*arguments: Any, **options: Any) -> FramedRows:
            found = read_training_rows(*arguments, **options)
            monkeypatch.setattr(Poisoned, "poisoned", rows)
            return Poisoned(found.annotations, found.rows, found.frames, found.store)

        monkeypatch.setattr("abawkit.training.build.read_training_rows", poisoned)

    return set_up


def test_one_poisoned_batch_is_skipped_and_the_run_goes_on(
    poison: Callable[[frozenset[int]], None], recipe: Callable[..., Recipe], curated: Path, tmp_path: Path
) -> None:
    poison(frozenset({7}))  # in one batch of each epoch
    trained = train(recipe(), Inputs(curated), tmp_path)
    state = load_weights(trained.out / "last.safetensors").state  # which refuses weights that are not finite
    assert int(state["stem.0.norm.num_batches_tracked"]) == 3  # of the second stage's four batches
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(list(line["losses"].values())).all() for line in lines)


def test_batches_that_stay_poisoned_end_the_run_with_their_frames_and_the_last_good_checkpoint(
    poison: Callable[[frozenset[int]], None], recipe: Callable[..., Recipe], curated: Path, tmp_path: Path
) -> None:
    rows = open_curated(curated).splits["train"].annotations
    poison(frozenset(range(len(rows))))
    with pytest.raises(DataError, match=r"not finite in 4 steps in a row, the last with \S+/\d+\.jpg") as caught:
        train(recipe(), Inputs(curated), tmp_path)
    assert "checkpoints" in str(caught.value)
    checkpoint, problems = find_newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert problems == []
    load_weights(checkpoint.folder / "network.safetensors")


def test_frames_of_a_folder_train_as_the_packed_ones_do(
    recipe: Callable[..., Recipe], release: Path, curated: Path, full_run: Trained, tmp_path: Path
) -> None:
    inputs = Inputs(curated, frames=next(path for path in release.rglob("cropped_aligned") if path.is_dir()))
    train(recipe(ema=0.9), inputs, tmp_path)
    assert sha256_of(tmp_path / "best.safetensors") == sha256_of(full_run.out / "best.safetensors")


def test_a_frame_that_is_cut_short_is_left_out_with_a_word_or_refused(
    recipe: Callable[..., Recipe], release: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = next(path for path in release.rglob("cropped_aligned") if path.is_dir())
    frames = Path(shutil.copytree(source, tmp_path / "frames"))
    name = open_curated(curated).splits["train"].annotations.images[0].as_py()
    whole = (frames / name).read_bytes()
    (frames / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=name):  # one of 179 is more than 0.1 %
        train(recipe(), Inputs(curated, frames=frames), tmp_path)
    assert not (tmp_path / "best.safetensors").exists()


def test_a_disk_without_room_for_a_run_is_refused_before_an_epoch(
    recipe: Callable[..., Recipe], curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"0\.0 MB free, and a run takes"):
        train(recipe(), Inputs(curated), tmp_path)
    assert list(tmp_path.iterdir()) == []
