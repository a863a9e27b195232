"""Tests under the stand-in runtime: collected in an environment of ``make gpu-standin`` alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if os.environ.get("ABAWKIT_GPU_STANDIN") != "1":
    collect_ignore_glob = ["test_*.py"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    """The operators are there, whoever called what before."""
    from abawkit.ops import native_library as binary

    assert binary.load() == ""


@pytest.fixture
def host_kernels() -> Iterator[None]:
    """Torch's own kernels are computed on the host."""
    from tests.gpu_standin.host_kernels import host_kernels_in_all_threads

    with host_kernels_in_all_threads():
        yield


@pytest.fixture(scope="session")
def abawkit() -> Run:
    """Runs a command with torch's own kernels computed on the host: ``abawkit("ops", code=0, **environment)``."""

    def run(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(__file__).with_name("run_abawkit.py")), *map(str, arguments)]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=os.environ | {"COLUMNS": "200", "STANDIN_GPUS": "1"} | environment,
            check=False,
        )
        assert result.returncode == code, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture(scope="session")
def curated(abawkit: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny synthetic release, curated."""
    folder = tmp_path_factory.mktemp("data")
    abawkit("synth", folder / "release", "--size", "tiny")
    abawkit("curate", folder / "release", "--out", folder / "curated")
    return folder / "curated"
