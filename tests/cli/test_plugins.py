"""Packages of others that end, fail or print as they are imported: each is named, and gone by."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Started

Use = Callable[..., subprocess.CompletedProcess[str]]

ANSWERS = "image,valence,arousal,expression,aus\nv/00001.jpg,0.5,0.5,3" + ",0" * 12 + "\n"

CODE = {
    "exits": "import sys\nsys.exit('bye')\n",
    "exits with 0": "import sys\nsys.exit(0)\n",
    "raises": "raise ValueError('no licence')\n",
    "is damaged": "def = 3\n",
    "prints": "print('hello')\n\nclass Thing:\n    @property\n    def name(self):\n        raise OSError('no')\n",
}


@pytest.fixture(params=CODE, ids=str)
def use(request: pytest.FixtureRequest, tmp_path: Path) -> Use:
    """Runs a command where a package registers a format and an operator, and its import does what `CODE` says."""
    site = tmp_path / "site"
    (site / "odd-1.0.dist-info").mkdir(parents=True)
    (site / "odd.py").write_text(CODE[request.param])
    (site / "odd-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    entries = "[abawkit.formats]\nodd = odd:Thing\n[abawkit.ops]\nodd/op = odd:Thing\n"
    (site / "odd-1.0.dist-info/entry_points.txt").write_text(entries)
    (tmp_path / "answers.txt").write_text(ANSWERS)
    (tmp_path / "list.txt").write_text("image\nv/00001.jpg\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return Started(*arguments, cwd=tmp_path, variables={"COLUMNS": "200"}, packages=site).wait()

    return run


def test_a_format_that_can_not_be_loaded_is_named_and_no_other_one_suffers(use: Use) -> None:
    check = ("check", "answers.txt", "--list", "list.txt")
    assert use(*check).stdout == "ok: 1 row, as listed\n"
    refused = use(*check, "--format", "odd", "--json")
    assert refused.returncode == 2
    said = json.loads(refused.stdout)["error"]
    assert said.startswith("--format odd: odd:Thing can't be loaded: ")
    inspected = use("inspect", "answers.txt", "--json")  # asks every format
    assert inspected.returncode == 0
    assert json.loads(inspected.stdout)["ok"]
    assert "odd" in use("check", "--help").stdout


def test_an_operator_that_can_not_be_loaded_is_named_and_gone_by(use: Use) -> None:
    shown = use("ops", "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)  # nothing that it printed stands before
    assert "odd:Thing can't be loaded: " in shown.stdout
    assert found["implementations"]
