"""The CPU kernels of every instruction set keep the contract, not just those of the best that this processor has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from abawkit.ops import native_library as binary

CONTRACT = """
import sys
import pytest
from abawkit.ops import native_library as binary
binary.load()
name, contract = sys.argv[1:]
if binary.read_instruction_set() != name:
    sys.exit("this processor does not have it")
options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not [reference and not -reference"]
sys.exit(pytest.main([*options, contract]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "avx2"])
def test_contract_holds(name: str) -> None:
    assert not binary.load()
    if name not in binary.read_build_facts()["instruction_sets"].split():
        pytest.skip(f"there are no kernels for {name} in this build")
    command = [sys.executable, "-c", CONTRACT, name, str(Path(__file__).with_name("test_contract.py"))]
    environment = {**os.environ, "ABAWKIT_CPU": name}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "this processor does not have it" in done.stderr:
        pytest.skip(f"this processor has no {name}")
    assert done.returncode == 0, done.stdout + done.stderr
