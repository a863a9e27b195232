"""A drawn release and two trained networks, made once by the commands themselves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def abawkit(*arguments: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user does, and checks its exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "abawkit", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert result.returncode == code, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="session")
def run() -> Run:
    return abawkit


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "release"
    abawkit("synth", folder, "--size", "tiny", "--workers", 1)
    return folder


@pytest.fixture(scope="session")
def curated(release: Path) -> Path:
    folder = release.parent / "curated"
    abawkit("curate", release, "--out", folder, "--policy", "per-task")
    return folder


@pytest.fixture(scope="session")
def runs(curated: Path) -> list[Path]:
    folders = [curated.parent / f"run{seed}" for seed in (1, 2)]
    for seed, folder in enumerate(folders, start=1):
        abawkit("train", "demo", "--data", curated, "--out", folder, "--seed", seed, "--set", "all.epochs=1")
    return folders


@pytest.fixture(scope="session")
def test_list(release: Path) -> list[str]:
    return [
        "--list",
        str(release / "test_set_examples/MTL.txt"),
        "--frames",
        str(release / "test_data/cropped_aligned"),
    ]


@pytest.fixture(scope="session")
def truth(release: Path) -> Path:
    return release / "held_out/test_set_annotations.txt"


@pytest.fixture(scope="session")
def submission(runs: list[Path], test_list: list[str]) -> Path:
    out = runs[0].parent / "predictions.txt"
    abawkit("predict", "--format", "abaw7", *runs, *test_list, "--out", out)
    return out


def answer(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed with ``--json``: one object, and nothing else, on stdout."""
    return json.loads(result.stdout)
