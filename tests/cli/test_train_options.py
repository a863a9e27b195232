"""Options of ``abawkit train``: the dry run, frames from a folder, resuming, trackers."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

QUICK = ("--set", "all.epochs=1", "--set", "batch_size=48")


def test_a_dry_run_says_what_the_run_would_take_and_writes_nothing(run: Run, curated: Path, tmp_path: Path) -> None:
    said = run("train", "demo", "--data", curated, "--out", tmp_path / "run", *QUICK, "--dry-run", "--json")
    found = json.loads(said.stdout)
    assert list(tmp_path.iterdir()) == []
    assert found["parameters"] == found["trainable"] == 69_542
    assert found["rows"] == 179
    assert found["validation_rows"] == 50
    assert found["steps"] == 4
    assert set(found["losses"]) == {"total", "va", "expression", "au", "attention"}
    assert found["peak_memory"] > 2**27
    assert found["checkpoint_bytes"] > 4 * 4 * found["parameters"]  # weights, their average, two moments
    assert found["seconds"] > found["rows"] / found["images_per_second"]
    assert found["environment"]["ops"]


def test_a_dry_run_needs_no_folder_and_fits_a_narrow_terminal(
    run: Run, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run("train", "demo", "--data", curated, *QUICK, "--dry-run").stdout
    for word in ("69,542 parameters", "peak memory", "images/s", "time"):
        assert word in " ".join(shown.split())


def test_the_papers_recipe_asks_for_weights_before_anything_else(run: Run, curated: Path, tmp_path: Path) -> None:
    for more in ([], ["--dry-run"], ["--resume"]):
        shown = run("train", "paper", "--data", curated, "--out", tmp_path / "run", *more, code=2).stderr
        assert "this recipe starts from published weights" in shown
        assert "give the file with --weights" in " ".join(shown.split())
    assert list(tmp_path.iterdir()) == []


def test_heads_on_a_frozen_network_of_random_numbers_are_a_warning(run: Run, curated: Path) -> None:
    heads = ("--set", "heads.epochs=2", "--set", "all.epochs=0", "--set", "schedule.warmup_epochs=0")
    shown = " ".join(run("train", "demo", "--data", curated, *heads, "--dry-run").stderr.split())
    assert "the heads learn on a frozen network of random numbers; give --weights, or --set all.epochs=10" in shown


def test_a_set_of_labels_trains_from_a_folder_of_frames(
    run: Run, release: Path, runs: list[Path], tmp_path: Path
) -> None:
    labels, out = tmp_path / "labels", tmp_path / "run"
    run("curate", release, "--out", labels, "--policy", "per-task", "--labels-only")
    shown = run("train", "demo", "--data", labels, "--out", out, *QUICK, code=3).stderr
    assert "holds labels only" in shown
    frames = release / "cropped_aligned"
    run("train", "demo", "--data", labels, "--frames", frames, "--out", out, "--seed", 1, "--set", "all.epochs=1")
    weights = [json.loads((folder / "manifest.json").read_text())["checkpoints"] for folder in (out, runs[0])]
    assert weights[0] == weights[1]  # the frames are the same ones


def test_a_finished_run_can_be_resumed_to_no_effect(run: Run, runs: list[Path]) -> None:
    before = (runs[0] / "manifest.json").read_bytes()
    found = json.loads(run("train", "--resume", "--out", runs[0], "--json").stdout)
    assert found["resumed"].startswith(str(runs[0]))
    assert (runs[0] / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resume", "--force"), "give one of them"),
        (("--allow-drift",), "goes with --resume"),
        (("--dry-run", "--resume"), "writes nothing"),
        (("--log", "notebook"), "--log notebook: expected one of tensorboard, mlflow, wandb"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Run, curated: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    shown = run("train", "demo", "--data", curated, "--out", tmp_path / "run", *arguments, code=2).stderr
    assert said in shown
    assert not (tmp_path / "run").exists()


def test_resuming_what_was_never_begun_asks_for_a_recipe(run: Run, tmp_path: Path) -> None:
    assert "give a recipe" in run("train", "--resume", "--out", tmp_path / "run", code=2).stderr


def test_a_tracker_gets_each_step_and_each_epoch(run: Run, curated: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    run("train", "demo", "--data", curated, "--out", out, *QUICK, "--log", "tensorboard")
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("losses/total")] == [1, 2, 3, 4]
    line = json.loads((out / "metrics.jsonl").read_text())
    (score,) = events.Scalars("validation/official/score")
    assert score.step == 4
    assert score.value == pytest.approx(line["official"]["score"], rel=1e-6)


def test_max_minutes_counts_from_the_start_of_the_command(run: Run, curated: Path, tmp_path: Path) -> None:
    command = ("train", "demo", "--data", curated, "--out", tmp_path / "run", *QUICK)
    shown = run(*command, "--max-minutes", "0.001", code=75).stderr
    assert "stopped at its time limit after step 0; everything is kept: continue with `abawkit train" in shown


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none_is_refused(run: Run, curated: Path, tmp_path: Path, minutes: str) -> None:
    command = ("train", "demo", "--data", curated, "--out", tmp_path / "run")
    shown = run(*command, f"--max-minutes={minutes}", code=2).stderr
    assert f"--max-minutes {minutes}: expected a number above 0" in shown


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "86401"])
def test_a_time_without_progress_that_is_none_is_refused(run: Run, curated: Path, tmp_path: Path, seconds: str) -> None:
    command = ("train", "demo", "--data", curated, "--out", tmp_path / "run")
    shown = run(*command, f"--hang-timeout={seconds}", code=2).stderr
    assert f"--hang-timeout {seconds}: expected seconds above 0, and 86,400 (a day) at most" in shown


def test_a_finished_run_has_nothing_to_stop(run: Run, runs: list[Path], tmp_path: Path) -> None:
    out = Path(shutil.copytree(runs[0], tmp_path / "run"))
    (out / "STOP").touch()
    run("inspect", out)
    run("train", "--resume", "--out", out, "--max-minutes", "0.001")
