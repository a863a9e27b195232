"""Runs that the soak starts, and how they must end."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from abawkit.system.files import sha256_of

SHORT: Mapping[str, object] = {
    "batch_size": 16,
    "heads.epochs": 1,
    "heads.learning_rate": "1e-2",
    "all.epochs": 1,
    "checkpoints.every": 2,
}
"""A run of two seconds: 24 steps, and a checkpoint after every second one and after each of its two epochs."""


class Outcome(NamedTuple):
    """What came of one part of the soak.

    Attributes:
        name: Of the part.
        text: What was brought about, for the summary.
        wrong: What ended otherwise than it must, a line or more each.
    """

    name: str
    text: str
    wrong: list[str]


def list_words(curated: Path, out: Path, settings: Mapping[str, object]) -> list[str]:
    """The words behind ``abawkit`` of a run of one thread."""
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [*map(str, ("train", "demo", "--data", curated, "--out", out, "--threads", 1)), *sets]


def train(curated: Path, out: Path, settings: Mapping[str, object]) -> list[str]:
    """The command of such a run, for a process of its own."""
    return [sys.executable, "-m", "abawkit", *list_words(curated, out, settings)]


def finish(command: list[str]) -> str:
    """Runs a command to its end; what it said if it failed, else nothing."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    return result.stderr or f"exit code {result.returncode}" if result.returncode else ""


def make_pool(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread each, which fork commands (`tests.commands`) and so save their imports."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_import_early)


def _import_early() -> None:
    """Imports what the end of a run would import in each forked process."""
    for name in ("abawkit.api", "abawkit.reports.training", "matplotlib.backends.backend_svg", "pandas"):
        import_module(name)


def digests(out: Path) -> list[str]:
    """The SHA-256 digests of a finished run's weights, and its best epoch and scores."""
    manifest = json.loads((out / "manifest.json").read_text())
    return [*(sha256_of(out / name) for name in ("best.safetensors", "last.safetensors")), str(manifest["best"])]


def find_difference(out: Path, expected: list[str]) -> str:
    """How the weights and scores of a run that ended differ from what they must be; empty if they do not."""
    try:
        found = digests(out)
    except OSError as error:
        return f"no weights: {error}"
    return "" if found == expected else f"other weights or scores: {found}, not {expected}"


def count(values: Iterable[str]) -> str:
    """How often there is each value: "5 warned, 5 preempted"."""
    return ", ".join(f"{number} {value}" for value, number in Counter(values).most_common())
