"""Heads over time by the commands: train, resume, predict from features alone, and beside a network of frames."""

import html
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sequence_features import list_rows, write_random_store

Run = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ("--set", "batch_size=64", "--set", "sequence.width=8", "--set", "sequence.window=16", "--set", "all.epochs=2")


@pytest.fixture(scope="module")
def stores(release: Path, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Features of the curated set, and of the test's frames."""
    folder = tmp_path_factory.mktemp("stores")
    lines = (release / "test_set_examples/MTL.txt").read_text().splitlines()[1:]
    source = {"kind": "network", "digest": "d" * 64}
    first = write_random_store(folder / "curated", list_rows(curated), source=source)
    second = write_random_store(folder / "test", [line.rstrip(",") for line in lines], source=source)
    return first.folder, second.folder


def test_a_network_over_time_is_trained_resumed_and_predicted_by_the_usual_commands(
    run: Run, curated: Path, stores: tuple[Path, Path], test_list: list[str], truth: Path, tmp_path: Path
) -> None:
    features, of_test = (["--features", folder] for folder in stores)
    given = ["sequence-tcn", "--data", curated, *features, *SMALL]
    dry = json.loads(run("train", *given, "--dry-run", "--json").stdout)
    assert (dry["rows"], dry["validation_rows"], dry["environment"]["ops"]) == (179, 50, {})
    shown = " ".join(run("train", *given, "--dry-run").stdout.split())
    assert "operator none" in shown
    out = tmp_path / "run"
    run("train", *given, "--out", out, "--max-minutes", "0.000001", code=75)
    trained = json.loads(run("train", "--resume", "--out", out, "--json").stdout)
    assert trained["tasks"] == ["va", "expression", "au"]
    listed, frames = test_list[:2], test_list[2:]
    run("predict", out, *listed, *of_test, "--out", tmp_path / "a.txt")
    run("predict", out, *test_list, *of_test, "--out", tmp_path / "b.txt")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    run("check", tmp_path / "a.txt", "--format", "abaw7", *listed)
    assert "P" in run("score", tmp_path / "a.txt", "--truth", truth).stdout
    wrong = run("predict", out, *listed, "--out", tmp_path / "c.txt", *frames, code=2)
    assert "is a sequence network: give the features of the frames with --features" in wrong.stderr
    assert "sequence (tcn)" in run("inspect", out / "best.safetensors").stdout
    assert "--list LIST --features FEATURES --out" in " ".join(run("inspect", out).stdout.split())
    said = html.unescape((out / "report.html").read_text())
    (command,) = re.findall(r"abawkit (predict [^<]*--split validation[^<]*)", said)
    run(*shlex.split(command.replace("validation.txt", str(tmp_path / "validation.txt"))))
    assert f"predict {out} --list LIST --features FEATURES" in said


def test_what_a_recipe_lacks_is_said_before_anything_is_read(run: Run, curated: Path, tmp_path: Path) -> None:
    failed = run("train", "sequence-bigru", "--data", curated, "--out", tmp_path / "run", code=2)
    assert "give what `abawkit features` wrote with --features" in failed.stderr
    assert not (tmp_path / "run").exists()
