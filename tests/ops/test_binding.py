"""The binding finds the stream of a CUDA build of torch, and compiles against the oldest torch that is promised."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from abawkit.ops import native_library as binary
from abawkit.system.native_build import LEAST_TORCH

ROOT = Path(__file__).parents[2]

# --- the stream of a CUDA build of torch, which is here played by a library of that name


STREAM = """
#include <stdint.h>
int32_t aoti_torch_get_current_cuda_stream(int32_t device, void** stream) { *stream = (void*)0x1234; return device; }
"""

ASK_WITH_LIBRARY = """
import ctypes, sys
if len(sys.argv) > 1:
    ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_LOCAL)  # as torch loads its own: no name of it is found by others
from abawkit.ops import native_library as binary
assert not binary.load()
print(binary.probe_gpu(0))
"""


@pytest.fixture
def with_cuda_kernels() -> None:
    if binary.load() or not binary.read_build_facts()["cuda"]:
        pytest.skip("no CUDA kernels were built here")
    if torch.version.cuda:
        pytest.skip("this torch has the library that is played here")


def ask(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", ASK_WITH_LIBRARY, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_torch_for_cpus_is_named_as_the_reason(with_cuda_kernels: None) -> None:
    reason = (
        "its CUDA kernels can't be started: this torch is a build for CPUs (driver: unknown, torch: a build for CPUs"
    )
    assert ask().startswith(reason)


def test_the_stream_is_found_in_a_library_that_keeps_its_names_to_itself(
    with_cuda_kernels: None, tmp_path: Path
) -> None:
    """With a weak symbol in place of a look-up no kernel could run on any GPU."""
    source, library = tmp_path / "stream.c", tmp_path / "libtorch_cuda.so"
    source.write_text(STREAM)
    compiler = shutil.which("cc") or pytest.skip("no C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-soname,libtorch_cuda.so", source, "-o", library], check=True)
    answer = ask(str(library))
    # It went on to the next thing, which this torch can't do: to make the device current.
    assert answer.startswith("its CUDA kernels can't be started: ")
    assert "a build for CPUs (driver" not in answer


# --- the oldest torch that is promised


FLOOR = ROOT / "build" / f"torch-{LEAST_TORCH[0]}.{LEAST_TORCH[1]}" / "torch" / "include"


@pytest.mark.parametrize("cuda", [False, True], ids=["CPU", "CUDA"])
def test_the_binding_compiles_against_the_oldest_torch_that_is_promised(cuda: bool) -> None:
    if not FLOOR.is_dir():
        missing = f"{FLOOR.relative_to(ROOT)} is missing; `make floor-headers` fetches it"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    compiler = shutil.which(os.environ.get("CXX", "c++")) or pytest.skip("no C++ compiler")
    with (ROOT / "CMakeLists.txt").open() as file:
        target = re.search(r"TORCH_TARGET_VERSION=(0x[0-9a-f]+)", file.read())
    assert target
    assert int(target[1], 16) >> 48 == LEAST_TORCH[0] << 8 | LEAST_TORCH[1]
    command = [compiler, "-std=c++20", "-fsyntax-only", f"-DTORCH_TARGET_VERSION={target[1]}", "-isystem", str(FLOOR)]
    command += ["-DABAWKIT_WITH_CUDA"] if cuda else []
    kernels, binding = ROOT / "csrc" / "kernels", ROOT / "csrc" / "binding"
    sources = [path for path in binding.glob("*.cpp") if path.name != "build_facts.cpp"]
    result = subprocess.run([*command, "-I", kernels, *sources], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_oldest_torch_is_the_same_wherever_it_is_promised() -> None:
    promise = f"torch>={LEAST_TORCH[0]}.{LEAST_TORCH[1]}"
    assert f'"{promise}"' in (ROOT / "pyproject.toml").read_text()
    assert f"torch>={LEAST_TORCH[0]}" not in (ROOT / "setup.py").read_text()  # which asks `abawkit.system.native_build`
