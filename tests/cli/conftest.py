"""Two trained networks and what they predict, made once by the commands themselves."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command_line

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    return command_line


@pytest.fixture(scope="session")
def runs(curated: Path, once: Callable[..., Path]) -> list[Path]:
    def train(folder: Path) -> None:
        for seed in (1, 2):
            command_line(
                *("train", "demo", "--data", curated, "--out", folder / f"run{seed}", "--seed", seed),
                *("--set", "all.epochs=1"),
            )

    folder = once("runs", train)
    return [folder / "run1", folder / "run2"]


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
def submission(runs: list[Path], test_list: list[str], once: Callable[..., Path]) -> Path:
    def predict(folder: Path) -> None:
        command_line("predict", "--format", "abaw7", *runs, *test_list, "--out", folder / "predictions.txt")

    return once("submission", predict) / "predictions.txt"


def answer(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed with ``--json``: one object, and nothing else, on stdout."""
    return json.loads(result.stdout)
