"""The CPU kernels of every instruction set keep the contract, not just those of the best that this processor has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from abawkit.ops import native_library as binary

CONTRACT = Path(__file__).with_name("test_contract.py")


@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_contract_holds(name: str) -> None:
    assert not binary.load()
    if name not in binary.read_build_facts()["instruction_sets"].split():
        pytest.skip(f"there are no kernels for {name} in this build")
    environment = {**os.environ, "ABAWKIT_CPU": name}
    ask = "from abawkit.ops import binary; binary.load(); print(binary.read_instruction_set())"
    runs = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    if runs.stdout.strip() != name:
        pytest.skip(f"this processor has no {name}")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CONTRACT)]
    done = subprocess.run(tests, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
