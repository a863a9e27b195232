"""The allocator keeps freed memory, unless its user has set it."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from abawkit.system.memory import keep_freed_memory
kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(64 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def run(**variables: str) -> tuple[bool, int]:
    """What `keep_freed_memory` returns, and the page faults of ten blocks of 64 MiB that are allocated and freed."""
    path = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=path | variables, capture_output=True, text=True, check=True
    ).stdout.split()
    return printed[0] == "True", int(printed[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library is Linux's")
def test_memory_that_is_freed_is_used_again() -> None:
    kept, faults = run()
    assert kept
    assert faults < 1000  # a fault for each 4 KiB would be 163,840; huge pages fault once for 2 MiB


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_an_allocator_that_the_user_has_set_stays_so(variable: str) -> None:
    assert run(**{variable: ""})[0] is False
