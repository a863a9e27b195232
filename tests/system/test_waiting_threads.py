"""Threads that wait for each other sleep soon, in commands and in what these start, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

from abawkit.system.waiting_threads import SPINS, shorten_spinning

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def test_they_sleep_soon() -> None:
    shorten_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == str(SPINS)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_says_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    shorten_spinning()
    assert {each: os.environ[each] for each in VARIABLES if each in os.environ} == {name: "7"}


def test_a_command_says_so_before_torch_is_there_to_read_it() -> None:
    program = """
import os, sys
from importlib.abc import MetaPathFinder
from abawkit.cli import main

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))

sys.meta_path.insert(0, Watch())
sys.argv[1:] = ["ops"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(SPINS)
