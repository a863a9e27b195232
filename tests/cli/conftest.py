"""A drawn release and two trained networks, made once by the commands themselves."""

import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import abawkit.training.run  # noqa: F401 - so that forked processes have it
from abawkit.cli import main

Run = Callable[..., subprocess.CompletedProcess[str]]


def command_line(*arguments: object, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own, as a user does, and checks its exit code.

    The process is forked, which saves the import of torch; `tests/test_readme.py` starts Python for each command.
    """
    command = ["abawkit", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on threads and forks: the child starts anew
        child = os.fork()
        if child == 0:
            _be(command, cwd, out.fileno(), errors.fileno())
        returned = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        errors.seek(0)
        result = subprocess.CompletedProcess(command, returned, out.read(), errors.read())
    assert result.returncode == code, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result


def _be(command: list[str], cwd: Path | None, out: int, errors: int) -> None:
    """Becomes the process of a command; does not return."""
    code: object = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(errors, 2)
        sys.stdin = open(0)  # noqa: SIM115
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8", line_buffering=True)
        os.environ.update(OMP_NUM_THREADS="1", COLUMNS="100")
        torch.set_num_threads(1)
        warnings.resetwarnings()
        warnings.simplefilter("default")
        if cwd:
            os.chdir(cwd)
        sys.argv = command
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1 if code else 0)


@pytest.fixture(scope="session")
def run() -> Run:
    return command_line


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "release"
    command_line("synth", folder, "--size", "tiny", "--workers", 1)
    return folder


@pytest.fixture(scope="session")
def curated(release: Path) -> Path:
    folder = release.parent / "curated"
    command_line("curate", release, "--out", folder, "--policy", "per-task")
    return folder


@pytest.fixture(scope="session")
def runs(curated: Path) -> list[Path]:
    folders = [curated.parent / f"run{seed}" for seed in (1, 2)]
    for seed, folder in enumerate(folders, start=1):
        command_line("train", "demo", "--data", curated, "--out", folder, "--seed", seed, "--set", "all.epochs=1")
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
    command_line("predict", "--format", "abaw7", *runs, *test_list, "--out", out)
    return out


def answer(result: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed with ``--json``: one object, and nothing else, on stdout."""
    return json.loads(result.stdout)
