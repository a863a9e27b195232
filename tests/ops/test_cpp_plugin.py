"""The example in C++: torch's own builder compiles it, and abawkit lists, checks and runs it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from tests.commands import command_line

EXAMPLE = Path(__file__).parents[2] / "examples/cpp_operator"
FILES = [path for path in EXAMPLE.rglob("*.*") if path.suffix in (".py", ".toml", ".h", ".cpp", ".cu")]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def packages(once: Callable[..., Path]) -> Path:
    """A folder in which the example is installed: compiled by pip, without a network."""
    if not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("there is no C++ compiler")

    def build(folder: Path) -> None:
        for path in FILES:  # a copy: building leaves files beside the sources
            copy = folder / "source" / path.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        options = ["--no-deps", "--no-build-isolation", "--target", str(folder / "installed"), str(folder / "source")]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # among them ninja
        result = subprocess.run(
            [*pip, *options], capture_output=True, text=True, env={**os.environ, "PATH": programs}, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert list(folder.glob("source/build/**/build.ninja"))

    return once("cpp-plugin", build) / "installed"


def test_it_is_short() -> None:
    assert sum(len(path.read_text().splitlines()) for path in FILES) < 150


def test_it_is_listed_with_what_it_serves(packages: Path) -> None:
    found = json.loads(command_line("ops", "--json", packages=packages).stdout)
    mine = next(offer for offer in found["implementations"] if offer["name"] == "example/cpp")
    assert (mine["package"], mine["error"]) == ("abawkit-example-cpp 0.1", None)
    runs = {(call["device"], call["dtype"], call["mode"]) for call in mine["calls"] if call["runs"]}
    assert {call for call in runs if call[0] == "cpu"} == {("cpu", "float32", "evaluation")}
    assert "example/cpp" not in {choice["name"] for choice in found["automatic"]}


def test_its_results_are_those_of_the_reference(packages: Path) -> None:
    arguments = ("ops", "check", "--ops", "example/cpp", "--device", "cpu", "--json")
    checks = json.loads(command_line(*arguments, packages=packages).stdout)["checks"]
    assert [check["name"] for check in checks] == ["example/cpp"]
    assert checks[0]["compared"] > 100


def test_a_prediction_runs_on_it_and_says_so(packages: Path, curated: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.2)  # type: ignore[arg-type]
    save_weights(tmp_path / "w.safetensors", network.config, network.state_dict())
    data = ("--split", "validation", "--data", curated)
    for name in ("example/cpp", "reference"):
        out = tmp_path / f"{name[:4]}.txt"
        options = ("--ops", name, "--out", out)
        said = command_line("predict", tmp_path / "w.safetensors", *data, *options, packages=packages)
        assert "warning" not in said.stderr
        used = json.loads(out.with_suffix(".json").read_text())["environment"]["ops"]
        assert used["dual_direction_attention"] == name
    with np.load(tmp_path / "exam.npz") as mine, np.load(tmp_path / "refe.npz") as theirs:
        for task in ("va", "expression", "au"):
            assert np.ptp(theirs[task], axis=0).max() > 1e-4
            np.testing.assert_allclose(mine[task], theirs[task], rtol=0, atol=1e-5)


def test_the_cuda_part_compiles(tmp_path: Path) -> None:
    """It has never run on a GPU: this shows no more than that nvcc accepts it with these headers."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("there is no nvcc")
    include = Path(torch.__file__).parent / "include"
    source = EXAMPLE / "src/abawkit_example_cpp/pool.cu"
    options = ["-std=c++20", "-DUSE_CUDA", f"-I{include}", "-c", str(source), "-o", str(tmp_path / "pool.o")]
    result = subprocess.run([nvcc, *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
