"""What a shell offers, what help lists, and threads that are bounded."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.cli._options import bound_threads, list_shipped_recipes
from abawkit.formats.base import list_format_names
from abawkit.system.files import count_processors
from abawkit.training.recipe import list_recipes

Run = Callable[..., subprocess.CompletedProcess[str]]


OFFER = """
import json, os, sys
sys.modules["torch"] = sys.modules["pyarrow"] = None
from abawkit.cli import main
for words in json.loads(sys.argv[1]):
    os.environ |= {"COMP_WORDS": " ".join(["abawkit", *words]), "COMP_CWORD": str(len(words))}
    try:
        main()
    except SystemExit as end:
        print("ended:", end.code)
"""

OFFERED = {
    "check a --format abaw5": "abaw5-au abaw5-expr abaw5-va",
    "train b": "baseline",
    "ablate --recipe pa": "paper",
    "predict --ops n": "native",
    "ops check --ops re": "reference",
    "tune --tasks e": "expression",
    "train --log t": "tensorboard",
}


def test_names_complete_without_loading_what_they_name() -> None:
    """What bash offers for the last of some words."""
    command = [sys.executable, "-c", OFFER, json.dumps([words.split() for words in OFFERED])]
    environment = {**os.environ, "_ABAWKIT_COMPLETE": "complete_bash"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    *found, end = result.stdout.split("ended: 0\n")
    assert dict(zip(OFFERED, (" ".join(offered.split()) for offered in found), strict=True)) == OFFERED
    assert end == ""


def test_the_recipes_that_complete_are_those_that_can_be_read() -> None:
    assert list_shipped_recipes() == list_recipes()


@pytest.mark.parametrize("command", ["predict", "check", "score", "ensemble", "compare"])
def test_help_lists_the_formats(run: Run, command: str) -> None:
    shown = " ".join(run(command, "--help").stdout.replace("│", " ").split())
    for name in list_format_names():
        assert name in shown


def test_more_threads_than_processors_are_bounded_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    most = count_processors()
    assert bound_threads(10_000) == most
    assert capsys.readouterr().err == (
        f"warning: --threads 10000: this process may use {most} processors; {most} threads run\n"
    )
    assert [bound_threads(given) for given in (None, 1, most)] == [None, 1, most]
    assert capsys.readouterr().err == ""


def test_threads_of_the_environment_are_bounded_too(tmp_path: Path) -> None:
    code = (
        "import torch; from abawkit.execution import cpu_threads\n"
        "with cpu_threads(None):\n    print(torch.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(count_processors() + 7)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert int(result.stdout) == count_processors()
