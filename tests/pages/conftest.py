"""A folder with what the pages take as given, and a shell in it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import abawkit
from abawkit.synth import write_release
from tests.commands import Started
from tests.pages.markdown import ROOT


class Shell:
    """Runs lines as a reader types them, each once.

    Attributes:
        folder: Where they run.
        ran: The lines that have run.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        """Takes an empty folder for programs: `abawkit` and `python` in lines are this Python's."""
        self.folder, self.ran = folder, set[str]()
        for name, arguments in (("abawkit", "-m abawkit"), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            (programs / name).chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self._variables = {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """The result of a line: of a forked process where it is one command of abawkit, else of bash."""
        self.ran.add(line)
        if line.startswith("abawkit ") and not re.search(r"[|>]", line):
            return Started(*shlex.split(line)[1:], cwd=self.folder, variables=self._variables).wait()
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={**os.environ, **self._variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("pages")
    _prepare(folder)
    return Shell(folder, tmp_path_factory.mktemp("bin"))


def _prepare(folder: Path) -> None:
    """What a reader has before the first command: submissions of a checkout, published weights, data of their own."""
    (folder / "runs").mkdir()
    shutil.copytree(ROOT / "submissions", folder / "submissions", ignore=shutil.ignore_patterns("outputs"))
    recipe = folder / "submissions/demo/recipe.toml"  # one seed for one epoch, where it has three for five
    shortened = recipe.read_text().replace("seeds = [1, 2, 3]", "seeds = [1]").replace("all.epochs=5", "all.epochs=1")
    recipe.write_text(shortened)
    _write_published_weights(folder / "affectnet8.pth")
    _write_own_annotations(folder)


def _write_published_weights(path: Path) -> None:
    """A checkpoint in the published form, with random weights."""
    shapes = json.loads((ROOT / "tests/golden/ddamfn_state_dict.json").read_text())
    state = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        values = rng.uniform(0.5, 1.5, shape) if key.endswith("running_var") else rng.normal(0, 0.05, shape)
        state[key] = torch.zeros((), dtype=torch.int64) if key.endswith("tracked") else torch.from_numpy(values).float()
    torch.save({"model_state_dict": state}, path)


def _write_foreign_features(release: Path, folder: Path) -> None:
    """Features of another program, for the rows of the curated set of the pages."""
    labels = folder / "labels-of-other"
    abawkit.curate(release, labels, labels_only=True)
    splits = abawkit.open_curated(labels).splits.values()
    images = np.array([name for split in splits for name in split.annotations.images.to_pylist()])
    np.savez(folder / "theirs.npz", images=images, features=np.zeros((len(images), 16), np.float32))
    shutil.rmtree(labels)


def _write_own_annotations(folder: Path) -> None:
    """Tables with columns of their own, and their crops: those of a synthetic release."""
    release = folder / "other-release"
    write_release(release, size="tiny", workers=1)
    _write_foreign_features(release, folder)
    (release / "cropped_aligned").rename(folder / "crops")
    for split, name in (("training", "mine.csv"), ("validation", "others.parquet")):
        rows = pd.read_csv(release / f"{split}_set_annotations.txt", usecols=["image", "valence", "arousal"])
        rows = rows.set_axis(["path", "v", "a"], axis="columns")
        rows.to_csv(folder / name, index=False) if name.endswith(".csv") else rows.to_parquet(folder / name)
    shutil.rmtree(release)
