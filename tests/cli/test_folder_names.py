"""Folders whose names are not UTF-8 are carried through: what a command accepts, the next one reads."""

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path, release: Path) -> Path:
    path = tmp_path / os.fsdecode(b"caf\xe9")
    path.mkdir()
    shutil.copytree(release, path / "release")
    return path


def test_a_folder_that_curate_accepts_goes_through_to_a_score(run: Run, folder: Path) -> None:
    release, curated, trained, out = (folder / name for name in ("release", "curated", "run", "p.txt"))
    run("curate", release, "--policy", "per-task", "--out", curated)
    run("inspect", curated)
    settings = ["--set", "all.epochs=1", "--set", "heads.epochs=0", "--threads", 1]
    run("train", "demo", "--data", curated, "--frames", release / "cropped_aligned", "--out", trained, *settings)
    run("inspect", trained)
    run("train", "--resume", "--out", trained)
    rows = ["--list", release / "test_set_examples/MTL.txt", "--frames", release / "test_data/cropped_aligned"]
    run("predict", trained, *rows, "--out", out)
    run("inspect", out)
    run("score", out, "--truth", release / "held_out/test_set_annotations.txt")
    run("predict", trained, *rows[2:], "--out", folder / "all.txt")
